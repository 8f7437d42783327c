"""Examples of event types: whether they are what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from bridge.core.catalogue import UNROUTED, Catalogue, Domain
from bridge.core.event import RoomId, UserEvent
from bridge.core.examples import wrong
from bridge.core.policy import DROP_OLDEST
from consumers import domains


def problems(*models: type[UserEvent], topics: tuple[str, ...] = ("match.#",)) -> list[str]:
    """Return what is wrong with the examples of these classes, each a version of one event type."""
    match = Domain("match", "score-service", topics=topics)
    for version, model in enumerate(models, 1):
        match.event("match.scored", overflow=DROP_OLDEST, version=version, age_seconds_max=1.0)(model)
    unrouted = Domain(UNROUTED, "anybody", topics=(), catches_unrouted=True)
    return [problem for _, problem in wrong(Catalogue([match, unrouted]))]


class Scored(UserEvent):
    """An event whose example is one."""

    EXAMPLE: ClassVar[dict[str, object]] = {"matchId": "m1"}

    match_id: RoomId


class Kicked(Scored):
    """Another version of it, which has an audience."""

    def targets(self) -> Sequence[str]:
        """Return the match's room."""
        return (f"match:{self.match_id}",)


def test_good_examples() -> None:
    """Nothing is wrong with ours, nor with one of an old version, or of a domain with a narrow topic."""
    unrouted = Domain(UNROUTED, "anybody", topics=(), catches_unrouted=True)
    assert list(wrong(Catalogue([*domains(), unrouted]))) == []
    assert problems(Scored, Kicked, topics=("match.scored",)) == []


def failing(targets: Any) -> type[UserEvent]:  # noqa: ANN401 - whatever somebody writes there
    """Return a class whose method for its rooms is this."""
    return type("Wrong", (Kicked,), {"__module__": __name__, "targets": targets})


def like(example: dict[str, object]) -> type[UserEvent]:
    """Return a class with this example."""
    return type("Wrong", (Scored,), {"__module__": __name__, "EXAMPLE": example})


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (failing(lambda event: (event.match,)), "AttributeError: 'Wrong' object has no attribute"),
        (failing(lambda _: "match:m1"), "it goes to 'm', which is no room"),
        (failing(lambda _: ("matchm1",)), "it goes to 'matchm1', which is no room"),
        (like({}), "none; matchId is required"),
        (like({"matchId": {1}}), "TypeError: Object of"),
        (like({"matchId": "a b"}), "matchId must be 1 to"),
    ],
)
def test_wrong_examples(model: type[UserEvent], says: str) -> None:
    """An example is told that the class refuses, that is no JSON, or that goes to what is no room."""
    [problem] = problems(model)

    assert problem.startswith(says)
