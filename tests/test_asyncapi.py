"""The AsyncAPI document: valid, and true of what the bridge takes and says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from msgspec.structs import replace

from bridge import __version__
from bridge.core.asyncapi import Deployment, asyncapi_of
from bridge.core.by_hand import judge
from bridge.core.catalogue import UNROUTED, Catalogue, Domain
from bridge.core.delivery import Delivery
from bridge.core.entry import Logged
from bridge.core.event import UserEvent
from bridge.core.examples import EVENT_ID, OFFSET, event_from, published
from bridge.core.intake import make_entry
from bridge.core.policy import DROP_OLDEST
from bridge.core.schema import key_of, sent_types
from bridge.core.verdict import Fate
from bridge.ws.dialects import bridge_v1
from bridge.ws.dialects.bridge_v1_schema import ANSWERS, COMMANDS, DIALECT, NOTICES
from consumers import domains
from tests.doc_reading import blocks
from tests.npm import installed, run

SOURCE = Path(__file__).parent / "asyncapi"
INFORMATION = 2  # A severity of the parser's: 0 is an error, 1 a warning.
BODY_BYTES_MAX = 262_144
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CATALOGUE = Catalogue([*domains(), Domain(UNROUTED, "anybody", topics=(), catches_unrouted=True)])
DEPLOYMENT = Deployment("cloudphone.events", "/", "bridge", BODY_BYTES_MAX, "bridge_token")
DOCUMENT = asyncapi_of(
    CATALOGUE,
    DEPLOYMENT,
    DIALECT,
    version=__version__,
)

Part = Mapping[str, Any]


def parts(value: object) -> Iterator[Part]:
    """Yield every object in the document."""
    match value:
        case dict():
            yield value
            for inner in value.values():
                yield from parts(inner)
        case list() | tuple():
            for inner in value:
                yield from parts(inner)


def at(reference: str) -> Any:  # noqa: ANN401 - any part of the document
    """Return what a reference points to."""
    value: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        value = value[name]
    return value


def messages() -> Iterator[tuple[str, str, Part]]:
    """Yield every message with the keys of its channel and of itself."""
    for channel, about in DOCUMENT["channels"].items():
        for name, message in about["messages"].items():
            yield channel, name, message


def published_channels(document: Part) -> list[Part]:
    """Return the channels of what is published."""
    return [channel for channel in document["channels"].values() if "amqp" in channel["bindings"]]


def validator(schema: Part) -> Draft7Validator:
    """Return what holds a value against a schema of the document."""
    return Draft7Validator({**schema, "components": DOCUMENT["components"]})


def test_parser() -> None:
    """The official parser finds no error and no warning, only that there is a newer AsyncAPI."""
    done = run(installed(SOURCE), "node", "parse.cjs", stdin=json.dumps(DOCUMENT))

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(each["severity"], each["code"]) for each in said["diagnostics"]] == [
        (INFORMATION, "asyncapi-latest-version")
    ]
    assert set(said["operations"]) == DOCUMENT["operations"].keys()


def test_references() -> None:
    """Each reference points to something, and each message belongs to an operation."""
    references = {part["$ref"] for part in parts(DOCUMENT) if "$ref" in part}

    for reference in references:
        assert isinstance(at(reference), dict)
    assert {f"#/channels/{channel}/messages/{name}" for channel, name, _ in messages()} <= references


def test_examples() -> None:
    """Each message has an example, and each example satisfies its message's schema."""
    for channel, name, message in messages():
        assert message["examples"], (channel, name)
        Draft7Validator.check_schema(message["payload"])
        for example in message["examples"]:
            errors = [
                error.message for error in validator(message["payload"]).iter_errors(example["payload"])
            ]
            assert not errors, (channel, name)


def test_one_message_each() -> None:
    """A published body is of one form only, as far as its schema can tell."""
    for channel in DOCUMENT["channels"].values():
        forms = {name: message for name, message in channel["messages"].items() if "." not in name}
        for name, message in forms.items():
            for example in message["examples"]:
                fits = [
                    form
                    for form, other in forms.items()
                    if validator(other["payload"]).is_valid(example["payload"])
                ]
                assert fits == [name]


def test_what_is_published() -> None:
    """The bridge takes each example of a published body, in each form, under the channel's address."""
    now = time.time()
    for key, name, message in messages():
        channel = DOCUMENT["channels"][key]
        if "amqp" not in channel["bindings"]:
            continue
        for example in message["examples"]:
            delivery = Delivery(
                channel["address"],
                json.dumps(example["payload"]).encode(),
                now,
                content_type=message["contentType"],
                headers=example.get("headers", {}),
            )
            verdict = judge(CATALOGUE, delivery, body_bytes_max=BODY_BYTES_MAX)
            assert verdict.refused is None, (name, verdict.refused)
            assert verdict.event_type == channel["title"]


def test_what_is_refused() -> None:
    """Whichever field of an example is left out, the schema and the bridge are of one mind about the rest."""
    for channel in published_channels(DOCUMENT):
        (example, _) = channel["messages"]["plain"]["examples"]
        for name in example["payload"]:
            body = {field: value for field, value in example["payload"].items() if field != name}
            delivery = Delivery(channel["address"], json.dumps(body).encode(), time.time())
            verdict = judge(CATALOGUE, delivery, body_bytes_max=BODY_BYTES_MAX)
            fits = validator(channel["messages"]["plain"]["payload"]).is_valid(body)
            assert fits == (verdict.fate is not Fate.DEAD), (channel["title"], name)


def test_versions() -> None:
    """Of an event type with two versions each has its routing key, by which the bridge takes its example."""
    domain = Domain("match", publisher="", topics=("match.#",))
    for version in (1, 2):
        model = type(f"Scored{version}", (UserEvent,), {"__doc__": "A goal."})
        domain.event("match.scored", overflow=DROP_OLDEST, version=version)(model)
    catalogue = Catalogue([domain, Domain(UNROUTED, "anybody", topics=(), catches_unrouted=True)])

    document = asyncapi_of(catalogue, DEPLOYMENT, DIALECT, version="1")

    addresses = {key: channel["address"] for key, channel in document["channels"].items()}
    assert addresses == {
        "match.scored": "match.scored:v1",
        "match.scored-v2": "match.scored",
        "socket": "/ws",
    }
    for channel in published_channels(document):
        for message in channel["messages"].values():
            body = json.dumps(message["examples"][0]["payload"]).encode()
            delivery = Delivery(channel["address"], body, 0.0, content_type=message["contentType"])
            assert judge(catalogue, delivery, body_bytes_max=BODY_BYTES_MAX).refused is None


def test_frames() -> None:
    """The example of each event on a socket is what the dialect writes for it."""
    for event_type in sent_types(CATALOGUE):
        entry = make_entry(event_type, event_from(event_type, published(event_type)), EVENT_ID)
        written = bridge_v1.encode_event(Logged(OFFSET, entry), entry.targets[0])
        message = DOCUMENT["channels"]["socket"]["messages"][f"event.{key_of(event_type)}"]

        assert message["examples"] == [{"payload": json.loads(written)}]


@pytest.mark.parametrize(("trace", "described"), [("", True), (TRACE, True), ("somewhere", False)])
def test_frames_with_a_trace(trace: str, described: bool) -> None:  # noqa: FBT001 - a table
    """A frame may have the trace of its event, and what is none satisfies no schema."""
    (event_type, *_) = sent_types(CATALOGUE)
    entry = make_entry(event_type, event_from(event_type, published(event_type)), EVENT_ID)
    written = bridge_v1.encode_traced_event(Logged(OFFSET, replace(entry, trace=trace)), entry.targets[0])
    message = DOCUMENT["channels"]["socket"]["messages"][f"event.{key_of(event_type)}"]

    frame = json.loads(written)
    assert ("trace" in frame) == bool(trace)
    assert validator(message["payload"]).is_valid(frame) is described


def test_what_is_said() -> None:
    """Every command, answer and notice is there, and those of docs/protocol.md satisfy their schemas."""
    examples = [json.loads(block) for block in blocks("docs/protocol.md", "json")]
    commands = {each.name: each for each in COMMANDS}
    said = {each.name: each for each in (*ANSWERS, *NOTICES)}

    assert commands.keys() == bridge_v1._READERS.keys()
    for command in COMMANDS:
        bridge_v1.parse(json.dumps(command.example).encode())
        assert command.answer in {each.name for each in ANSWERS}
    for example in (example for example in examples if "op" in example):
        validator(commands[example["op"]].schema).validate(example)
    for example in (example for example in examples if "type" in example and "offset" not in example):
        if "userId" not in example:  # An event as it is published.
            validator(said[example["type"]].schema).validate(example)
    kinds = {example["type"] for example in examples if "type" in example and "userId" not in example}
    assert said.keys() <= kinds
