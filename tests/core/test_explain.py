"""Explaining whether an event would reach a user through a room, as `bridge explain` prints it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.core.access import AccessRules, Principal
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.errors import Reason, Refused
from bridge.core.event import UserEvent
from bridge.core.explain import explain, find_type
from bridge.core.policy import DROP_OLDEST
from consumers import domains

CATALOGUE = Catalogue(domains())
RULES = AccessRules(frozenset({"app"}), frozenset({"team"}))


@pytest.mark.parametrize(
    ("room", "event", "verdict", "failing"),
    [
        ("user:u1", "quota.updated", "delivered", []),
        ("user:u2", "quota.updated", "not delivered", ["another user's room"]),
        ("role:admin", "proxy.pool_changed", "delivered", []),
        ("role:other", "proxy.pool_changed", "not delivered", ["may not join", "goes to role:admin"]),
        ("device:d7", "device.started", "delivered once subscribed", []),
        ("device:d8", "device.started", "not delivered", ["claim does not name it"]),
        ("team:t1", "quota.updated", "not delivered", ["not to team:t1"]),
        ("nonsense", "quota.updated", "not delivered", ["a room is named kind:id", "not to nonsense"]),
    ],
)
def test_verdicts(room: str, event: str, verdict: str, failing: list[str]) -> None:
    """The verdict follows from the steps, and each step that fails says why."""
    principal = Principal("u1", frozenset({"admin"}), ("device:d7",))

    explanation = explain(RULES, principal, find_type(CATALOGUE, event), room)

    assert (explanation.verdict, explanation.delivered) == (verdict, verdict != "not delivered")
    failed = [step.text for step in explanation.steps if not step.ok]
    assert len(failed) == len(failing), failed
    assert all(words in text for words, text in zip(failing, failed, strict=True)), failed


class Escalated(UserEvent):
    """Something for two roles and a user."""

    def targets(self) -> Sequence[str]:
        """Return all three rooms."""
        return ("role:admin", "role:support", *super().targets())


@pytest.mark.parametrize(
    ("room", "delivered"),
    [("role:admin", True), ("role:support", True), ("role:sales", False), ("all", False)],
)
def test_an_event_for_two_roles(room: str, *, delivered: bool) -> None:
    """An event that goes to several rooms of one kind reaches each of them."""
    principal = Principal("u1", frozenset({"admin", "support", "sales"}))
    event_type = EventType("ticket.escalated", Escalated, DROP_OLDEST)

    explanation = explain(RULES, principal, event_type, room)

    assert explanation.delivered is delivered
    assert "goes to role:admin, role:support, user:…" in explanation.steps[1].text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("quota.unheard_of", Reason.UNKNOWN_TYPE),
        ("quota.updated:v9", Reason.UNKNOWN_VERSION),
        ("Quota", Reason.BAD_NAME),
    ],
)
def test_types_that_are_not_there(name: str, reason: Reason) -> None:
    """An event type that is not there is refused, with what there is instead."""
    with pytest.raises(Refused) as refused:
        find_type(CATALOGUE, name)

    assert refused.value.reason is reason
