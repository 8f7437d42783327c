"""Finds out whether a bridge of ours answers at an address, and how it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
from yarl import URL

from bridge.core.health import Health

ASK_SECONDS_MAX = 2.0
ANSWER_BYTES_MAX = 1_048_576
HEALTHZ_ANSWERS = {200: b"ok\n", 503: b"not ready\n"}

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing listens here


async def is_public_port(host: str, port: int, *, tls: bool) -> bool:
    """Tell whether /healthz there answers as a bridge does. Never raises."""
    answer = await _ask("https" if tls else "http", host, port, "/healthz")
    return answer is not None and HEALTHZ_ANSWERS.get(answer[0]) == answer[1]


async def health_at(host: str, port: int) -> Sequence[Health] | None:
    """Return the parts that /readyz there tells of, None if that is no bridge's. Never raises."""
    answer = await _ask("http", host, port, "/readyz")
    if answer is None:
        return None
    try:
        parts = [Health(**part) for part in json.loads(answer[1])["parts"]]
    except (ValueError, LookupError, TypeError):
        return None
    return parts or None


async def _ask(scheme: str, host: str, port: int, path: str) -> tuple[int, bytes] | None:
    url = URL.build(scheme=scheme, host=_EVERYWHERE.get(host, host), port=port, path=path)
    with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        async with (
            asyncio.timeout(ASK_SECONDS_MAX),
            aiohttp.ClientSession() as session,
            # It is this machine that is asked, by another name than the certificate's.
            session.get(url, ssl=False, allow_redirects=False) as response,
        ):
            return response.status, await response.content.read(ANSWER_BYTES_MAX)
    return None
