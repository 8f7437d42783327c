"""`bridge check`: which part is broken, and what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import typer
from rich.markup import escape

from bridge.admin.asking import health_at, is_public_port
from bridge.amqp.link import AUTHENTICATION_ERRORS, CONNECT_ERRORS, Channel, connect
from bridge.amqp.stream import declare_stream
from bridge.amqp.topology import Topology, TopologyError
from bridge.app import catalogue_of, topology_of
from bridge.auth.readers import KeysUnreadableError
from bridge.auth.tokens import TokenRules, TokenVerifier, make_token
from bridge.ceilings import ceilings_of
from bridge.cli.common import console, visible
from bridge.core.catalogue import Catalogue
from bridge.core.errors import TokenRejected, cause_of
from bridge.core.examples import wrong
from bridge.core.health import Health
from bridge.keyring import sources_of, token_rules_of
from bridge.retention import retention_of
from bridge.settings import Auth, Settings, SettingsError, load
from bridge.sockets import tls_of
from bridge.storage import store_rules_of
from bridge.store.checking import check_database
from bridge.store.store import StoreRules
from bridge.tracing import require_packages
from consumers import unlisted

NAMES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `remedy` is empty when all is well."""

    part: str
    detail: str
    remedy: str = ""


def check() -> None:
    """Check settings, examples, keys, ports, broker, topology and database.

    What is missing on the broker is declared, as the bridge would do it at its start.
    Exit status 0 when all is well, 78 when the settings are not, else 1.
    """
    try:
        settings = load()
        catalogue = catalogue_of(settings)
        ceilings_of(settings, catalogue)
        tls = tls_of(settings)
        if settings.event_log.kind == "stream":
            retention_of(settings)
        require_packages(settings)
        rules = token_rules_of(settings)
    except SettingsError as exc:
        for problem in exc.problems:
            _show(Finding("settings", problem, "mend it and check again"))
        raise typer.Exit(os.EX_CONFIG) from None
    _show(
        Finding(
            "settings",
            f"{settings.mode}, {len(catalogue.event_types)} event types in {len(catalogue.domains)} domains",
        )
    )
    findings = [
        *_unlisted(),
        *_examples(catalogue),
        Finding("tls", "on" if tls else "off: put a proxy with TLS in front, or set ws.tls_certificate"),
        *_keys(rules),
        *asyncio.run(_published_keys(settings.auth)),
        *asyncio.run(_ports(settings)),
        *asyncio.run(_broker(settings)),
        *asyncio.run(_database(store_rules_of(settings, catalogue))),
    ]
    for finding in findings:
        _show(finding)
    if any(finding.remedy for finding in findings):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    mark = "[red]✗[/red]" if finding.remedy else "[green]✓[/green]"
    console.print(f"{mark} [bold]{finding.part:9}[/bold] {escape(finding.detail)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"            → {escape(finding.remedy)}", soft_wrap=True)


def _unlisted() -> Iterator[Finding]:
    for name in unlisted():
        detail = f"consumers/{name}.py is not in NAMES: it is not read"
        remedy = "add it to NAMES in consumers/__init__.py, or begin its name with _"
        yield Finding("settings", detail, remedy)


def _examples(catalogue: Catalogue) -> Iterator[Finding]:
    """Tell which examples of event types are no events: documents show them, and publishers copy them."""
    problems = list(wrong(catalogue))
    for event_type, problem in problems:
        detail = f"EXAMPLE of {event_type.name} version {event_type.version}: {problem}"
        yield Finding("examples", visible(detail), "correct the example in the event class, or the class")
    if not problems:
        yield Finding("examples", "each event type has one that is an event of it")


def _keys(rules: TokenRules) -> Iterator[Finding]:
    """Check each key that the settings hold or name; that it can be read is known already."""
    for key in rules.keys:
        name = f"{key.algorithm} key {visible(key.kid)}".rstrip()
        if not key.signs:
            yield Finding("keys", f"{name}: verifies tokens")
            continue
        own = replace(rules, keys=(key,))
        try:
            TokenVerifier(own).verify(make_token(own, user_id="check", seconds=60))
        except TokenRejected as rejected:
            detail = f"{name}: a token of our own is rejected: {rejected.message}"
            yield Finding("keys", detail, "check the auth settings")
        else:
            yield Finding("keys", f"{name}: a token signed with it verifies")


async def _published_keys(auth: Auth) -> list[Finding]:
    """Read each set of published keys once."""
    findings: list[Finding] = []
    for source in sources_of(auth):
        try:
            found = await source.look()
        except KeysUnreadableError as unreadable:
            remedy = f"is auth.{source.name} right, and is there a JSON Web Key Set?"
            findings.append(Finding("keys", f"{source.name}: {unreadable}", remedy))
            continue
        names = ", ".join(f"{key.algorithm} {key.kid}".rstrip() for key in found.keys[:NAMES_SHOWN_MAX])
        left_out = "; ".join(found.problems[:NAMES_SHOWN_MAX])
        detail = f"{source.name}: {len(found.keys)} keys: {names}" + (f"; {left_out}" if left_out else "")
        findings.append(Finding("keys", visible(detail)))
    return findings


async def _ports(settings: Settings) -> list[Finding]:
    """Find out whether the ports can be had, or a bridge has them already; and then how that one is."""
    ws, admin = settings.ws, settings.admin
    public, operator = _bound("ws.port", ws.host, ws.port), _bound("admin.port", admin.host, admin.port)
    is_ours, parts = await asyncio.gather(
        is_public_port(ws.host, ws.port, tls=ws.tls_certificate is not None),
        health_at(admin.host, admin.port),
    )
    findings = [
        _serving("ws.port", ws.host, ws.port) if public.remedy and is_ours else public,
        _serving("admin.port", admin.host, admin.port) if operator.remedy and parts else operator,
    ]
    return [*findings, *_running(parts)] if operator.remedy and parts else findings


def _serving(name: str, host: str, port: int) -> Finding:
    return Finding("ports", f"{name} {host}:{port}: a bridge serves there")


def _bound(name: str, host: str, port: int) -> Finding:
    """Tell whether one can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            detail = f"{name} {host}:{port}: {exc.strerror or exc}"
            if exc.errno == errno.EADDRINUSE:
                remedy = f"another program has it: stop that, or set {name}"
            else:
                setting = name.partition(".")[0]
                remedy = f"set {name} to a port above 1023, or {setting}.host to an address of this machine"
            return Finding("ports", detail, remedy)
    return Finding("ports", f"{name} {host}:{port} is free")


def _running(parts: Sequence[Health]) -> Iterator[Finding]:
    """Tell what the bridge that serves here says of itself."""
    unwell = [part for part in parts if not part.ok]
    for part in unwell:
        remedy = "look for /readyz in docs/troubleshooting.md"
        yield Finding("running", visible(f"{part.part}: {part.detail}"), remedy)
    if not unwell:
        yield Finding("running", f"ready; {len(parts)} parts are well")


async def _database(rules: StoreRules | None) -> list[Finding]:
    if rules is None:
        return [Finding("database", "none: tokens alone decide, and there is no inbox")]
    return [Finding(*finding) for finding in await check_database(rules)]


async def _broker(settings: Settings) -> list[Finding]:
    url = settings.amqp.url.get_secret_value()
    try:
        connection = await connect(url, "bridge check")
    except AUTHENTICATION_ERRORS as exc:
        remedy = "correct user and password in amqp.url / RABBITMQ_URL"
        return [Finding("broker", f"RabbitMQ refuses the login: {exc}", remedy)]
    except CONNECT_ERRORS as exc:
        remedy = "is it running, and are host, port and virtual host in amqp.url / RABBITMQ_URL right?"
        return [Finding("broker", f"RabbitMQ does not answer: {cause_of(exc)}", remedy)]
    async with connection:
        topology = topology_of(settings, catalogue_of(settings))
        try:
            channel = await connection.channel(publisher_confirms=False)
            await topology.declare(channel)
            if settings.event_log.kind == "stream":
                await declare_stream(channel, topology.names.log, retention_of(settings))
            queues = await _queues(channel, topology)
        except TopologyError as exc:
            remedy = "delete what is in the way, if nobody needs it, or choose another amqp.prefix"
            return [Finding("broker", "RabbitMQ answers"), Finding("topology", str(exc), remedy)]
        except CONNECT_ERRORS as exc:
            remedy = (
                "RabbitMQ 3.10 or later is needed, and permission to configure, write and read these names"
            )
            return [
                Finding("broker", "RabbitMQ answers"),
                Finding("topology", cause_of(exc), remedy),
            ]
    return [Finding("broker", "RabbitMQ answers"), Finding("topology", "declared and verified"), *queues]


async def _queues(channel: Channel, topology: Topology) -> list[Finding]:
    """Tell who consumes each domain's queue, and what waits in it, and among the dead letters."""
    names = [topology.names.queue(domain) for domain in topology.domains]
    queues = {name: (await channel.declare_queue(name, passive=True)).declaration_result for name in names}
    is_served = any(queue.consumer_count for queue in queues.values())
    findings: list[Finding] = []
    for name, queue in queues.items():
        detail = f"{name}: {queue.consumer_count} attached, {queue.message_count} waiting"
        # As long as no bridge is running that is so for all, and nobody is wrong.
        remedy = "see the bridge's /readyz; restart it if this domain was added since it was started"
        is_left_out = is_served and not queue.consumer_count
        findings.append(Finding("consumers", detail, remedy if is_left_out else ""))
    name = topology.names.dead
    dead = (await channel.declare_queue(name, passive=True)).declaration_result
    return [*findings, Finding("dead", f"{name}: {dead.message_count} dead letters")]
