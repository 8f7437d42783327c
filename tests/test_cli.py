"""What people type: each command against a real broker, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner, Result
from yarl import URL

from bridge.admin import asking
from bridge.admin.server import AdminServer
from bridge.amqp.link import connect
from bridge.amqp.publisher import Publisher
from bridge.amqp.topology import Names
from bridge.app import catalogue_of, topology_of
from bridge.auth.tokens import TokenVerifier
from bridge.cli import app
from bridge.core.delivery import Delivery
from bridge.core.errors import Reason, Refused
from bridge.core.health import Health
from bridge.keyring import token_rules_of
from bridge.settings import Settings, load
from consumers.quota import QuotaUpdated
from devel.ports import free_ports
from tests.amqp.bus import Bus, proxied
from tests.commands import bridge, environment, started
from tests.servers import Prefix, SharedBroker

CANARY = "canary-7c1f"
EX_CONFIG = 78
EVENT = {"userId": "u1", "timestamp": "2026-11-21T10:00:00Z", "quotaId": "q1", "limits": {}, "usage": {}}


@pytest.fixture
def variables(rabbitmq: SharedBroker, prefix: Prefix) -> dict[str, str]:
    """The environment of a bridge that is well."""
    return environment(rabbitmq.url, prefix)


@pytest.fixture
def settings(variables: Mapping[str, str]) -> Settings:
    """The settings that this environment makes."""
    return load(variables)


@pytest.fixture
async def bus(settings: Settings) -> AsyncIterator[Bus]:
    """The bus, with everything declared."""
    async with await connect(settings.amqp.url.get_secret_value(), "test") as connection:
        channel = await connection.channel(on_return_raises=True)
        await topology_of(settings, catalogue_of(settings)).declare(channel)
        yield Bus(connection, channel, Names(settings.amqp.exchange, settings.amqp.prefix))


@pytest.fixture
def typed(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A runner of commands in this process."""
    for name in ("RABBITMQ_URL", "JWT_SECRET", *(name for name in variables if name.startswith("BRIDGE_"))):
        monkeypatch.setenv(name, variables[name])
    return CliRunner()


def run(runner: CliRunner, *arguments: str, status: int = 0, stdin: str | None = None) -> Result:
    """Run a command in this process, and check its exit status: whatever happens, it exits."""
    result = runner.invoke(app, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, result.output
    return result


def parts(output: str) -> dict[str, bool]:
    """Return the parts that a check has named, and whether all was well with each."""
    found: dict[str, bool] = {}
    for line in output.splitlines():
        if line[:1] in "✓✗":
            name = line[2:].split()[0]
            found[name] = found.get(name, True) and line.startswith("✓")
    return found


async def test_check_finds_all_well(variables: Mapping[str, str], tmp_path: Path) -> None:
    """With all well, check names every part and exits with 0."""
    finished = await bridge("check", variables=variables, folder=tmp_path)

    assert finished.status == 0
    names = "settings examples keys tls ports broker topology consumers dead database"
    assert parts(finished.out) == dict.fromkeys(names.split(), True)
    assert finished.err == ""


async def test_check_finds_the_broker_down(variables: dict[str, str], tmp_path: Path) -> None:
    """With no broker there, check names that part and what to look at, and exits with 1."""
    variables["RABBITMQ_URL"] = f"amqp://guest:{CANARY}@127.0.0.1:{free_ports(1)[0]}/"

    finished = await bridge("check", variables=variables, folder=tmp_path)

    assert finished.status == 1
    assert [part for part, well in parts(finished.out).items() if not well] == ["broker"]
    assert "→ is it running" in finished.out
    assert CANARY not in finished.said


def test_check_finds_the_password_wrong(
    typed: CliRunner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong password, check says that the login is refused, and does not show the password."""
    url = URL(settings.amqp.url.get_secret_value()).with_password(CANARY)
    monkeypatch.setenv("RABBITMQ_URL", str(url))

    output = run(typed, "check", status=1).output

    assert parts(output)["broker"] is False
    assert "refuses the login" in output
    assert "→ correct user and password" in output
    assert CANARY not in output


def test_check_finds_ports_taken(typed: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ports taken, check says which and which settings to change."""
    monkeypatch.setattr(asking, "ASK_SECONDS_MAX", 0.1)  # Nobody answers at these.
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as admin:
        monkeypatch.setenv("BRIDGE_WS__PORT", str(public.getsockname()[1]))
        monkeypatch.setenv("BRIDGE_ADMIN__PORT", str(admin.getsockname()[1]))
        output = run(typed, "check", status=1).output

    assert [part for part, well in parts(output).items() if not well] == ["ports"]
    assert "set ws.port" in output
    assert "set admin.port" in output


async def test_check_finds_a_bridge_unwell(typed: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bridge that serves here and is not well, check names the parts that are not."""
    parts_of_it = [
        Health("bridge.quota", ok=False, detail="not attached"),
        Health("node", ok=True, detail=""),
    ]
    admin = AdminServer(health=lambda: parts_of_it, collector=CollectorRegistry())
    monkeypatch.setenv("BRIDGE_ADMIN__PORT", str(await admin.start("127.0.0.1", 0)))
    try:
        output = (await asyncio.to_thread(run, typed, "check", status=1)).output
    finally:
        await admin.stop()

    assert [part for part, well in parts(output).items() if not well] == ["running"]
    assert "✗ running   bridge.quota: not attached\n" in output
    assert "→ look for /readyz in docs/troubleshooting.md\n" in output


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ({"quotaId": "q1", "limits": 7, "usage": {}}, "limits "),
        ({}, "none; "),
        ({"quotaId": datetime(2026, 11, 21, tzinfo=UTC)}, "TypeError: Object of type datetime is not JSON"),
    ],
    ids=str,
)
def test_check_finds_an_example_that_is_no_event(
    example: dict[str, object], says: str, typed: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event class whose example it would refuse itself is named, with what is wrong with it."""
    monkeypatch.setattr(QuotaUpdated, "EXAMPLE", example)

    output = run(typed, "check", status=1).output

    assert [part for part, well in parts(output).items() if not well] == ["examples"]
    assert f"EXAMPLE of quota.updated version 1: {says}" in output
    assert "→ correct the example" in output


async def test_check_finds_a_queue_that_nobody_reads(typed: CliRunner, settings: Settings) -> None:
    """Where other domains are consumed, one that is not is named; where none is, no bridge is running."""
    await _declare(settings)
    output = (await asyncio.to_thread(run, typed, "check")).output
    assert parts(output)["consumers"] is True

    async with await aio_pika.connect(settings.amqp.url.get_secret_value()) as connection:
        channel = await connection.channel()
        for domain in catalogue_of(settings).domains.values():
            if domain.name != "quota":
                queue = await channel.get_queue(f"{settings.amqp.prefix}.{domain.name}")
                await queue.consume(_leave)
        output = (await asyncio.to_thread(run, typed, "check", status=1)).output

    unread = [line for line in output.splitlines() if line.startswith("✗ consumers")]
    assert unread == [f"✗ consumers {settings.amqp.prefix}.quota: 0 attached, 0 waiting"]
    assert "→ see the bridge's /readyz" in output


@pytest.mark.parametrize("queue", ["quota", "log"])
def test_check_finds_a_conflict(
    queue: str, typed: CliRunner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With something else in the place of a queue, or of the log, check names it."""
    name = f"{settings.amqp.prefix}.{queue}"
    asyncio.run(_put_in_the_way(settings, name))
    monkeypatch.setenv("BRIDGE_EVENT_LOG__KIND", "stream")

    output = run(typed, "check", status=1).output

    assert parts(output)["topology"] is False
    assert f"'{name}'" in output


@pytest.mark.parametrize("command", ["check", "serve"])
async def test_bad_settings_are_listed(command: str, variables: dict[str, str], tmp_path: Path) -> None:
    """Every problem with the settings is listed at once, with its variable, and the status is 78."""
    del variables["RABBITMQ_URL"]
    variables |= {
        "JWT_SECRET": "changeme",
        "BRIDGE_WS__PORT": "70000",
        "BRIDGE_NO__SUCH": "1",
        "BRIDGE_CONFIG": str(tmp_path / "missing.toml"),
    }

    finished = await bridge(command, variables=variables, folder=tmp_path)

    assert finished.status == EX_CONFIG
    for words in (
        "RABBITMQ_URL",
        "JWT_SECRET",
        "is an example",
        "BRIDGE_WS__PORT",
        "BRIDGE_NO",
        "missing.toml",
    ):
        assert words in finished.said


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "quota.updated"),
        ("tail",),
        ("dead", "list"),
        ("token", "--user", "u1"),
        ("explain", "--user", "u1", "--room", "all", "--event", "quota.updated"),
    ],
)
def test_bad_settings_stop_every_command(
    arguments: tuple[str, ...], typed: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is typed, settings that are not usable stop it with status 78."""
    monkeypatch.setenv("JWT_SECRET", "changeme")

    assert "JWT_SECRET" in run(typed, *arguments, status=EX_CONFIG).output


def test_missing_secret_is_named(typed: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret nothing starts, and the variable to set is named."""
    monkeypatch.delenv("JWT_SECRET")

    output = run(typed, "serve", status=EX_CONFIG).output

    assert "JWT_SECRET" in output
    assert "is not set" in output


async def test_serve_says_which_port_is_taken(variables: dict[str, str], tmp_path: Path) -> None:
    """If a port is taken, serve says so in one line and exits with 69 (EX_UNAVAILABLE)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for name in ("BRIDGE_WS__PORT", "BRIDGE_ADMIN__PORT"):
            own = variables | {name: str(taken.getsockname()[1])}
            finished = await bridge("serve", variables=own, folder=tmp_path)

            assert finished.status == 69
            last = json.loads(finished.err.splitlines()[-1])
            assert last["event"] == "app.start_failed"
            assert str(taken.getsockname()[1]) in last["reason"]
            assert "ws.port" in last["remedy"]


def test_token_is_good(typed: CliRunner, settings: Settings) -> None:
    """The printed token names the user, the roles and the rooms that were asked for."""
    arguments = ("--user", "u1", "--role", "admin", "--role", "ops", "--room", "device:*", "--hours", "2")
    token = run(typed, "token", *arguments).stdout.strip()

    principal = TokenVerifier(token_rules_of(settings)).verify(token)
    assert (principal.user_id, principal.roles) == ("u1", frozenset({"admin", "ops"}))
    assert principal.rooms == ("device:*",)


@pytest.mark.parametrize("arguments", [("--user", ""), ("--user", "a b"), ("--user", "u1", "--role", "a,b")])
def test_token_for_nobody_is_refused(arguments: tuple[str, ...], typed: CliRunner) -> None:
    """A token that no bridge would accept is not made."""
    assert "1 to 128 characters" in run(typed, "token", *arguments, status=1).output


async def test_publish_puts_an_event_on_the_bus(
    variables: Mapping[str, str], bus: Bus, tmp_path: Path
) -> None:
    """A published event is in its domain's queue with the given user and id; where it goes is said."""
    arguments = ("quota.updated", "-", "--user", "u7", "--message-id", "m7")
    stdin = json.dumps(EVENT).encode()

    finished = await bridge("publish", *arguments, variables=variables, folder=tmp_path, stdin=stdin)

    assert finished.status == 0, finished.err
    assert "user:u7" in finished.out
    message = await bus.take("quota")
    assert message.message_id == "m7"
    assert json.loads(message.body) == EVENT | {"userId": "u7"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"\x1b]0;x\x07": "x"}, ["warning: \ufffd]0;x\ufffd is not declared"]),
        ({"note": "x"}, ["warning: note is not declared for quota.updated and will not leave the bridge"]),
        ({"quota_id": "q"}, ["quota_id is not declared", "write quotaId"]),
        ({"note": None}, []),
        ({}, []),
    ],
    ids=str,
)
def test_publish_warns_of_fields_that_will_not_leave(
    data: Mapping[str, object], says: list[str], typed: CliRunner, settings: Settings
) -> None:
    """An event with a field that is not declared is published, with a warning as of `lint`."""
    asyncio.run(_declare(settings))

    result = run(typed, "publish", "quota.updated", json.dumps({**EVENT, **data}), "--user", "u1")

    assert "published quota.updated" in result.output
    assert all(words in result.output for words in says)
    assert ("warning" in result.output) == bool(says)


def test_every_example_can_be_published(typed: CliRunner, settings: Settings) -> None:
    """Each event type's example is accepted, published, and waits in the queue of its domain."""
    catalogue = catalogue_of(settings)
    asyncio.run(_declare(settings))
    for event_type in catalogue.event_types:
        output = run(typed, "publish", event_type.name, "--example").output
        assert f"published {event_type.name}" in output

    counts = asyncio.run(_waiting(settings))
    for domain in catalogue.domains.values():
        assert counts[domain.name] == len(domain.event_types)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("quota.updated", "{}", "--user", "u1"), "quotaId is required"),
        (("quotaUpdated", json.dumps(EVENT)), "publish it as 'quota.updated'"),
        (("user.quota.updated", json.dumps(EVENT)), "starts with the service prefix"),
        (("quota.nonsense", json.dumps(EVENT)), "no event type of the domain quota"),
        (("stock.changed", json.dumps(EVENT)), "no domain declares it"),
        (("quota.updated", "{"), "is not JSON"),
        (("quota.updated", "[1]"), "must be a JSON object"),
        (("quota.updated", '{"pattern":"quota.updated","data":{}}', "--user", "u1"), "that is not wrapped"),
        (("quota.updated", '{"specversion":"1.0","data":{}}', "--example"), "that is not wrapped"),
        (("quota.updated", "[" * 100_000), "is not JSON"),
        (("nonsense", "--example"), "is not of the form entity.action"),
        (("quota.nonsense", "--example"), "there is no event type"),
        (("quota.updated", json.dumps(EVENT), "--message-id", "x" * 256), "longer than 255 bytes"),
        (("x" * 256, "{}", "--force"), "longer than 255 bytes"),
        (("quota.\udcff", "{}", "--force"), "the event type is not UTF-8"),
        (("quota.updated", json.dumps(EVENT), "--message-id", "\udcff"), "the message id is not UTF-8"),
    ],
)
def test_publish_refuses(arguments: tuple[str, ...], says: str, typed: CliRunner) -> None:
    """What the bridge would refuse is not published, and why is said."""
    output = run(typed, "publish", *arguments, status=1).output
    assert says in output
    assert "published" not in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--user", "a b"), "userId"),
        (("--user", "u1", "--token-id", ""), "tokenId"),
        (("--user", "u1", "--reason", "x" * 5_000), "reason"),
    ],
)
def test_disconnect_refuses(arguments: tuple[str, ...], says: str, typed: CliRunner) -> None:
    """Nobody is disconnected by an event that the bridge would refuse; why is said."""
    output = run(typed, "disconnect", *arguments, status=1).output
    assert says in output
    assert "published" not in output


def test_publish_can_be_forced(typed: CliRunner, settings: Settings) -> None:
    """Forced, even what will be dead-lettered is published, and that is said; whatever its name contains."""
    asyncio.run(_declare(settings))
    output = run(typed, "publish", "[/bold]Bad name", "{}", "--force").output

    assert "published [/bold]Bad name" in output
    assert "it will be dead-lettered" in output
    assert asyncio.run(_waiting(settings))["unrouted"] == 1


def test_publish_shows_no_control_characters(typed: CliRunner, settings: Settings) -> None:
    """What is typed, or comes from a file, does nothing to the terminal when it is told."""
    asyncio.run(_declare(settings))
    said = [
        run(typed, "publish", "nope.\x1b[31mX", "{}", "--force", "--message-id", "m\x1b[31m").output,
        run(
            typed, "publish", "quota.updated", json.dumps(EVENT | {"userId": "a \x1b\x9b2J\u202e"}), status=1
        ).output,
    ]

    assert not any(character in "".join(said) for character in "\x1b\x9b\u202e")


async def test_tail_shows_what_arrives(variables: Mapping[str, str], bus: Bus, tmp_path: Path) -> None:
    """Tail shows each event of the types asked for with where it goes or why not, and takes nothing away."""
    arguments = ("tail", "--type", "quota*", "--count", "3")
    async with started(*arguments, variables=variables, folder=tmp_path) as process:
        assert process.stdout is not None
        assert b"watching" in await process.stdout.readline()
        await bus.publish("device.started", b"{}", message_id="m0")
        await bus.publish("quota.updated", json.dumps(EVENT).encode(), message_id="m1")
        await bus.publish("quota.updated", b"hello", message_id="m2")
        await bus.publish("quotaUpdated", json.dumps(EVENT).encode(), message_id="m3")
        out, err = await asyncio.wait_for(process.communicate(), 15.0)

    lines = out.decode().splitlines()
    assert [line.split()[2] for line in lines] == ["m1", "m2", "m3"]
    assert "→ user:u1" in lines[0]
    assert "refused: the body is not JSON" in lines[1]
    assert "publish it as 'quota.updated'" in lines[2]
    assert (process.returncode, err) == (0, b"")
    assert await bus.waiting("quota") == 2


async def test_tail_ends_when_the_broker_does(variables: dict[str, str], tmp_path: Path) -> None:
    """When its connection is cut, tail says so and exits with 1."""
    async with proxied(variables["RABBITMQ_URL"]) as (proxy, url):
        variables["RABBITMQ_URL"] = url
        async with started("tail", variables=variables, folder=tmp_path) as process:
            assert process.stdout is not None
            await process.stdout.readline()
            await proxy.cut()
            _, err = await asyncio.wait_for(process.communicate(), 15.0)

    assert process.returncode == 1
    assert b"Traceback" not in err
    assert err.startswith(b"RabbitMQ: ")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--user", "u1", "--room", "user:u1", "--event", "quota.updated"), 0, "delivered"),
        (("--user", "u1", "--room", "user:u2", "--event", "quota.updated"), 1, "it is another user's room"),
        (
            ("--user", "u1", "--room", "device:d7", "--event", "device.started"),
            1,
            "rooms claim does not name it",
        ),
        (
            ("--user", "u1", "--room", "device:d7", "--event", "device.started", "--claim", "device:*"),
            0,
            "delivered once subscribed",
        ),
        (
            ("--user", "u1", "--room", "role:admin", "--event", "proxy.nonsense"),
            1,
            "there is no event type",
        ),
        (
            ("--user", "u1", "--room", "user:u1", "--event", "whatsapp.qr"),
            1,
            "only while it is younger than 20 s",
        ),
        (("--user", "u1", "--room", "nonsense", "--event", "quota.updated"), 1, "a room is named kind:id"),
        (
            ("--user", "u1", "--room", "user:u1", "--event", "quotaUpdated"),
            1,
            "publish it as 'quota.updated'",
        ),
    ],
)
def test_explain_says_who_gets_it(
    arguments: tuple[str, ...], status: int, says: str, typed: CliRunner
) -> None:
    """Explain says whether the user would get the event through the room, and why or why not."""
    assert says in run(typed, "explain", *arguments, status=status).output


async def test_dead_letters_are_listed_shown_replayed_and_purged(
    variables: Mapping[str, str], typed: CliRunner, bus: Bus, tmp_path: Path
) -> None:
    """Letters are listed and shown with their reason, replayed to the bridge, and purged for good."""
    publisher = Publisher(bus.names, bus.channel)
    for number in (1, 2, 3):
        delivery = Delivery("quota.updated", b"[body %d]" % number, received_at=0.0, message_id=f"m{number}")
        reason = Reason.NOT_JSON if number < 3 else Reason.EMPTY
        await publisher.bury(delivery, "quota", Refused(reason, f"why {number}", field=f"field{number}"))

    async def dead(*arguments: str) -> str:
        return (await asyncio.to_thread(run, typed, "dead", *arguments)).output

    arguments = ("dead", "list", "--reason", "not_json")
    listed = await bridge(*arguments, variables=variables, folder=tmp_path)
    rows = [line.split() for line in listed.out.splitlines()[1:3]]
    assert [row[-4:] for row in rows] == [
        ["quota.updated", "not_json", "field1", "8"],
        ["quota.updated", "not_json", "field2", "8"],
    ]
    assert "2 letter(s): 2 not_json" in listed.out

    shown = await dead("show", rows[0][0])
    for words in ("not_json", "why 1", "field1", "m1", "[body 1]"):
        assert words in shown

    assert "replayed 1 letter(s)" in await dead("replay", rows[0][0])
    assert (await bus.take("quota")).body == b"[body 1]"

    assert "removed 2 letter(s)" in await dead("purge", "--all")
    assert await bus.waiting("dead") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "abc"), "there is no dead letter abc"),
        (("replay", "abc"), "there is no dead letter abc"),
        (("purge", "abc"), "there is no dead letter abc"),
        (("replay",), "say which"),
        (("purge",), "say which"),
    ],
)
def test_dead_needs_to_know_which(arguments: tuple[str, ...], says: str, typed: CliRunner) -> None:
    """Nothing is replayed or purged without being named, and what is not there is said."""
    assert says in run(typed, "dead", *arguments, status=1).output


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "quota.updated", "--example"),
        ("tail",),
        ("dead", "list"),
        ("dead", "show", "abc"),
        ("dead", "replay", "--all"),
        ("dead", "purge", "--all"),
    ],
)
def test_broker_down_is_one_line(
    arguments: tuple[str, ...], typed: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no broker there, each command says so in one line, without the password, and exits with 1."""
    monkeypatch.setenv("RABBITMQ_URL", f"amqp://guest:{CANARY}@127.0.0.1:{free_ports(1)[0]}/")

    output = run(typed, *arguments, status=1).output

    assert output.startswith("RabbitMQ does not answer")
    assert len(output.splitlines()) == 1
    assert CANARY not in output


def test_remembering_for_longer_than_the_log(typed: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that starts could not know what is to be remembered: that is refused, with the remedy."""
    monkeypatch.setenv("BRIDGE_EVENT_LOG__KIND", "stream")
    monkeypatch.setenv("BRIDGE_ACCESS__REMEMBER_SECONDS", "86401")

    output = " ".join(run(typed, "check", status=78).output.split())
    assert "access.remember_seconds: is 86401, but the log is kept for 86400 s only" in output


def test_help_names_every_command(typed: CliRunner) -> None:
    """Help lists what can be typed."""
    output = run(typed, "--help").output
    for command in ("serve", "check", "token", "publish", "tail", "explain", "dead"):
        assert command in output


async def _put_in_the_way(settings: Settings, queue: str) -> None:
    """Declare a queue of that name as nobody here would."""
    async with await connect(settings.amqp.url.get_secret_value(), "test") as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue)


async def _declare(settings: Settings) -> None:
    async with await connect(settings.amqp.url.get_secret_value(), "test") as connection:
        await topology_of(settings, catalogue_of(settings)).declare(await connection.channel())


async def _waiting(settings: Settings) -> dict[str, int]:
    """Return how many messages wait for each domain."""
    topology = topology_of(settings, catalogue_of(settings))
    async with await connect(settings.amqp.url.get_secret_value(), "test") as connection:
        bus = Bus(connection, await connection.channel(), topology.names)
        return {domain.name: await bus.waiting(domain.name) for domain in topology.domains}


async def _leave(_: object) -> None:
    """Take a message and do nothing with it."""
