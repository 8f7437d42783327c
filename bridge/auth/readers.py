"""Where JSON Web Key Sets are read: a file, or a URL. Each answer is bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import errno
from http import HTTPStatus
from pathlib import Path

import aiohttp


class KeysUnreadableError(Exception):
    """Keys could not be read. The text can be logged: it holds nothing of the answer, nor of a query."""


async def read_file(path: Path, *, bytes_max: int, seconds_max: float) -> bytes:
    """Return what a file holds.

    Raises:
        KeysUnreadableError: it cannot be read, not in time, or is longer than `bytes_max`.
    """
    try:
        async with asyncio.timeout(seconds_max):
            data = await asyncio.to_thread(_beginning, path, bytes_max + 1)
    except TimeoutError:
        raise KeysUnreadableError(f"{path}: not read within {seconds_max:g} s") from None
    except OSError as exc:
        raise KeysUnreadableError(f"{path}: {exc.strerror}") from exc
    if len(data) > bytes_max:
        raise KeysUnreadableError(f"{path}: is longer than {bytes_max} bytes")
    return data


def _beginning(path: Path, length: int) -> bytes:
    if path.is_fifo():  # Opening it would wait for somebody who writes, and hold the process at its end.
        raise OSError(errno.EINVAL, "is a pipe")
    with path.open("rb") as file:
        return file.read(length)


async def read_url(url: str, *, bytes_max: int, seconds_max: float) -> bytes:
    """Return what a URL answers. Redirects are not followed: they could lead away from https.

    Raises:
        KeysUnreadableError: no answer in time, another status than 200, or more than `bytes_max`.
    """
    try:
        async with asyncio.timeout(seconds_max):
            return await _answer(url, bytes_max)
    except TimeoutError:
        raise KeysUnreadableError(f"no whole answer within {seconds_max:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        # Some of these texts quote what was answered, or the URL.
        cause = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        raise KeysUnreadableError(f"no answer: {cause}") from None


async def _answer(url: str, bytes_max: int) -> bytes:
    data = bytearray()
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    # A compressed answer could be small on the wire and huge in memory.
    async with (
        aiohttp.ClientSession(auto_decompress=False, headers=headers) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise KeysUnreadableError(f"answered with status {response.status}")
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > bytes_max:
                raise KeysUnreadableError(f"the answer is longer than {bytes_max} bytes")
    return bytes(data)
