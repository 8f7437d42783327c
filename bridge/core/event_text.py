"""Takes a text apart into the events that stand in it, and remembers their lines.

The events are cut out, not written anew: an amount keeps all its digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Item:
    """One event as it stands in a text: `line` and `index` count from 1."""

    text: str
    value: object
    line: int
    index: int

    def line_of(self, field: str) -> int:
        """Return the line where a field most likely is (a dotted path), else the event's own."""
        at = found = 0
        for part in field.split("."):
            key = re.escape(json.dumps(part, ensure_ascii=False))
            match = re.compile(rf"{key}\s*:").search(self.text, at)
            if match is not None:
                at, found = match.end(), match.start()
        return self.line + self.text.count("\n", 0, found)


@dataclass(frozen=True, slots=True)
class Broken:
    """Something in a text that is not JSON."""

    line: int
    index: int
    why: str


def lines_of(text: str) -> Iterator[Item | Broken]:
    """Yield the event of each line that is not blank; a broken one spoils no other."""
    index = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        index += 1
        try:
            yield Item(line, json.loads(line), number, index)
        except (ValueError, RecursionError) as exc:
            yield Broken(number, index, _in_words(exc))


def items_of(text: str) -> Iterator[Item | Broken]:
    """Yield the events of a text: JSON values one after the other, and what is in them if they are lists.

    What is not JSON ends it.
    """
    at, index, line, counted = _skipped(text, 0), 0, 1, 0
    in_list, comma_next = False, False
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        match text[at], in_list:
            case "[", False:
                in_list, comma_next, end = True, False, at + 1
            case "]", True:
                in_list, comma_next, end = False, False, at + 1
            case ",", True if comma_next:
                comma_next, end = False, at + 1
            case _ if comma_next:
                yield Broken(line, index, "a comma or ] is missing in the list")
                return
            case _:
                index += 1
                try:
                    value, end = _DECODER.raw_decode(text, at)
                except (ValueError, RecursionError) as exc:
                    place = getattr(exc, "pos", at)
                    yield Broken(line + text.count("\n", at, place), index, _in_words(exc))
                    return
                yield Item(text[at:end], value, line, index)
                comma_next = in_list
        at = _skipped(text, end)
    if in_list:
        yield Broken(line, index, "the list does not end; a ] is missing")


def _skipped(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} (column {error.colno})"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
