"""The one error that the tools in this folder end with on purpose."""

from __future__ import annotations


class DevelError(Exception):
    """Something that a person has to put right. The message says what to do; no traceback is needed."""

    def __init__(self, message: str) -> None:
        """`message` is one or more whole sentences for the terminal."""
        super().__init__(message)
        self.message = message
