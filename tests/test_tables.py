"""Domains that are declared in the settings."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import jiter
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError

from bridge.app import catalogue_of
from bridge.core import tables
from bridge.core.catalogue import Catalogue, Domain, UnknownRule
from bridge.core.event import BaseEvent
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, conflate
from bridge.core.rooms import parse_room
from bridge.core.tables import DomainTable, EventTable, build
from bridge.settings import SettingsError, load
from consumers import domains

TIME = "2026-11-21T10:00:00.000Z"
WORDS = ("boolean", "id", "json", "money", "number", "text", "time")


def an_event(**changes: object) -> dict[str, Any]:
    """Return a valid `[[domain.event]]` table with some keys changed."""
    return {
        "name": "match.scored",
        "targets": ["match:{matchId}"],
        "fields": {"matchId": "id", "score": "number"},
        **changes,
    }


def a_domain(*events: object, **changes: object) -> dict[str, Any]:
    """Return a valid `[[domain]]` table with some keys changed."""
    return {"name": "match", "topics": ["match.#"], "event": list(events) or [an_event()], **changes}


def built(table: object) -> Domain:
    """Validate and build a table."""
    return build(DomainTable.model_validate(table))


def model_of(**changes: object) -> type[BaseEvent]:
    """Return the class that a changed event table makes."""
    return built(a_domain(an_event(**changes))).event_types[0].model


def accept(model: type[BaseEvent], **payload: object) -> BaseEvent:
    """Read and validate a payload as the product does."""
    body = json.dumps({"timestamp": TIME, **payload}).encode()
    return model.model_validate(jiter.from_json(body, float_mode="decimal"))


def leaving(event: BaseEvent) -> dict[str, Any]:
    """Return what leaves the process."""
    leaves = json.loads(event.model_dump_json(by_alias=True, exclude_none=True))
    assert isinstance(leaves, dict)
    return leaves


def problems(table: object) -> str:
    """Return what validation says about a wrong table."""
    with pytest.raises(ValidationError) as caught:
        DomainTable.model_validate(table)
    (error,) = caught.value.errors()
    return error["msg"].removeprefix("Value error, ")


def example_of_the_module() -> str:
    """Return the commented example as TOML."""
    lines = [line.strip() for line in (tables.__doc__ or "").splitlines() if line.startswith("    #")]
    text = "\n".join(line.removeprefix("#").strip() for line in lines)
    return re.sub(r",\n(?=done)", ", ", text)


def test_example_of_the_module() -> None:
    """The commented example works as it stands."""
    (table,) = tomllib.loads(example_of_the_module())["domain"]

    domain = built(table)
    (event_type,) = domain.event_types
    event = accept(event_type.model, userId="u1", password="hunter2", **event_type.model.EXAMPLE)

    assert (domain.name, domain.publisher, domain.topics) == ("match", "score-service", ("match.#",))
    assert domain.unknown is UnknownRule.DEAD_LETTER
    assert domain.timestamp_required
    assert domain.binding_keys == ("match.#", "goal:v1")
    assert (event_type.name, event_type.version, event_type.aliases) == ("match.scored", 1, ("goal:v1",))
    assert event_type.overflow == conflate("matchId")
    assert event_type.age_seconds_max == 60
    assert event.targets() == ("match:example-1", "user:u1", "role:admin", "all")
    assert leaving(event) == {"userId": "u1", **event_type.model.EXAMPLE}


def test_settings_hold_domain_tables() -> None:
    """Tables stand in the settings as they are, strict, frozen, with mistakes located."""

    class Settings(BaseModel):
        domain: tuple[DomainTable, ...] = ()

    settings = Settings.model_validate({"domain": [a_domain()]})
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"domain": [a_domain(), a_domain(colour=1)]})

    assert settings.domain[0].event[0].name == "match.scored"
    assert caught.value.errors()[0]["loc"] == ("domain", 1)
    with pytest.raises(ValidationError, match="frozen"):
        settings.domain[0].name = "other"  # type: ignore[misc] # this is the test


def test_defaults() -> None:
    """A table needs a name, topics and targets; the rest has defaults."""
    domain = built(
        {"name": "match", "topics": ["match.#"], "event": [{"name": "match.on", "targets": ["all"]}]}
    )
    (event_type,) = domain.event_types

    assert domain.publisher == "match"
    assert event_type.overflow == DROP_OLDEST
    assert event_type.version == 1
    assert event_type.age_seconds_max is None
    assert leaving(accept(event_type.model, more=1)) == {}


def test_domain_without_events() -> None:
    """A domain may pass or drop what it does not know, and know nothing."""
    assert built({"name": "match", "topics": ["match.#"], "unknown": "pass"}).unknown is UnknownRule.PASS


@pytest.mark.parametrize(
    ("overflow", "expected"),
    [
        ("must_deliver", MUST_DELIVER),
        ("drop_oldest", DROP_OLDEST),
        ({"conflate": ["matchId", "score"]}, conflate("matchId", "score")),
        ({"conflate": ["userId"]}, conflate("userId")),
    ],
)
def test_overflow(overflow: object, expected: object) -> None:
    """Each of the three policies can be declared."""
    assert built(a_domain(an_event(overflow=overflow))).event_types[0].overflow == expected


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({}, False),
        ({"targets": ["user:{userId}"]}, True),
        ({"targets": ["all"], "overflow": {"conflate": ["userId"]}}, True),
    ],
)
def test_user_is_required_where_it_is_named(changes: dict[str, object], *, required: bool) -> None:
    """The user may be missing unless a target or a conflation names it."""
    assert model_of(**changes).model_fields["user_id"].is_required() is required


@pytest.mark.parametrize(
    ("word", "sent", "leaves"),
    [
        ("id", "m1", "m1"),
        ("text", "Nice goal, über!", "Nice goal, über!"),
        ("number", 1.5, 1.5),
        ("number", 7, 7),
        ("money", 12.3, "12.3"),
        ("money", "0.10", "0.10"),
        ("time", "2026-11-21T11:00:00+01:00", TIME),
        ("boolean", False, False),
        ("json", {"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}),
        ("list of text", ["a", "b"], ["a", "b"]),
        ("list of money", [1, "2.50"], ["1", "2.50"]),
        ("list of time", ["2026-11-21"], ["2026-11-21T00:00:00.000Z"]),
        ("list of id", [], []),
    ],
)
def test_words(word: str, sent: object, leaves: object) -> None:
    """Each word takes and writes what its row in the module's table says."""
    model = model_of(targets=["all"], fields={"it": word})

    assert leaving(accept(model, it=sent)) == {"it": leaves}


@pytest.mark.parametrize(
    ("word", "sent"),
    [
        ("id", 7),
        ("id", "a b"),
        ("text", 7),
        ("number", "7"),
        ("number", True),
        ("money", "much"),
        ("money", True),
        ("time", 1732183200),
        ("boolean", 1),
        ("boolean", "true"),
        ("list of text", "a"),
        ("list of text", [1]),
        ("list of text", ["a"] * 1001),
    ],
)
def test_wrong_values(word: str, sent: object) -> None:
    """A value of another type is refused, and the refusal names the field as on the wire."""
    model = model_of(targets=["all"], fields={"it": word})

    with pytest.raises(ValidationError) as caught:
        accept(model, it=sent)
    assert caught.value.errors()[0]["loc"][0] == "it"


@pytest.mark.parametrize("word", [*WORDS, "list of text"])
def test_optional(word: str) -> None:
    """A field with a question mark may be missing or null, and then does not leave; others may not."""
    optional = model_of(targets=["all"], fields={"it?": word})
    required = model_of(targets=["all"], fields={"it": word})

    assert leaving(accept(optional)) == leaving(accept(optional, it=None)) == {}
    with pytest.raises(ValidationError, match="Field required"):
        accept(required)


def test_durable() -> None:
    """An event that goes to its user's own room can wait in the inbox."""
    (durable,) = built(a_domain(an_event(durable=True, targets=["all", "user:{userId}"]))).event_types

    assert durable.durable
    assert not built(a_domain()).event_types[0].durable


def test_two_versions() -> None:
    """Two versions of an event type have classes of different names."""
    domain = built(a_domain(an_event(), an_event(version=2, fields={"matchId": "id"})))

    assert [event_type.model.__name__ for event_type in domain.event_types] == [
        "MatchScored",
        "MatchScoredV2",
    ]
    assert Catalogue([domain]).resolve("match.scored:v1") is domain.event_types[0]


def test_beside_the_built_in_domains() -> None:
    """A declared domain stands in one catalogue with the built-in ones."""
    catalogue = Catalogue([*domains(), built(a_domain())])

    assert catalogue.resolve("match.scored") is not None


def test_built_in_name_taken() -> None:
    """A table cannot take what belongs to a built-in domain."""
    thief = built(a_domain(name="thief", topics=["match.#", "quota.*"]))

    with pytest.raises(ValueError, match=r"topic 'quota\.\*' of the domain thief takes quota\.updated"):
        Catalogue([*domains(), thief])


def test_name_of_a_file_taken() -> None:
    """A table that has the name of a built-in domain is told once, and where the other one is."""
    made_up = {"RABBITMQ_URL": "amqp://localhost", "JWT_SECRET": "0123456789abcdef" * 4}
    settings = load(made_up).model_copy(
        update={"domain": (DomainTable.model_validate(a_domain(name="quota")),)}
    )

    with pytest.raises(SettingsError) as refused:
        catalogue_of(settings)

    assert refused.value.problems == [
        "domain quota: a file in consumers/ declares it already; choose another name"
    ]


EVENT = "domain 'match', event 'match.scored'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, f"{EVENT}: the key 'colour' is unknown; correct its spelling or remove it"),
        ({"targets": []}, f"{EVENT}: targets: list should have at least 1 item"),
        ({"targets": "all"}, f"{EVENT}: targets: Input should be a valid list; correct it"),
        ({"version": "1"}, f"{EVENT}: version: Input should be a valid integer; correct it"),
        ({"version": 0}, f"{EVENT}: version: "),
        ({"age_seconds_max": 0}, f"{EVENT}: age_seconds_max: "),
        ({"age_seconds_max": "60"}, f"{EVENT}: age_seconds_max: "),
        ({"overflow": "drop"}, f'{EVENT}: overflow is not understood; write "must_deliver", '),
        ({"overflow": {"conflate": []}}, f"{EVENT}: overflow is not understood; write "),
        ({"overflow": {"conflated": ["matchId"]}}, f"{EVENT}: overflow is not understood; write "),
        (
            {"overflow": {"conflate": ["team"]}},
            f"{EVENT}, field 'team': the event conflates by it, but it is not declared; add it to fields",
        ),
        ({"fields": {"matchId": "id", "score": 1}}, f"{EVENT}: fields.score: Input should be a valid string"),
        (
            {"fields": {"matchId": "id", "score": "int"}},
            f"{EVENT}, field 'score': 'int' is not a type; write \"boolean\", \"id\", ",
        ),
        (
            {"fields": {"matchId": "id", "x": "list of json"}},
            f"{EVENT}, field 'x': 'list of json' is not a type",
        ),
        (
            {"fields": {"matchId": "id", "x": "list of list of id"}},
            f"{EVENT}, field 'x': 'list of list of id' is not a type",
        ),
        (
            {"fields": {"matchId": "id", "userId": "id"}},
            f"{EVENT}, field 'userId': it is part of every event",
        ),
        (
            {"fields": {"matchId": "id", "timestamp": "time"}},
            f"{EVENT}, field 'timestamp': it is part of every",
        ),
        ({"fields": {"matchId": "id", "type?": "text"}}, f"{EVENT}, field 'type': it is part of every event"),
        ({"fields": {"matchId": "id", "a b": "id"}}, f"{EVENT}, field 'a b': a name is at most 64 letters"),
        ({"fields": {"matchId": "id", "?": "id"}}, f"{EVENT}, field '': a name is at most 64 letters"),
        ({"fields": {"matchId": "id", "x": "id", "x?": "id"}}, f"{EVENT}, field 'x': it is declared twice"),
        (
            {"targets": ["match:{matchID}"]},
            f"{EVENT}, target 'match:{{matchID}}': the field 'matchID' is not declared; add matchID = \"id\"",
        ),
        (
            {"targets": ["match:{score}"]},
            f"{EVENT}, target 'match:{{score}}': the field 'score' is declared as 'number'; declare it as",
        ),
        (
            {"fields": {"matchId?": "id"}},
            f"{EVENT}, target 'match:{{matchId}}': the field 'matchId' may be missing; declare it",
        ),
        (
            {"overflow": {"conflate": ["team"]}, "fields": {"matchId": "id", "team?": "id"}},
            f"{EVENT}, field 'team': the event conflates by it, but it may be missing",
        ),
        (
            {"overflow": {"conflate": ["tags"]}, "fields": {"matchId": "id", "tags": "list of id"}},
            f"{EVENT}, field 'tags': the event conflates by it, but it is declared as 'list of id'",
        ),
        ({"targets": ["everybody"]}, f"{EVENT}, target 'everybody': it is not a room; write 'all', "),
        ({"targets": ["match:a b"]}, f"{EVENT}, target 'match:a b': it is not a room; write 'all', "),
        (
            {"targets": ["Match:{matchId}"]},
            f"{EVENT}, target 'Match:{{matchId}}': one field in braces has to be",
        ),
        ({"targets": ["m:{matchId}-x"]}, f"{EVENT}, target 'm:{{matchId}}-x': one field in braces has to be"),
        (
            {"targets": ["m:{matchId}{userId}"]},
            f"{EVENT}, target 'm:{{matchId}}{{userId}}': one field in braces",
        ),
        ({"targets": ["m:{matchId"]}, f"{EVENT}, target 'm:{{matchId': one field in braces has to be"),
        ({"aliases": ["goal *"]}, f"{EVENT}: alias 'goal *' cannot be a routing key"),
        ({"durable": True}, f"{EVENT}: it is durable, but goes to no user's own room; add 'user:{{userId}}'"),
        (
            {"durable": True, "targets": ["user:{userId}"], "age_seconds_max": 60},
            f"{EVENT}: it is durable, and so cannot become too old; leave out age_seconds_max",
        ),
        ({"durable": "yes"}, f"{EVENT}: durable: "),
        ({"name": "scored"}, "domain 'match', event 'scored': the name is not of the form entity.action"),
        (
            {"name": "game.scored"},
            "domain 'match', event 'game.scored': no topic of the domain covers the name; add 'game.#' to",
        ),
    ],
)
def test_mistake_in_an_event(changes: dict[str, object], message: str) -> None:
    """A mistake is found while the settings are validated, named, and told how to put right."""
    assert problems(a_domain(an_event(**changes))).startswith(message)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            a_domain(colour=1),
            "domain 'match': the key 'colour' is unknown; correct its spelling or remove it",
        ),
        (a_domain(name="Match"), "domain 'Match': the name must be a lower-case word"),
        (a_domain(name="dead"), "domain 'dead': a queue of the bridge's own has this name; choose another"),
        (a_domain(name="unrouted"), "domain 'unrouted': a queue of the bridge's own has this name"),
        (a_domain(topics=["#"]), "domain 'match': topic '#' takes other domains' events"),
        (a_domain(topics=["*.*", "match.#"]), "domain 'match': topic '*.*' takes other domains' events"),
        (
            a_domain(topics=["match.a*", "match.#"]),
            "domain 'match': topic 'match.a*' is not words, '*' and '#'",
        ),
        (a_domain(topics=["match..a", "match.#"]), "domain 'match': topic 'match..a' is not words"),
        (a_domain(topics=[]), "domain 'match': topics: list should have at least 1 item"),
        (
            a_domain(unknown="keep"),
            "domain 'match': unknown: Input should be 'dead_letter', 'pass' or 'drop'",
        ),
        (
            a_domain(timestamp_required="no"),
            "domain 'match': timestamp_required: Input should be a valid boolean",
        ),
        (a_domain(event=5), "domain 'match': event: Input should be a valid list; correct it"),
        (a_domain(5), "domain 'match', event '?': the table: Input should be a valid table; correct it"),
        (
            a_domain({"name": "match.on"}),
            "domain 'match', event 'match.on': the key 'targets' is missing; add it",
        ),
        ({"topics": ["match.#"]}, "domain '?': the key 'name' is missing; add it"),
        (5, "domain '?': the table: Input should be a valid table; correct it"),
        (
            a_domain(an_event(), an_event()),
            "domain 'match': match.scored version 1 is declared twice; remove",
        ),
        (
            a_domain(an_event(aliases=["goal"]), an_event(version=2, aliases=["goal"])),
            "domain 'match': alias 'goal' is declared twice, for match.scored version 1 and match.scored ver",
        ),
    ],
)
def test_mistake_in_a_domain(table: object, message: str) -> None:
    """A mistake is found while the settings are validated, named, and told how to put right."""
    assert problems(table).startswith(message)


def test_all_mistakes_at_once() -> None:
    """Every mistake of a table is told, not only the first."""
    wrong = an_event(name="game.scored", fields={"score": "int"}, overflow={"conflate": ["x"]})

    told = problems(a_domain(wrong, topics=["match.#", "#.#"]))

    for mistake in ("topic '#.#'", "field 'score'", "target 'match:{matchId}'", "field 'x'"):
        assert mistake in told


wire_names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", fullmatch=True),
    st.sampled_from(
        ["class", "model_config", "model_fields", "json", "copy", "targets", "__class__", "field_0"]
    ),
).filter(lambda name: name not in ("userId", "timestamp", "type"))


@given(
    st.dictionaries(wire_names, st.sampled_from([*WORDS, *(f"list of {w}" for w in WORDS if w != "json")])),
    st.dictionaries(st.text(), st.integers()),
)
def test_any_fields(fields: dict[str, str], extra: dict[str, int]) -> None:
    """Any names work, are the same on the wire, and nothing else leaves."""
    ids = [name for name, word in fields.items() if word == "id"][:3]
    targets = ["all", *(f"room:{{{name}}}" for name in ids)]
    model = model_of(fields=fields, targets=targets)
    undeclared = {name: value for name, value in extra.items() if name not in ("timestamp", "userId")}

    event = accept(model, **{**undeclared, **model.EXAMPLE})

    assert leaving(event) == model.EXAMPLE
    assert set(model.EXAMPLE) == set(fields)
    assert len(event.targets()) == len(targets)
    assert all(parse_room(target) for target in event.targets())
    assert set(model.model_json_schema(mode="serialization")["properties"]) == {"userId", *fields}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*EventTable.model_fields, "other"]), json_values))
def test_nonsense_is_a_value_error(event: dict[str, Any]) -> None:
    """Whatever stands in a table, validation says so and never fails in another way."""
    try:
        table = DomainTable.model_validate(a_domain(an_event(**event)))
    except ValidationError:
        return
    assert build(table).event_types
