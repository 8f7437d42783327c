"""A look at what is written past the transports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from tests.ws.node import Node


class Spy:
    """Stands in for os.write: notes what each socket is given, and passes all of it on, or less."""

    def __init__(self, write: Callable[[int, bytes], int]) -> None:
        self._write = write
        self.writes: dict[int | None, list[bytes]] = defaultdict(list)
        self.takes: int | None = None  # At most so many bytes of a write; None for all.
        self.breaks = False

    def __call__(self, fd: int, data: bytes) -> int:
        """Write."""
        if self.breaks:
            raise BrokenPipeError
        self.writes[fd].append(data)
        return self._write(fd, data[: self.takes])

    def of(self, node: Node, user_id: str = "u1") -> list[bytes]:
        """Return the writes to a user's socket."""
        return self.writes[node.connection_of(user_id)._fd]
