"""What happens when a token nears its end, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from bridge.core.access import Principal
from tests.eventually import eventually
from tests.ws.clients import ask, client, close_of, numbers, receive
from tests.ws.node import running


def lasting(*seconds: float) -> Callable[[str], Principal]:
    """Return a verifier whose tokens last for so long, one after the other."""
    lives = iter(seconds)
    return lambda _: Principal("u1", expires_at=time.time() + next(lives))


async def test_token_that_ends() -> None:
    """The client is told before its token ends, and closed with 4401 when it does."""
    async with (
        running(verify=lasting(0.4), expiring_notice_seconds=0.2) as node,
        client(node, "?token=x") as c,
    ):
        started = time.monotonic()
        connected = await receive(c)
        expiring = await receive(c)
        told_after = time.monotonic() - started
        code, text = await close_of(c)
        closed_after = time.monotonic() - started

        assert expiring == {"type": "expiring", "data": {"expiresAt": connected["data"]["expiresAt"]}}
        assert (code, text) == (4401, "token expired")
        assert 0.1 < told_after < closed_after
        assert closed_after > 0.35


async def test_token_of_a_short_life() -> None:
    """A token that is shorter than the usual notice is not called ending right from the start."""
    async with (
        running(verify=lasting(0.4), expiring_notice_seconds=60.0) as node,
        client(node, "?token=x") as c,
    ):
        started = time.monotonic()
        await receive(c)

        assert (await receive(c))["type"] == "expiring"
        assert time.monotonic() - started > 0.1
        assert (await close_of(c))[0] == 4401


async def test_token_that_is_renewed() -> None:
    """A newer token puts the end off; when that one nears its end, the client is told again."""
    async with (
        running(verify=lasting(0.3, 0.6), expiring_notice_seconds=0.2) as node,
        client(node, "?token=x") as c,
    ):
        started = time.monotonic()
        assert [(await receive(c))["type"] for _ in range(2)] == ["connected", "expiring"]

        assert (await ask(c, "auth", token="y"))["type"] == "authenticated"
        assert (await receive(c))["type"] == "expiring"
        assert time.monotonic() - started > 0.35
        assert (await close_of(c))[0] == 4401


async def test_token_that_ends_between_sweeps() -> None:
    """A sweep says and does the same, if it comes first."""
    async with (
        running(verify=lasting(0.3), expiring_notice_seconds=0.3, ping_interval_seconds=0.05) as node,
        client(node, "?token=x") as c,
    ):
        kinds = [(await receive(c))["type"] for _ in range(2)]

        assert kinds == ["connected", "expiring"]
        assert await close_of(c) == (4401, "token expired")


async def test_token_that_is_renewed_late() -> None:
    """After its token's end a socket goes on for a while, and a newer token still saves it."""
    async with (
        running(verify=lasting(0.1, 60.0), expiry_grace_seconds=30.0) as node,
        client(node, "?token=x") as c,
    ):
        ends_at = datetime.fromisoformat((await receive(c))["data"]["expiresAt"])
        assert (await receive(c))["type"] == "expiring"
        await eventually(lambda: datetime.now(UTC) > ends_at, "the token has ended")
        node.publish(1)

        assert await numbers(c, 1) == [1]
        assert (await ask(c, "auth", token="y"))["type"] == "authenticated"


async def test_token_that_is_not_renewed() -> None:
    """Past the grace the socket is closed with 4401."""
    async with (
        running(verify=lasting(0.1), expiry_grace_seconds=0.2) as node,
        client(node, "?token=x") as c,
    ):
        ends_at = datetime.fromisoformat((await receive(c))["data"]["expiresAt"])

        assert await close_of(c) == (4401, "token expired")
        assert (datetime.now(UTC) - ends_at).total_seconds() > 0.15


async def test_token_without_an_end() -> None:
    """A token that never ends sets no timer."""
    async with running(verify=lasting(float("inf"))) as node, client(node, "?token=x") as c:
        assert (await receive(c))["data"]["expiresAt"] is None
        assert node.connection_of("u1")._deadline is None
