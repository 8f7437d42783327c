"""What the core refuses, as data that a person can act on."""

from __future__ import annotations

from enum import StrEnum


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
    property, or empty when the body as a whole is at fault.
    """

    def __init__(self, reason: Reason, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class LogUnavailableError(Exception):
    """The event log did not confirm an append; nothing may be acked on the strength of it."""


class TokenRejected(Exception):  # noqa: N818 - as Refused
    """A token that proves nobody's identity.

    `reason` is one word for metrics and clients (`missing`, `malformed`, `expired`, …);
    the message never contains the token or a part of it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class BadMessage(Exception):  # noqa: N818 - as Refused
    """A text message from a client that is not a command of the dialect."""

    def __init__(self, code: str, message: str, *, command_id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.command_id = command_id
