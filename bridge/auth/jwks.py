"""Keys that the issuer publishes and changes: a JSON Web Key Set (RFC 7517 section 5), read again and again.

One task reads: every `refresh_seconds`, and when somebody waits for a key that is not known. However many
wait, and for however many keys, they wait for the same reading, and readings on demand keep a distance. When
reading fails, the last good keys stay, and it is tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import jiter
import structlog

from bridge.auth.keys import Key, KeyUnusableError, key_from_jwk
from bridge.auth.readers import KeysUnreadableError
from bridge.core.health import Health

log = structlog.get_logger()

KEYS_MAX = 100
UNKNOWN_KIDS_MAX = 1_000
UNKNOWN_SECONDS = 60.0  # So long a name that was not found is not looked for again.
RETRY_SECONDS_MAX = 60.0
RETRY_DOUBLINGS_MAX = 10
PROBLEMS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class SourceRules:
    """How often keys are read. `refetch_seconds_min` lies between readings that unknown keys cause."""

    refresh_seconds: float
    refetch_seconds_min: float
    wait_seconds_max: float


@dataclass(frozen=True, slots=True)
class JsonWebKeys:
    """The usable keys of a set, and what is wrong with each of the others."""

    keys: tuple[Key, ...]
    problems: tuple[str, ...]


def parse_jwks(data: bytes, *, symmetric: bool) -> JsonWebKeys:
    """Read a JSON Web Key Set; keys of kinds that are not known here are left out (RFC 7517 section 5).

    Raises:
        KeysUnreadableError: it is none, or has not one usable key.
    """
    try:
        document = jiter.from_json(data)
    except ValueError:
        raise KeysUnreadableError("is not JSON") from None
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list):
        raise KeysUnreadableError("is not a JSON Web Key Set: an object with a list named keys")
    if len(jwks) > KEYS_MAX:
        raise KeysUnreadableError(f"has more than {KEYS_MAX} keys")
    keys: list[Key] = []
    problems: list[str] = []
    for number, jwk in enumerate(jwks):
        try:
            keys.append(key_from_jwk(jwk, symmetric=symmetric))
        except KeyUnusableError as unusable:
            problems.append(f"key {number} {unusable.problem}")
    if not keys:
        raise KeysUnreadableError("; ".join(["has no usable key", *problems[:PROBLEMS_SHOWN_MAX]]))
    return JsonWebKeys(tuple(keys), tuple(problems))


class KeySource:
    """One published set of keys. `run` has to run for it to be read."""

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[bytes]],
        rules: SourceRules,
        *,
        symmetric: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know no key yet. `name` is for logs and operators, `clock` counts seconds from anywhere."""
        self.name = name
        self.keys: tuple[Key, ...] = ()
        self.trouble = "not read yet"  # Why the last reading failed; empty when it did not.
        self.on_change: Callable[[], None] = lambda: None  # Set by whoever uses the keys.
        self._read = read
        self._rules = rules
        self._symmetric = symmetric
        self._clock = clock
        self._data = b""  # Of the last good reading.
        self._failures = 0  # In a row.
        self._tried_at = float("-inf")
        self._reading = False
        self._wanted = asyncio.Event()  # Set when somebody waits for the next reading.
        self._read_once = asyncio.Event()  # Set at the end of each reading, then replaced.
        self._asked: dict[str, None] = {}  # Names that are waited for.
        self._unknown: dict[str, float] = {}  # Names that were not found, and until when that counts.

    def may_find(self, kid: str) -> bool:
        """Tell whether reading now is allowed, and could find a key of this name."""
        now = self._clock()
        if self._unknown.get(kid, now) > now:
            return False
        return self._reading or now - self._tried_at >= self._rules.refetch_seconds_min

    async def fetch(self, kid: str) -> None:
        """Wait for the reading that may find this key, if one is allowed, but not for long."""
        if not self.may_find(kid):
            return
        if len(self._asked) < UNKNOWN_KIDS_MAX:
            self._asked[kid] = None
        if not self._reading:
            self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rules.wait_seconds_max):
                await self._read_once.wait()

    async def run(self) -> None:
        """Read the keys, again and again, until cancelled."""
        while True:
            await self.refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wanted.wait()

    async def refresh(self) -> None:
        """Read the keys once. Failure is kept in `trouble`, and logged when it is new."""
        self._reading = True
        self._wanted.clear()
        try:
            self._take(await self._read())
        except KeysUnreadableError as unreadable:
            self._failures += 1
            if self._failures == 1:
                log.warning("auth.keys_unreadable", source=self.name, reason=str(unreadable))
            self.trouble = str(unreadable)
        finally:
            self._reading = False
            self._tried_at = self._clock()
            self._asked.clear()
            self._read_once.set()
            self._read_once = asyncio.Event()

    async def look(self) -> JsonWebKeys:
        """Return what is published now, for somebody who asks; nothing is kept.

        Raises:
            KeysUnreadableError: it cannot be read, or has not one usable key.
        """
        return parse_jwks(await self._read(), symmetric=self._symmetric)

    def health(self) -> Health:
        """Tell whether there are keys, new or old."""
        held = f"{len(self.keys)} keys"
        detail = f"{held}; {self.trouble}" if self.trouble else held
        return Health(f"keys {self.name}", bool(self.keys), detail)

    def _take(self, data: bytes) -> None:
        if data != self._data:
            found = parse_jwks(data, symmetric=self._symmetric)
            self._data, self.keys = data, found.keys
            log.info(
                "auth.keys_changed",
                source=self.name,
                keys=len(found.keys),
                left_out=list(found.problems[:PROBLEMS_SHOWN_MAX]),
            )
            self._unknown.clear()
            self.on_change()
        elif self._failures:
            log.info("auth.keys_readable", source=self.name)
        self._failures = 0
        self.trouble = ""
        self._remember_unknown()

    def _remember_unknown(self) -> None:
        """Note which of the names that are waited for were not found."""
        known = {key.kid for key in self.keys}
        for kid in self._asked:
            if kid not in known:
                self._unknown.pop(kid, None)
                self._unknown[kid] = self._clock() + UNKNOWN_SECONDS
        while len(self._unknown) > UNKNOWN_KIDS_MAX:
            del self._unknown[next(iter(self._unknown))]

    def _pause_seconds(self) -> float:
        """Return how long to wait: nodes that start together shall not ask together for ever."""
        seconds = self._rules.refresh_seconds
        if self._failures:
            seconds = min(seconds, RETRY_SECONDS_MAX, 2.0 ** min(self._failures, RETRY_DOUBLINGS_MAX))
        return seconds * random.uniform(0.9, 1.0)  # noqa: S311 - nothing depends on its being secret
