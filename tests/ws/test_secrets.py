"""Tokens leave no trace: not in a log of any level, a metric, an answer or an exception."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bridge.admin.metrics import BridgeCollector, NodeGauges
from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from tests.ws.clients import UPGRADE, RawClient, client_frame, command, request
from tests.ws.node import COOKIE, Node, Options, running, token

PAGE = "https://app.example.com"
GOOD = token("u7")
PARTS = GOOD.split(".")


def bad_tokens() -> list[str]:
    """Return tokens that are wrong in every way that may make an exception quote them."""
    header, payload, signature = PARTS
    return [
        token("u7", seconds=-60),
        f"{header}.{payload}.{'A' * len(signature)}",
        f"{header}.{payload}",
        f"{header}.{payload[::-1]}.{signature}",
        f"{payload}.{header}.{signature}",
        f"e30.{payload}.{signature}",
        f"canary-{signature}",
        f"{header}.{payload}.{signature}é\x00",
        f"{header}.{payload}.{signature}" * 40,
    ]


def requests_with(token_: str) -> dict[str, bytes]:
    """Return requests with a token in every place that can hold one, and in some that cannot."""
    from_page = f"{UPGRADE}Origin: {PAGE}\r\n"
    return {
        "authorization": request(headers=f"{UPGRADE}Authorization: Bearer {token_}\r\n"),
        "x-auth-token": request(headers=f"{UPGRADE}X-Auth-Token: {token_}\r\n"),
        "cookie": request(headers=f"{from_page}Cookie: {COOKIE}={token_}\r\n"),
        "foreign cookie": request(headers=f"{UPGRADE}Cookie: {COOKIE}={token_}\r\n"),
        "subprotocol": request(headers=f"{UPGRADE}Sec-WebSocket-Protocol: bridge.v1, bearer.{token_}\r\n"),
        "subprotocol alone": request(headers=f"{UPGRADE}Sec-WebSocket-Protocol: bearer.{token_}\r\n"),
        "query": request(f"/ws?token={token_}"),
        "bad query": request(f"/ws?token={token_}&offset=x"),
        "wrong path": request(f"/elsewhere?token={token_}"),
        "wrong origin": request(f"/ws?token={token_}", f"{UPGRADE}Origin: https://evil.example.net\r\n"),
        "no upgrade": request(f"/ws?token={token_}", "Host: x\r\n"),
        "wrong version": request(f"/ws?token={token_}", UPGRADE.replace("Version: 13", "Version: 8")),
        "not http": f"GET /ws?token={token_}\r\n\r\n".encode(),
        "as a header": request(headers=f"{UPGRADE}{token_}\r\n"),
        "no token": request(),
    }


def commands_with(token_: str) -> bytes:
    """Return messages with a token in every command that has one, and where none belongs."""
    broken = f'{{"op": "hello", "token": "{token_}"'.encode()
    return b"".join(
        [
            client_frame(1, broken),
            command("hello", token=token_),
            command("auth", token=token_),
            command("auth", token=[token_]),
            command(token_),
            client_frame(1, json.dumps([token_]).encode()),
            client_frame(8, b"\x03\xe8" + token_[:100].encode()),
        ]
    )


def metrics_of(node: Node) -> str:
    """Return what the operator port would show."""
    registry = CollectorRegistry()
    names: dict[str, Any] = dict.fromkeys(NodeGauges.__dataclass_fields__, 0)
    gauges = NodeGauges(**names | {"ready": True, "domains": ()})
    registry.register(BridgeCollector(node.stats, lambda: gauges))
    return generate_latest(registry).decode()


def traces(text: str, token_: str) -> list[str]:
    """Return the parts of a token that a text holds; each is long enough to be no accident."""
    return [part for part in token_.replace("\x00", ".").split(".") if len(part) >= 12 and part in text]


def faulty(text: str) -> Principal:
    """Fail by our own fault, and quote the token."""
    raise RuntimeError(f"cannot look at {text}")


@pytest.mark.parametrize("verify", [Options().verify, faulty], ids=["verified", "our own fault"])
async def test_no_trace_of_a_token(
    verify: Callable[[str], Principal], caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever a token stands, good or bad, it is in no log line, metric or HTTP answer."""
    caplog.set_level(logging.DEBUG)
    tokens = [GOOD, *bad_tokens()]
    answers = b""
    async with running(verify=verify, allowed_origins=(PAGE,)) as node:
        for token_ in tokens:
            for data in requests_with(token_).values():
                async with RawClient.connected(node) as raw:
                    await raw.send(data + commands_with(token_))
                    raw.sock.shutdown(1)
                    answers += (await raw.rest()).partition(b"\r\n\r\n")[0]
        metrics = metrics_of(node)
        assert node.stats.handshakes_refused.total()
        assert node.stats.tokens_rejected.total() or verify is faulty

    lines = [*map(str, node.diary.lines), *(record.getMessage() for record in caplog.records)]
    told = "\n".join([*lines, caplog.text, metrics, answers.decode(errors="replace")])
    assert node.diary.told("ws.failed") if verify is faulty else node.diary.told("ws.token_rejected")
    assert [traces(told, token_) for token_ in tokens] == [[]] * len(tokens)


@pytest.mark.parametrize("bad", bad_tokens(), ids=lambda _: "")
def test_no_trace_in_exceptions(bad: str) -> None:
    """Why a token is rejected says nothing of what is in it, down to the first cause."""
    with pytest.raises(TokenRejected) as caught:
        Options().verify(bad)

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    assert not traces(told, bad)


async def test_a_token_is_never_echoed() -> None:
    """Of the sub-protocols that a client offers only bridge.v1 comes back, never the token."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request(headers=f"{UPGRADE}Sec-WebSocket-Protocol: bridge.v1, bearer.{GOOD}\r\n"))
        head = await raw.head()

    assert "\r\nSec-WebSocket-Protocol: bridge.v1\r\n" in f"{head}\r\n"
    assert "bearer" not in head


async def test_only_a_token_is_offered() -> None:
    """A client that offers nothing but its token gets no sub-protocol back, and is let in."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request(headers=f"{UPGRADE}Sec-WebSocket-Protocol: bearer.{GOOD}\r\n"))

        assert "sec-websocket-protocol" not in (await raw.head()).lower()
        assert (await raw.frame()).message["type"] == "connected"
