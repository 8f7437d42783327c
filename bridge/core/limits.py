"""Token buckets, one or very many, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


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
    """A token bucket per key. Past `keys_max` keys the one unused for longest is forgotten."""

    def __init__(self, limit: RateLimit, *, keys_max: int) -> None:
        """Start without keys."""
        self._limit = limit
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of keys held."""
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one token of a key. Returns 0.0 when there was one, else the seconds to wait."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(
                rate_per_second=self._limit.count / self._limit.seconds, burst=self._limit.count
            )
            self._buckets[key] = bucket
            if len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now)
