"""Makes input that is nearly right: a seed decides all of it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

MUTATIONS_MAX = 4
INPUT_BYTES_MAX = 20_000
WORDS = (  # What parsers stumble over.
    b"\x00",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t" * 100,
    b":",
    b",",
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc3",
    "\N{ZERO WIDTH SPACE}ß\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    b"[" * 2_000,
    b'{"a":' * 500,
    b"9" * 400,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"*",
    b"user:*",
    b"%00%ff%",
    b"..",
    b"http://[",
    b"=" * 50,
    b"A" * 9_000,
    b"X: y\r\n" * 130,
    b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x81\xfe\x00\x00",
    b"\xc1\x80\x00\x00\x00\x00",
)

VALUES: tuple[Sequence[object], ...] = (
    (None, True, False, 0.5, -1.5, 1e300, 1e-300),
    (0, -1, 1, 2**31, 2**53, 2**63, -(2**63), 10**30),
    [word.decode(errors="replace") for word in WORDS],
    ("u1", "user:u1", "device:d7", "e1", "", "all", "admin"),
)


class Mutator:
    """A source of mutated input. The same seed gives the same input."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not a secret

    def mutated(self, sample: bytes, others: Sequence[bytes] = ()) -> bytes:
        """Return a sample with a few mistakes in it, or parts of another sample."""
        data = bytearray(sample)
        for _ in range(self.random.randint(1, MUTATIONS_MAX)):
            self._mutate(data, others)
        return bytes(data[:INPUT_BYTES_MAX])

    def _mutate(self, data: bytearray, others: Sequence[bytes]) -> None:
        pick, place = self.random.randrange, self.random.randint(0, len(data))
        end = min(len(data), place + pick(1, 40))
        match pick(8):
            case 0 if place < len(data):
                data[place] ^= 1 << pick(8)
            case 1 if place < len(data):
                data[place] = pick(256)
            case 2:
                del data[place:end]
            case 3:
                data[place:place] = data[place:end] * pick(1, 5)
            case 4:
                del data[place:]
            case 5 if others:
                other = self.random.choice(others)
                data[place:] = other[pick(len(other) + 1) :]
            case 6:
                data[place:place] = self.random.randbytes(pick(1, 30))
            case _:
                data[place:end] = self.random.choice(WORDS)

    def value(self, depth: int = 3) -> object:
        """Return any JSON value."""
        kind = self.random.randrange(6 if depth else 4)
        if kind == 4:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        if kind == 5:
            return {str(self.value(0)): self.value(depth - 1) for _ in range(self.random.randrange(4))}
        return self.random.choice(VALUES[kind])

    def changed(self, sample: dict[str, object]) -> bytes:
        """Return a JSON object like the sample, with other values, keys that are missing, or further ones."""
        found = dict(sample)
        for _ in range(self.random.randint(1, 3)):
            key = self.random.choice([*found, "new"]) if found else "new"
            match self.random.randrange(3):
                case 0:
                    found.pop(key, None)
                case _:
                    found[key] = self.value()
        return json.dumps(found).encode()
