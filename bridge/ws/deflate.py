"""permessage-deflate (RFC 7692) without context takeover: every message is compressed for itself.

So one compressed message serves all sockets, none of them holds a context, and what stands in one message
can never be guessed from the size of another. The handshake, and what clients send, are left to websockets.
"""

from __future__ import annotations

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import TEXT, Frame as WireFrame

from bridge.core.outbox import Frame
from bridge.core.stats import Stats
from bridge.ws.framing import message_of

# Measured on events of 300 B to 64 KB. Larger windows take nothing off messages of 16 KB and less; with
# them, or with zlib's own memLevel of 8, a small message can take three to six times as long, since what
# zlib allocates for it then comes from the kernel and goes back there. Level 6 takes off 1 to 12 % more, in
# up to twice the time.
WINDOW_BITS_MAX = 12
SETTINGS = {"level": 1, "memLevel": 6}
INFLATE_BITS = 15  # Of no use here: this side of the extension only compresses.

# The answer is always `server_no_context_takeover; client_no_context_takeover`, which a server may give
# unasked (RFC 7692 section 7.1.1), and a `server_max_window_bits` that was asked for. One of 8 is declined:
# zlib compresses with no window that small. The first offer that is not declined is taken.
NEGOTIATION = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True, compress_settings=SETTINGS
)


class Deflate:
    """What events become for all sockets of a node with one window size. Compresses what is large enough."""

    def __init__(self, window_bits: int, *, bytes_min: int, stats: Stats) -> None:
        """Compress messages of at least `bytes_min` bytes. `window_bits`: 9 to 15."""
        self._extension = PerMessageDeflate(True, True, INFLATE_BITS, window_bits, SETTINGS)  # noqa: FBT003 - it takes no names
        self._bytes_min = bytes_min
        self._stats = stats

    def encode(self, frame: Frame) -> Frame:
        """Return a frame compressed, or as it is if it is small or would not become smaller."""
        message = message_of(frame.data)
        if len(message) < self._bytes_min:
            return frame
        data = WireFrame(TEXT, message).serialize(mask=False, extensions=[self._extension])
        self._stats.compressions += 1
        self._stats.compressed_bytes_in += len(frame.data)
        self._stats.compressed_bytes_out += len(data)
        if len(data) >= len(frame.data):
            return frame
        return Frame(data, frame.policy, frame.conflate_key, frame.offset)


class Deflates:
    """The codings of a node, one for each window size in use."""

    def __init__(self, *, bytes_min: int, stats: Stats) -> None:
        """Start without any; there are at most four."""
        self._bytes_min = bytes_min
        self._stats = stats
        self._by_window_bits: dict[int, Deflate] = {}

    def of(self, extension: PerMessageDeflate) -> Deflate:
        """Return the coding for a socket with these parameters."""
        bits = min(extension.local_max_window_bits, WINDOW_BITS_MAX)
        if bits not in self._by_window_bits:
            self._by_window_bits[bits] = Deflate(bits, bytes_min=self._bytes_min, stats=self._stats)
        return self._by_window_bits[bits]
