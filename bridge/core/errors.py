"""What the core refuses, as data that a person can act on."""

from __future__ import annotations

import json
from enum import StrEnum

MESSAGE_CHARACTERS_MAX = 1_000  # These travel in AMQP headers, which have to fit into one frame.
FIELD_CHARACTERS_MAX = 200
SHOWN_CHARACTERS_MAX = 80


def shown(value: object) -> str:
    """Show a value at fault as the JSON that it was, on one line, cut where it gets long."""
    is_json = isinstance(value, bool | dict | float | int | list | str | None)
    text = json.dumps(value, ensure_ascii=False, default=str) if is_json else str(value)
    return cut(text, SHOWN_CHARACTERS_MAX)


def cut(text: str, characters_max: int) -> str:
    """Return the text, or its beginning and an ellipsis, in this many characters."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def cause_of(exc: BaseException) -> str:
    """Return what an exception is and says, for an operator; one that says nothing is named all the same."""
    said = str(exc) or ("no answer in time" if isinstance(exc, TimeoutError) else "")
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


class Reason(StrEnum):
    """Why a delivery can never become an event. The value stands in the dead letter and in metrics."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    WRONG_ENCODING = "wrong_encoding"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    BAD_ENVELOPE = "bad_envelope"
    BAD_NAME = "bad_name"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"


class Refused(Exception):  # noqa: N818 - it says what happened, not that we failed
    """A delivery that can never be valid; the publisher is at fault.

    `field` is the dotted path of the payload field at fault, or the name of the AMQP
    property, or empty when the body as a whole is at fault. Both texts may quote what the
    publisher sent: they belong beside it in the dead-letter queue, not in a log. `others` are
    further fields at fault, if it is one.
    """

    def __init__(self, reason: Reason, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = cut(message, MESSAGE_CHARACTERS_MAX)
        self.field = cut(field, FIELD_CHARACTERS_MAX)
        self.others: tuple[Refused, ...] = ()


class LogUnavailableError(Exception):
    """The event log did not confirm an append; nothing may be acked on the strength of it."""


class DeadLettersFullError(Exception):
    """The dead-letter queue takes no more; a person must make room."""


class TokenRejected(Exception):  # noqa: N818 - as Refused
    """A token that proves nobody's identity.

    `reason` is one word for metrics and clients (`missing`, `malformed`, `expired`, …);
    the message never contains the token or a part of it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class KeyMissing(TokenRejected):
    """A token by a key that is not known here, but could be found: fetch keys, then verify once more.

    Who cannot fetch treats it as any other rejection. `kid` is the key's name in the token, or empty.
    """

    def __init__(self, kid: str) -> None:
        super().__init__("unknown_key", "the key that signed the token is not known")
        self.kid = kid


class BadMessage(Exception):  # noqa: N818 - as Refused
    """A text message from a client that is not a command of the dialect."""

    def __init__(self, code: str, message: str, *, command_id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.command_id = command_id
