"""Connection attempts from very many addresses, in a process of its own whose memory tells what is kept.

    python -m benchmarks.flood '{"kept": "table", "addresses": 1000000}'

It prints one line and ends. `kept` is the bridge's limiter, or for comparison what comes to mind first: a
token bucket for each address in a dictionary.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from benchmarks.counting import say
from benchmarks.machine import Cpu, resident_bytes
from bridge.core.limits import TokenBucket
from bridge.sections import Ws
from bridge.sockets import limiter_of
from bridge.ws.address import network_of

FIRST = int(IPv4Address("10.0.0.0"))
ADDRESSES_AT_ONCE = 10_000  # So many are written out at a time, outside of what is measured.

Take = Callable[[str, float], float]


def _table() -> Take:
    ws = Ws()
    limiter = limiter_of(ws.attempts_per_minute_max, ws.addresses_max)
    return lambda address, now: limiter.take(network_of(address, ipv6_prefix_bits=ws.ipv6_prefix_bits), now)


def _dictionary() -> Take:
    per_minute_max = Ws().attempts_per_minute_max
    buckets: dict[str, TokenBucket] = {}

    def take(address: str, now: float) -> float:
        bucket = buckets.get(address)
        if bucket is None:
            bucket = buckets[address] = TokenBucket(rate_per_second=per_minute_max / 60, burst=per_minute_max)
        return bucket.take(now)

    return take


KEPT: dict[str, Callable[[], Take]] = {"table": _table, "dictionary": _dictionary}


def attempts(take: Take, first: int, addresses: int) -> tuple[float, int]:
    """Try once from each of so many addresses; return the CPU seconds, and how many were refused."""
    seconds, refused = 0.0, 0
    for start in range(first, first + addresses, ADDRESSES_AT_ONCE):
        end = min(start + ADDRESSES_AT_ONCE, first + addresses)
        texts = [str(IPv4Address(number)) for number in range(start, end)]
        before = sum(Cpu.now())
        for text in texts:
            refused += take(text, time.monotonic()) > 0
        seconds += sum(Cpu.now()) - before
    return seconds, refused


def main() -> None:
    """Flood, and say what it took."""
    argument = json.loads(sys.argv[1])
    take, addresses = KEPT[argument["kept"]](), argument["addresses"]
    attempts(take, FIRST, ADDRESSES_AT_ONCE)  # What is loaded or allocated once is not counted.
    gc.collect()
    before = resident_bytes()
    seconds, refused = attempts(take, FIRST + ADDRESSES_AT_ONCE, addresses)
    gc.collect()
    say(
        before_bytes=before,
        after_bytes=resident_bytes(),
        microseconds=seconds / addresses * 1e6,
        refused=refused,
    )


if __name__ == "__main__":
    main()
