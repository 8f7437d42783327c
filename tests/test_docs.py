"""The documents say what the code does: whatever could drift is compared."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.auth.keys import ALGORITHMS
from bridge.cli import app
from bridge.core.catalogue import Catalogue, Domain, EventType
from bridge.core.close import CATALOGUE
from bridge.core.errors import Reason
from bridge.core.examples import event_from, published
from bridge.core.markdown import markdown_of
from bridge.core.revocation import ChangeKind
from bridge.core.verdict import Fate
from bridge.settings import CUSTOMARY, PREFIX, Settings
from bridge.ws.dialects import bridge_v1
from consumers import domains
from tests.doc_reading import DOCUMENTS, ROOT, blocks, calls, first_words, read, rows, section, words
from tests.metrics import TOLD_BY_PROMETHEUS, families, rules, selectors

BUILT_IN = Catalogue(domains())
COLUMNS_OF_SETTINGS = 4
# Secrets, what `serve --workers` sets by itself, and what is shown in another way.
NOT_IN_THE_FILE = {
    *CUSTOMARY.values(),
    ("ws", "reuse_port"),
    ("admin", "socket"),
    ("admin", "token"),
    ("ingest", "unknown"),
    ("domain",),
    ("users", "query"),
    ("grants",),
    ("auth", "former_secret"),
    ("auth", "key"),
}


# Publishing.


def test_events_page() -> None:
    """docs/events.md is what `python -m bridge export markdown --built-in >docs/events.md` writes."""
    assert read("docs/events.md") == markdown_of(BUILT_IN, exchange="cloudphone.events")


@pytest.mark.parametrize("event_type", BUILT_IN.event_types, ids=lambda each: f"{each.name}-v{each.version}")
def test_examples_are_events(event_type: EventType) -> None:
    """Each example payload in docs/events.md is one that the bridge takes."""
    event = event_from(event_type, published(event_type))

    assert bool(event.targets()) == (event_type.name not in set(ChangeKind))


def test_field_types() -> None:
    """Each type of a field that docs/events.md names is explained there."""
    page = read("docs/events.md")
    fields = [row for row in rows(page, columns=4) if row[0].startswith("`")]
    named = {word for row in fields for word in row[1].split(" or ") if not word.startswith("`")}
    explained = {row[0] for row in rows(section("docs/events.md", "## How to read this"))}

    assert explained - {"any JSON", "list of …"} == named  # Those two are for domains of the settings.


def test_shapes() -> None:
    """The shapes in docs/publishing.md are JSON."""
    for block in blocks("docs/publishing.md", "json"):
        json.loads(block)


def test_reasons() -> None:
    """Each reason of a dead letter is explained in docs/publishing.md, and no other."""
    table = rows(section("docs/publishing.md", "## What is refused, and where it goes"))

    assert {row[0].strip("`") for row in table} == {reason.value for reason in Reason}


# Protocol.


def test_close_codes() -> None:
    """The table of close codes is the catalogue's."""
    table = rows(section("docs/protocol.md", "## Close codes"))

    assert [row[:3] for row in table] == [
        [str(reason.code), reason.text, "yes" if reason.reconnect else "no"] for reason in CATALOGUE
    ]


def test_error_codes() -> None:
    """Each code of an error or a refused room is explained in docs/protocol.md."""
    refused = {
        argument.value
        for call, _ in calls("RefusedRoom|Decision|CommandError")
        for argument in (*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "code"))
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    codes = {code for code in first_words("BadMessage") | refused if re.fullmatch("[a-z_]+", code)} - {"ok"}

    assert codes <= words(read("docs/protocol.md"))
    assert {row[0].strip("`") for row in rows(section("docs/protocol.md", "### Errors"))} <= codes


def test_commands() -> None:
    """Each command of docs/protocol.md is understood, and each that is understood is there."""
    examples = [json.loads(block) for block in blocks("docs/protocol.md", "json")]
    commands = [example for example in examples if "op" in example]

    for command in commands:
        bridge_v1.parse(json.dumps(command).encode())
    assert {command["op"] for command in commands} == set(bridge_v1._READERS)


def test_notices() -> None:
    """Each kind of answer and notice has an example in docs/protocol.md."""
    kinds = set(re.findall(r'return "(\w+)",', inspect.getsource(bridge_v1._body))) | {"inbox"}
    examples = [json.loads(block) for block in blocks("docs/protocol.md", "json")]

    assert kinds == {example["type"] for example in examples if "type" in example and "offset" not in example}


# Operations.


def settings(
    model: type[BaseModel] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield every setting with its path in the file."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, (*path, name))
        else:
            yield (*path, name), field


def as_documented(field: FieldInfo) -> str:
    """Return a default as the table writes it."""
    value = default_of(field)
    if field.is_required() or value is None:
        return "required" if field.is_required() else "none"
    if value in ((), {}):
        return "empty"
    match value:
        case bool():
            value = str(value).lower()
        case tuple():
            value = ",".join(value)
        case float():
            value = f"{value:g}"
    return f"`{value}`"


def default_of(field: FieldInfo) -> Any:  # noqa: ANN401 - of any setting
    """Return the default of a setting, None if it has none."""
    return None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})


def test_settings() -> None:
    """The table of settings has every one, with its variable and default, in the order of the code."""
    table = rows(section("docs/operations.md", "## Settings"), columns=COLUMNS_OF_SETTINGS)

    documented = [(row[0].strip("`"), row[2]) for row in table]
    assert documented == [(".".join(path), as_documented(field)) for path, field in settings()]
    for name, variable, *_ in table:
        expected = PREFIX + name.strip("`").replace(".", "__").upper()
        assert variable == "–" or variable.strip("`").startswith(expected)


def test_customary_variables() -> None:
    """The variables that are read under their customary names are named."""
    assert set(CUSTOMARY) <= words(section("docs/operations.md", "## Settings"))


def test_settings_file() -> None:
    """config/bridge.toml shows every setting that may stand in a file, with its default."""
    text = re.sub(r"^# (?=\w+ = )", "", read("config/bridge.toml"), flags=re.MULTILINE)
    shown = tomllib.loads(text)
    loaded = Settings.model_validate(
        {
            **shown,
            "amqp": {**shown["amqp"], "url": "amqp://localhost"},
            "auth": {name: value for name, value in shown["auth"].items() if value != "…"}
            | {"secret": "0" * 64},
            "ws": {name: value for name, value in shown["ws"].items() if value != "…"},
        }
    )

    for path, field in settings():
        if path in NOT_IN_THE_FILE:
            continue
        node: Any = shown
        value: Any = loaded
        for part in path:
            assert part in node, f"config/bridge.toml lacks {'.'.join(path)}"
            node, value = node[part], getattr(value, part)
        assert value == default_of(field), ".".join(path)


def test_metrics() -> None:
    """The tables of metrics have every one that there is, with its type and labels, and no other."""
    documented = {
        row[0].strip("`").removesuffix("_total"): (row[1], words(row[2]))
        for row in rows(section("docs/monitoring.md", "## Metrics"))
    }

    assert documented == {
        family.name: (family.type, set().union(*(sample.labels for sample in family.samples)) - {"le"})
        for family in families()
    }


def test_alerts() -> None:
    """Each alert is named beside the metrics that it watches, and no other is."""
    read = {
        (rule["alert"], re.sub("_(bucket|count|sum)$", "", name))
        for rule in rules()
        for name, _ in selectors(rule["expr"])
        if name not in TOLD_BY_PROMETHEUS | {"bridge_build_info"}
    }
    named = {
        (alert, row[0].strip("`"))
        for row in rows(section("docs/monitoring.md", "## Metrics"))
        for alert in words(row[5])
    }

    assert read == named


def test_reasons_of_rejected_tokens() -> None:
    """Each reason for which a token is rejected is explained in docs/tokens.md, and no other."""
    table = rows(section("docs/tokens.md", "## Why a token is rejected"))

    assert {row[0].strip("`") for row in table} == first_words("TokenRejected")


def test_algorithms() -> None:
    """docs/tokens.md names every algorithm that a key can have."""
    assert words(section("docs/tokens.md", "## Keys")) >= ALGORITHMS


def test_fates() -> None:
    """Each fate that is a metric's label is named."""
    assert {fate.value for fate in Fate} <= words(section("docs/monitoring.md", "## Metrics"))


def test_log_events() -> None:
    """The table of log events has every one that the code logs, and no other."""
    logged = first_words(r"log\.(debug|info|warning|error|exception|critical)")
    documented = {row[0].strip("`") for row in rows(section("docs/operations.md", "## Log"))}

    assert documented == logged


# The rest.


def test_cli_commands() -> None:
    """README.md names every command."""
    table = section("README.md", "## Commands")
    group = typer.main.get_command(app)
    names = set(getattr(group, "commands", {}))

    assert names
    for name in names:
        assert re.search(rf"`{name}\b", table), name


def test_make_targets() -> None:
    """Each `make` target that a document names is there."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), flags=re.MULTILINE))

    for document in DOCUMENTS:
        named = set(re.findall(r"`?make ([a-z-]+)", " ".join(words(document.read_text(encoding="utf-8")))))
        assert named <= targets, document.name


def test_files_that_documents_name() -> None:
    """Each file of the checkout that a document names in back-ticks is there."""
    for document in DOCUMENTS:
        for word in words(document.read_text(encoding="utf-8")):
            if re.fullmatch(
                r"(bridge|clients|consumers|config|docs|examples|tests|devel|benchmarks|requirements)/[\w./-]*",
                word,
            ):
                assert (ROOT / word).exists(), f"{document.name} names {word}"


def test_tests_that_documents_name() -> None:
    """Each test that docs/guarantees.md names is there."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", read("docs/guarantees.md"))

    assert named
    for file, function in named:
        assert (ROOT / file).exists(), file
        assert not function or f"def {function}(" in read(file), f"{file}::{function}"


def test_security() -> None:
    """Each threat in docs/security.md names tests that are there, or says that nothing stops it."""
    threats = rows(read("docs/security.md"), columns=4)

    assert len(threats) == len(rows(read("docs/security.md")))
    for threat, stopped_by, _, held_by in threats:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", held_by)
        assert bool(named) == (stopped_by != "–"), threat
        for file, function in named:
            assert f"def {function}(" in read(file), f"{file}::{function}"


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links(document: Path) -> None:
    """Links between documents lead somewhere, and pictures are there."""
    text = document.read_text(encoding="utf-8")
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|srcset)="([^"]+)"', text)]:
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file) if file else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_leads_everywhere() -> None:
    """README.md has a link to every document."""
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", read("README.md"))}

    assert {str(document.relative_to(ROOT)) for document in DOCUMENTS} - {"README.md"} <= links


def test_domain_tables() -> None:
    """The [[domain]] tables in README.md and config/bridge.toml are accepted."""
    (readme,) = blocks("README.md", "toml")
    in_file = "\n".join(
        line.removeprefix("#   ")
        for line in read("config/bridge.toml").splitlines()
        if line.startswith("#   ")
    )

    for text in (readme, in_file):
        tables = tomllib.loads(text)
        values = {
            **tables,
            "amqp": {"url": "amqp://localhost"},
            "auth": {**tables.get("auth", {}), "secret": "0" * 64},
        }
        loaded = Settings.model_validate(values)
        assert [table.name for table in loaded.domain] == ["match"]


def imported(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """Return the domain that a file with this source declares."""
    file = folder / "domain_of_a_document.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    domain = module.DOMAIN
    assert isinstance(domain, Domain)
    return domain


def targets_of(catalogue: Catalogue, name: str) -> Sequence[str]:
    """Return where the example of an event type goes."""
    event_type = catalogue.resolve(name)
    assert event_type is not None
    return event_from(event_type, published(event_type)).targets()


def test_domain_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain in README.md is one, once it stands in a file."""
    (source,) = (block for block in blocks("README.md", "python") if "DOMAIN = " in block)

    catalogue = Catalogue([*domains(), imported(source, tmp_path, monkeypatch)])

    assert targets_of(catalogue, "match.scored") == ("match:m1",)


def test_event_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event type in README.md is one, once it stands in consumers/quota.py."""
    (addition,) = (block for block in blocks("README.md", "python") if "DOMAIN = " not in block)
    source = f"{read('consumers/quota.py')}\n\n{addition}"

    catalogue = Catalogue([imported(source, tmp_path, monkeypatch)])

    assert targets_of(catalogue, "quota.paused") == ("user:u1",)
