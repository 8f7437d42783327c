"""`bridge check`: which part is broken, and what to do."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import typer
from rich.markup import escape

from bridge.amqp.link import AUTHENTICATION_ERRORS, CONNECT_ERRORS, connect
from bridge.amqp.stream import declare_stream
from bridge.amqp.topology import TopologyError
from bridge.app import catalogue_of, retention_of, tls_of, token_rules_of, topology_of
from bridge.auth.tokens import TokenVerifier, make_token
from bridge.cli.common import console
from bridge.core.errors import TokenRejected
from bridge.settings import Settings, SettingsError, load


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `remedy` is empty when all is well."""

    part: str
    detail: str
    remedy: str = ""


def check() -> None:
    """Check settings, keys, ports, broker and topology.

    Exit status 0 when all is well, 78 when the settings are not, else 1.
    """
    try:
        settings = load()
        catalogue = catalogue_of(settings)
        tls = tls_of(settings)
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
    findings = [_keys(settings), *_ports(settings), *asyncio.run(_broker(settings))]
    findings.insert(
        1, Finding("tls", "on" if tls else "off: put a proxy with TLS in front, or set ws.tls_certificate")
    )
    for finding in findings:
        _show(finding)
    if any(finding.remedy for finding in findings):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    mark = "[red]✗[/red]" if finding.remedy else "[green]✓[/green]"
    console.print(f"{mark} [bold]{finding.part:9}[/bold] {escape(finding.detail)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"            → {escape(finding.remedy)}", soft_wrap=True)


def _keys(settings: Settings) -> Finding:
    rules = token_rules_of(settings)
    try:
        TokenVerifier(rules).verify(make_token(rules, user_id="check", seconds=60))
    except TokenRejected as rejected:
        return Finding(
            "keys", f"a token of our own is rejected: {rejected.message}", "check the auth settings"
        )
    return Finding("keys", "a token signed with the secret verifies")


def _ports(settings: Settings) -> Iterator[Finding]:
    for name, host, port in (
        ("ws.port", settings.ws.host, settings.ws.port),
        ("admin.port", settings.admin.host, settings.admin.port),
    ):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as exc:
                yield Finding(
                    "ports",
                    f"{name} {host}:{port}: {exc.strerror}",
                    f"if a bridge is serving there already all is well; else free the port or set {name}",
                )
            else:
                yield Finding("ports", f"{name} {host}:{port} is free")


async def _broker(settings: Settings) -> list[Finding]:
    url = settings.amqp.url.get_secret_value()
    try:
        connection = await connect(url, "bridge check")
    except AUTHENTICATION_ERRORS as exc:
        remedy = "correct user and password in amqp.url / RABBITMQ_URL"
        return [Finding("broker", f"RabbitMQ refuses the login: {exc}", remedy)]
    except CONNECT_ERRORS as exc:
        remedy = "is it running, and are host, port and virtual host in amqp.url / RABBITMQ_URL right?"
        return [Finding("broker", f"RabbitMQ does not answer: {type(exc).__name__}: {exc}", remedy)]
    async with connection:
        topology = topology_of(settings, catalogue_of(settings))
        channel = await connection.channel(publisher_confirms=False)
        try:
            await topology.declare(channel)
            if settings.event_log.kind == "stream":
                await declare_stream(channel, topology.names.log, retention_of(settings))
        except TopologyError as exc:
            remedy = "delete what is in the way, if nobody needs it, or choose another amqp.prefix"
            return [Finding("broker", "RabbitMQ answers"), Finding("topology", str(exc), remedy)]
        except CONNECT_ERRORS as exc:
            remedy = (
                "RabbitMQ 3.10 or later is needed, and permission to configure, write and read these names"
            )
            return [
                Finding("broker", "RabbitMQ answers"),
                Finding("topology", f"{type(exc).__name__}: {exc}", remedy),
            ]
        findings = [Finding("broker", "RabbitMQ answers"), Finding("topology", "declared and verified")]
        for domain in topology.domains:
            name = topology.names.queue(domain)
            queue = await channel.declare_queue(name, passive=True)
            result = queue.declaration_result
            findings.append(
                Finding(
                    "consumers", f"{name}: {result.consumer_count} attached, {result.message_count} waiting"
                )
            )
        dead = await channel.declare_queue(topology.names.dead, passive=True)
        findings.append(
            Finding("dead", f"{topology.names.dead}: {dead.declaration_result.message_count} dead letters")
        )
        return findings
