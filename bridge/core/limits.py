"""Who may do how much: token buckets, one or very many, and places for those who wait; in bounded memory."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import Generic, TypeVar

T = TypeVar("T")

_ROWS = 4
_HASH = Struct("=4I")  # One number for each row.
_ROUNDING = 1e-6  # Times are of limited precision: by so much of an interval one may be early.


class TokenBucket:
    """Allows `rate_per_second` on average and `burst` at once. Time is handed in, in seconds."""

    __slots__ = ("_burst", "_rate_per_second", "_tokens", "_updated_at")

    def __init__(self, *, rate_per_second: float, burst: float) -> None:
        """Start full."""
        self._rate_per_second = rate_per_second
        self._burst = burst
        self._tokens = burst
        self._updated_at = float("-inf")

    def take(self, now: float, tokens: int = 1) -> float:
        """Take tokens. Returns 0.0 when there were enough, else the seconds until there will be."""
        elapsed = max(0.0, now - self._updated_at)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate_per_second)
        self._updated_at = now
        if self._tokens >= tokens:
            self._tokens -= tokens
            return 0.0
        return (tokens - self._tokens) / self._rate_per_second


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many in so many seconds."""

    count: int
    seconds: float


class KeyedLimiter:
    """A token bucket per key, in memory that never changes: a table of times, and no keys at all.

    Each bucket is one number, the time at which it will be full again (the generic cell rate algorithm,
    ITU-T I.371). A key has one cell in each of four rows, which it may share with others, and goes by the
    best of the four (a count-min sketch). So nothing is ever evicted, and nobody can have their own bucket
    forgotten by flooding the table. Who shares every cell with somebody at the limit is refused as well:
    with a tenth of `keys_max` keys at their limit 0.01 % of the others, with all of them 16 %. Who shares
    with whom depends on the seed, so nobody can aim.
    """

    def __init__(self, limit: RateLimit, *, keys_max: int, seed: bytes) -> None:
        """Start with full buckets. `seed` is random, up to 64 bytes; so many keys are told apart."""
        self._interval_seconds = limit.seconds / limit.count
        self._slack_seconds = (limit.count - 1) * self._interval_seconds
        self._cells_per_row = keys_max
        self._seed = seed
        self._full_at = array("d", [float("-inf")]) * (_ROWS * keys_max)

    @property
    def bytes_held(self) -> int:
        """How much memory the table takes."""
        return len(self._full_at) * self._full_at.itemsize

    def take(self, key: str, now: float) -> float:
        """Take one token of a key. Returns 0.0 when there was one, else the seconds to wait.

        `now` is monotonic, in seconds.
        """
        cells = self._cells(key)
        full_at = max(now, min([self._full_at[cell] for cell in cells]))
        wait_seconds = full_at - now - self._slack_seconds
        if wait_seconds > self._interval_seconds * _ROUNDING:
            return wait_seconds
        full_at += self._interval_seconds
        for cell in cells:  # Those of others that are emptier still stay so.
            self._full_at[cell] = max(full_at, self._full_at[cell])
        return 0.0

    def _cells(self, key: str) -> list[int]:
        digest = blake2b(key.encode(errors="surrogatepass"), digest_size=_HASH.size, key=self._seed).digest()
        return [
            row * self._cells_per_row + number % self._cells_per_row
            for row, number in enumerate(_HASH.unpack(digest))
        ]


class Waiting(Generic[T]):
    """Those who have not proven who they are: so many in all, and so many of one network.

    At a limit the one that has been at it for longest gives way, if it has had its `seconds_min`; until
    then the newcomer does. So those that never finish cannot lock others out, and a rush of those that
    would finish is not thinned out to make room for more of the same.
    """

    def __init__(self, *, count_max: int, per_network_max: int, seconds_min: float) -> None:
        """Begin with nobody."""
        self._count_max = count_max
        self._per_network_max = per_network_max
        self._seconds_min = seconds_min
        self._since: dict[T, tuple[str, float]] = {}  # The network, and since when; the oldest first.
        self._networks: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._since)

    def enter(self, one: T, network: str, now: float) -> T | None:
        """Add one; an empty network has no limit of its own. Whoever is returned must be dropped."""
        oldest = self._in_the_way(network)
        if oldest is None and len(self._since) >= self._count_max:
            oldest = next(iter(self._since))
        return self._put(one, (network, now), oldest, now)

    def move(self, one: T, network: str, now: float) -> T | None:
        """Note that one is of another network than it seemed. Whoever is returned must be dropped."""
        seemed, since = self._since.get(one, (network, now))
        if seemed == network:
            return None
        self._unlist(one, seemed)
        dropped = self._put(one, (network, since), self._in_the_way(network), now)
        if dropped is one:
            del self._since[one]
        return dropped

    def leave(self, one: T) -> None:
        """Forget one, if it is there."""
        network, _ = self._since.pop(one, ("", 0.0))
        self._unlist(one, network)

    def _in_the_way(self, network: str) -> T | None:
        """Return the oldest of a network that has no room."""
        members = self._networks.get(network) if network else None
        return next(iter(members)) if members and len(members) >= self._per_network_max else None

    def _put(self, one: T, entry: tuple[str, float], oldest: T | None, now: float) -> T | None:
        if oldest is not None:
            if now - self._since[oldest][1] < self._seconds_min:
                return one
            self.leave(oldest)
        self._since[one] = entry
        self._networks.setdefault(entry[0], {})[one] = None
        return oldest

    def _unlist(self, one: T, network: str) -> None:
        members = self._networks.get(network)
        if members is not None:
            members.pop(one, None)
            if not members:
                del self._networks[network]
