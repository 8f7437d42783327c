"""The head of a text message, written by hand, against the library's."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from bridge.ws.framing import message_of, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_text_frame(size: int) -> None:
    """A message of any size is framed as RFC 6455 section 5.2 has it, and can be had back."""
    message = b"x" * size

    assert text_frame(message) == Frame(Opcode.TEXT, message).serialize(mask=False)
    assert message_of(text_frame(message)) == message
