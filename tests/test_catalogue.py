"""How a routing key finds its event type, and which declarations are refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from bridge.core.catalogue import Catalogue, Domain, EventType, UnknownRule
from bridge.core.errors import Reason, Refused
from bridge.core.event import BaseEvent, Counters, Money, Number, Percent, UserEvent
from bridge.core.names import corrected, is_alias, is_name, is_topic, split_version, topic_matches
from bridge.core.policy import DROP_OLDEST, conflate
from consumers import NAMES, domains

CATALOGUE = Catalogue(domains())


def an_event(name: str = "AnEvent") -> type[UserEvent]:
    """Return a fresh event class."""
    return type(name, (UserEvent,), {"__module__": __name__})


def a_domain(name: str = "match", *topics: str) -> Domain:
    """Return a fresh domain without event types."""
    return Domain(name, publisher="score-service", topics=topics or (f"{name}.#",))


class Measured(UserEvent):
    """An event with numbers of every kind, none of which is money."""

    number: Number
    share: Percent | None = None
    counts: Counters | None = None


class Priced(Measured):
    """The same with prices."""

    prices: tuple[Money | None, ...] = ()


@pytest.mark.parametrize(("model", "exact"), [(UserEvent, False), (Measured, False), (Priced, True)])
def test_only_money_is_read_exactly(model: type[UserEvent], *, exact: bool) -> None:
    """The JSON of an event is read with exact decimals if it holds money, which costs, and only then."""
    assert EventType("shop.sold", model, DROP_OLDEST).exact is exact


def test_which_events_hold_money() -> None:
    """Of the built-in event types those about payments hold money."""
    exact = {kind.name.partition(".")[0] for kind in CATALOGUE.event_types if kind.exact}

    assert exact == {"billing", "order", "post", "wallet"}


def refusal(key: str) -> Refused:
    """Return why a routing key is refused."""
    with pytest.raises(Refused) as caught:
        CATALOGUE.resolve(key)
    return caught.value


@pytest.mark.parametrize(
    ("text", "well_formed"),
    [
        ("quota.updated", True),
        ("billing.payment_success", True),
        ("device.status.changed", True),
        ("a1.b2", True),
        ("quota", False),
        ("quotaUpdated", False),
        ("Quota.updated", False),
        ("quota..updated", False),
        (".updated", False),
        ("quota.", False),
        ("quota._updated", False),
        ("quota.updated_", False),
        ("quota.up__dated", False),
        ("subscription-updated", False),
        ("quota.updated:v1", False),
        ("quota.updated\n", False),
        ("", False),
        ("q." + "a" * 253, True),
        ("q." + "a" * 254, False),
    ],
)
def test_well_formed_names(text: str, *, well_formed: bool) -> None:
    """A name is lower-case words with dots between; underscores inside a word are normal."""
    assert is_name(text) is well_formed


@given(st.text(max_size=40))
def test_corrected_never_fails(text: str) -> None:
    """Whatever a publisher writes, advice can be looked for."""
    assert re.fullmatch(r"[a-z0-9_.]*", corrected(text))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("deposit_completed:v1", ("deposit_completed", 1)),
        ("quota.updated:v12", ("quota.updated", 12)),
        ("quota.updated", ("quota.updated", None)),
        ("quota.updated:v0", ("quota.updated:v0", None)),
        ("quota.updated:1", ("quota.updated:1", None)),
    ],
)
def test_split_version(text: str, parts: tuple[str, int | None]) -> None:
    """A version is a suffix `:v` and a number from 1."""
    assert split_version(text) == parts


@pytest.mark.parametrize(
    ("topic", "key", "matches"),
    [
        ("quota.#", "quota.updated", True),
        ("quota.#", "quota", True),
        ("quota.#", "quota.a.b.c", True),
        ("quota.*", "quota.updated", True),
        ("quota.*", "quota", False),
        ("quota.*", "quota.a.b", False),
        ("#", "quota.updated", True),
        ("#.updated", "quota.updated", True),
        ("#.updated", "updated", True),
        ("*.#.c", "a.b.c", True),
        ("*.#.c", "c", False),
        ("#.b.#", "a.b.c", True),
        ("#.x.#", "a.b.c", False),
        ("quota.updated", "quota.updated", True),
        ("quota.updated", "quota.updated.more", False),
        ("x.y", "quota.updated", False),
        ("deposit_completed:v1", "deposit_completed:v1", True),
    ],
)
def test_topic_matches(topic: str, key: str, *, matches: bool) -> None:
    """A topic matches as RabbitMQ's topic exchange does: `*` is one word, `#` any number."""
    assert topic_matches(topic, key) is matches


@pytest.mark.parametrize("text", ["", "a b", "a*", "a#", "a\n", "a" * 256, "ä" * 128])
def test_not_an_alias(text: str) -> None:
    """An alias is a routing key that a binding takes literally."""
    assert not is_alias(text)
    assert not is_topic(text)


@pytest.mark.parametrize(
    ("domain", "key", "name"),
    [
        ("quota", "quota.updated", "quota.updated"),
        ("quota", "quota.updated:v1", "quota.updated"),
        ("device", "device.status.changed", "device.status.changed"),
        ("wallet", "deposit_completed:v1", "wallet.deposit_completed"),
        ("wallet", "deposit_completed", "wallet.deposit_completed"),
        ("wallet", "wallet.deposit_completed", "wallet.deposit_completed"),
        ("wallet", "wallet.deposit_completed:v1", "wallet.deposit_completed"),
        ("wallet", "payment_status_update:v1", "wallet.payment_status_updated"),
        ("wallet", "payment_status_update", "wallet.payment_status_updated"),
        ("wallet", "withdrawal_completed:v1", "wallet.withdrawal_completed"),
        ("wallet", "withdrawal_completed", "wallet.withdrawal_completed"),
        ("content", "subscription-updated", "subscription.updated"),
        ("content", "subscription.updated", "subscription.updated"),
        ("content", "post-purchased", "post.purchased"),
    ],
)
def test_resolve(domain: str, key: str, name: str) -> None:
    """Names, aliases and versions all lead to the canonical event type."""
    event_type = CATALOGUE.resolve(key)

    assert event_type is not None
    assert (event_type.name, event_type.version) == (name, 1)
    assert CATALOGUE.owner_of(event_type) is CATALOGUE.domains[domain]


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("quotaUpdated", "'quota.updated'"),
        ("QuotaUpdated", "'quota.updated'"),
        ("Quota.Updated", "'quota.updated'"),
        ("quota-updated", "'quota.updated'"),
        ("user.quota.updated", "'quota.updated'"),
        ("user.quotaUpdated", "'quota.updated'"),
        ("user-service.quota.updated", "'quota.updated'"),
        ("cloudphone.user.quota.updated", "'quota.updated'"),
        ("userService.billing.paymentSuccess", "'billing.payment_success'"),
        ("billing.paymentSuccess", "'billing.payment_success'"),
        ("svc.billing.paymentSuccess", "'billing.payment_success'"),
        ("deviceStatusChanged", "'device.status.changed'"),
        ("device.recoveryFailed", "'device.recovery_failed'"),
        ("quota", ""),
        ("", ""),
        ("quota.", ""),
        ("💥", ""),
    ],
)
def test_malformed_name_is_refused_with_advice(key: str, advice: str) -> None:
    """A wrong name is refused, and the name most likely meant is offered."""
    refused = refusal(key)

    assert refused.reason is Reason.BAD_NAME
    assert refused.field == "routing_key"
    assert repr(key) in refused.message
    assert refused.message.endswith(advice)


def test_service_prefix_is_named() -> None:
    """A service prefix is called by its name, and the routing key without it is offered."""
    refused = refusal("user.quota.updated")

    assert refused.message == (
        "'user.quota.updated' starts with the service prefix 'user'; publish it as 'quota.updated'"
    )


def test_unknown_version() -> None:
    """A version that nobody declared is refused, and the known ones are named."""
    refused = refusal("deposit_completed:v2")

    assert refused.reason is Reason.UNKNOWN_VERSION
    assert refused.message == "wallet.deposit_completed has no version 2; known: 1"


@pytest.mark.parametrize("key", ["quota.nothing", "quota.a.b.c", "other.thing"])
def test_unknown_name_is_the_domains_affair(key: str) -> None:
    """A well-formed unknown name is neither found nor refused: the domain's rule decides."""
    assert CATALOGUE.resolve(key) is None


def test_newest_version_answers_to_the_bare_name() -> None:
    """Of two versions, the higher one answers to the name without a version."""
    domain = a_domain()
    first = domain.event("match.scored", overflow=DROP_OLDEST, aliases=("goal",))(an_event())
    second = domain.event("match.scored", overflow=DROP_OLDEST, version=2)(an_event())
    catalogue = Catalogue([domain])

    found = {
        key: event_type.model
        for key in ("match.scored", "match.scored:v1", "match.scored:v2", "goal")
        if (event_type := catalogue.resolve(key))
    }

    assert found == {
        "match.scored": second,
        "match.scored:v1": first,
        "match.scored:v2": second,
        "goal": first,
    }


def test_look_ups_agree() -> None:
    """Every event type is found by its class, its name and its domain."""
    assert list(CATALOGUE.domains) == list(NAMES)
    for event_type in CATALOGUE.event_types:
        domain = CATALOGUE.owner_of(event_type)
        assert domain is not None
        assert event_type in domain.event_types
        assert CATALOGUE.of_class(event_type.model) is event_type
        assert CATALOGUE.resolve(event_type.name) is event_type


def test_every_event_reaches_its_queue_and_no_other() -> None:
    """A domain's bindings take all its names and aliases, and no other domain's do."""
    for event_type in CATALOGUE.event_types:
        for key in (event_type.name, *event_type.aliases):
            takers = [
                domain.name
                for domain in CATALOGUE.domains.values()
                if any(topic_matches(topic, key) for topic in domain.binding_keys)
            ]
            owner = CATALOGUE.owner_of(event_type)
            assert owner is not None
            assert takers == [owner.name], key


def test_undeclared_event_type_has_no_owner() -> None:
    """An event type that passes undeclared belongs to no domain."""
    assert CATALOGUE.owner_of(EventType("match.scored", an_event(), DROP_OLDEST)) is None


def test_unknown_types_are_dead_letters_by_default() -> None:
    """No built-in domain lets a type pass that it does not know."""
    assert {domain.unknown for domain in CATALOGUE.domains.values()} == {UnknownRule.DEAD_LETTER}


def test_domain_declared_twice() -> None:
    """Two domains of one name would share a queue."""
    with pytest.raises(ValueError, match="'match' is declared twice, for the publishers 'one' and 'two'"):
        Catalogue([replace(a_domain(), publisher=publisher) for publisher in ("one", "two")])


def test_name_declared_by_two_domains() -> None:
    """An event type belongs to one domain."""
    first, second = a_domain("match", "m.#"), a_domain("score", "s.#")
    first.event("match.scored", overflow=DROP_OLDEST)(an_event())
    second.event("match.scored", overflow=DROP_OLDEST)(an_event())

    with pytest.raises(ValueError, match=r"match\.scored is declared by the domains match and score"):
        Catalogue([first, second])


def test_version_declared_twice() -> None:
    """One version of an event type has one class."""
    domain = a_domain()
    domain.event("match.scored", overflow=DROP_OLDEST)(an_event("Event"))
    domain.event("match.scored", overflow=DROP_OLDEST)(an_event("Other"))

    with pytest.raises(ValueError, match=r"version 1 is declared twice, by \S+\.Event and by \S+\.Other$"):
        Catalogue([domain])


def test_class_declared_twice() -> None:
    """One class declares one event type, since a derived event is found by its class."""
    domain = a_domain()
    model = domain.event("match.scored", overflow=DROP_OLDEST)(an_event())
    domain.event("match.ended", overflow=DROP_OLDEST)(model)

    with pytest.raises(ValueError, match=r"match\.ended is .* declares match\.scored, too: \S+\.AnEvent$"):
        Catalogue([domain])


def test_alias_declared_twice() -> None:
    """An alias means one event type."""
    domain = a_domain()
    domain.event("match.scored", overflow=DROP_OLDEST, aliases=("goal",))(an_event())
    domain.event("match.ended", overflow=DROP_OLDEST, aliases=("goal",))(an_event())

    with pytest.raises(ValueError, match=r"'goal' .*, for match\.scored version 1 and match\.ended"):
        Catalogue([domain])


@pytest.mark.parametrize("alias_first", [True, False])
def test_alias_that_is_a_name(*, alias_first: bool) -> None:
    """An alias that another event type is called by is refused, whichever comes first."""
    domain = a_domain()
    names = [("match.scored", ("match.ended",)), ("match.ended", ())]
    for name, aliases in names if alias_first else reversed(names):
        domain.event(name, overflow=DROP_OLDEST, aliases=aliases)(an_event())

    with pytest.raises(ValueError, match="alias"):
        Catalogue([domain])


@pytest.mark.parametrize("topic", ["#", "match.#", "*.scored", "match.scored"])
def test_topic_that_takes_another_domains_event(topic: str) -> None:
    """A queue that would also take another domain's events is refused."""
    domain = a_domain()
    domain.event("match.scored", overflow=DROP_OLDEST)(an_event())

    with pytest.raises(ValueError, match=r"of the domain greedy takes match\.scored of the domain match"):
        Catalogue([a_domain("greedy", topic), domain])


@pytest.mark.parametrize(
    ("name", "version", "aliases", "message"),
    [
        ("scored", 1, (), "not of the form"),
        ("match.Scored", 1, (), "not of the form"),
        ("match.scored", 0, (), "the first is 1"),
        ("match.scored", 1, ("goal *",), "cannot be a routing key"),
        ("match.scored", 1, ("#",), "cannot be a routing key"),
    ],
)
def test_declaration_that_cannot_work(
    name: str, version: int, aliases: tuple[str, ...], message: str
) -> None:
    """A declaration that no delivery could ever meet fails where it stands."""
    with pytest.raises(ValueError, match=message):
        EventType(name, an_event(), DROP_OLDEST, version=version, aliases=aliases)


def test_durable_with_an_age() -> None:
    """What waits in an inbox for a week cannot become too old in a minute."""
    with pytest.raises(ValueError, match=r"match\.scored is durable, and so cannot become too old"):
        EventType("match.scored", an_event(), DROP_OLDEST, age_seconds_max=60.0, durable=True)


def test_durable_without_a_user() -> None:
    """An event type that need not have a user cannot wait in one's inbox."""
    with pytest.raises(ValueError, match=r"match\.scored is durable"):
        EventType("match.scored", type("AnEvent", (BaseEvent,), {}), DROP_OLDEST, durable=True)

    domain = a_domain()
    domain.event("match.scored", overflow=DROP_OLDEST, durable=True)(an_event())
    domain.event("match.begun", overflow=DROP_OLDEST)(an_event())
    assert Catalogue([domain]).durable_names == {"match.scored"}


def test_conflation_by_an_undeclared_field() -> None:
    """An event type conflates only by fields that it declares, under their wire names."""
    with pytest.raises(ValueError, match=r"conflates by 'user_id'"):
        EventType("match.scored", an_event(), conflate("user_id"))

    assert EventType("match.scored", an_event(), conflate("userId")).conflate_attributes == ("user_id",)
