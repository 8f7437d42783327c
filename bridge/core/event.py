"""The base of every event class, and the field types they are made of.

An event class declares what may leave the process: a field that is not declared is
dropped on arrival. Wire names are camel case, Python names snake case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    SerializeAsAny,
    Strict,
    StringConstraints,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from bridge.core.rooms import ROOM_ID_PATTERN, user_room
from bridge.core.times import iso_utc, utc_time

TEXT_CHARACTERS_MAX = 4096
SAFE_MAX = 2**53 - 1  # Exact in a browser: Number.MAX_SAFE_INTEGER of ECMAScript.
PERCENT_MAX = 100_000
MONEY_DIGITS_MAX, MONEY_PLACES_MAX = 38, 18
MONEY_TEXT_CHARACTERS_MAX = 64
_ODD_IN_AMOUNT = re.compile(r"[^0-9A-Za-z+.\-]", re.ASCII)  # Letters: an exponent, NaN; pydantic tells.
IDENTIFIER_CHARACTERS_MAX = 255


def _plain_numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Turn the exact decimals of the JSON reader into floats inside free-form JSON."""
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {key: _plain_numbers(inner) for key, inner in value.items()}
        case list():
            return [_plain_numbers(inner) for inner in value]
        case _:
            return value


def _money_text(value: Decimal) -> str:
    return format(value, "f")


def _plain_amount(value: object) -> object:
    """Stop what Decimal takes and nobody means: `1_000`, `" 1 "`, zeros without end."""
    if isinstance(value, str):
        if len(value) > MONEY_TEXT_CHARACTERS_MAX:
            raise ValueError(f"must have at most {MONEY_DIGITS_MAX} digits")
        if _ODD_IN_AMOUNT.search(value):
            raise ValueError('must be a number, such as "29.90"')
    if isinstance(value, str | Decimal) and _is_zero(value):
        return Decimal(0)  # Whatever its exponent, which would be written out.
    return _not_bool(value)


def _is_zero(value: str | Decimal) -> bool:
    """Tell whether this is a zero, of any sign, with so many places as no amount has."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    exponent = number.as_tuple().exponent
    return (
        number.is_finite()
        and not number
        and not (-MONEY_PLACES_MAX <= int(exponent) <= 0 and not number.is_signed())
    )


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic
    return value


UtcTime = Annotated[
    datetime,
    WrapValidator(utc_time),
    PlainSerializer(iso_utc, return_type=str),
]
"""A time in UTC; ISO 8601 in, `…Z` with milliseconds out. Without a zone it is taken as UTC."""

RoomId = Annotated[str, Strict(), StringConstraints(pattern=ROOM_ID_PATTERN)]
"""An identifier that names a room: 1–128 characters without white space, comma or `*`."""

Text = Annotated[str, Strict(), StringConstraints(max_length=TEXT_CHARACTERS_MAX)]
"""Text for people, or a word of a vocabulary that is the publisher's; at most 4,096 characters."""

Identifier = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=IDENTIFIER_CHARACTERS_MAX)]
"""An identifier that names no room: 1–255 characters of any kind."""

Code = Text | Annotated[int, Strict(), Field(ge=-SAFE_MAX, le=SAFE_MAX)]
"""A code or version of somebody else's numbering: text or a whole number, passed on as it came."""

Flag = Annotated[bool, Strict()]
"""True or false, and nothing that could be taken for it."""

Count = Annotated[int, Strict(), Field(ge=0, le=SAFE_MAX)]
"""A whole number, not negative, exact in a browser."""


def _as_number(least: int, most: int) -> WithJsonSchema:
    """Describe a decimal as the number that it is in JSON: pydantic would allow text as well."""
    return WithJsonSchema({"type": "number", "minimum": least, "maximum": most})


# Whole numbers and floats are checked and written without a call of Python. Exact decimals come only from the
# JSON of an event that holds money as well.
Number = SerializeAsAny[
    Annotated[int, Strict(), Field(ge=-SAFE_MAX, le=SAFE_MAX)]
    | Annotated[float, Strict(), Field(ge=-SAFE_MAX, le=SAFE_MAX)]
    | Annotated[
        Decimal,
        Strict(),
        Field(ge=-SAFE_MAX, le=SAFE_MAX),
        AfterValidator(float),
        _as_number(-SAFE_MAX, SAFE_MAX),
    ]
]
"""A measured number, written as it came."""

Percent = SerializeAsAny[
    Annotated[int, Strict(), Field(ge=0, le=PERCENT_MAX)]
    | Annotated[float, Strict(), Field(ge=0, le=PERCENT_MAX)]
    | Annotated[
        Decimal, Strict(), Field(ge=0, le=PERCENT_MAX), AfterValidator(float), _as_number(0, PERCENT_MAX)
    ]
]
"""A percentage, 100 being the whole; more than 100 is possible when a limit is exceeded."""

Money = Annotated[
    Decimal,
    BeforeValidator(_plain_amount),
    Field(max_digits=MONEY_DIGITS_MAX, decimal_places=MONEY_PLACES_MAX, allow_inf_nan=False),
    PlainSerializer(_money_text, return_type=str),
]
"""An exact amount of money. Number or text in; always text out, since JSON.parse would round a number."""

FreeJson = Annotated[JsonValue, BeforeValidator(_plain_numbers)]
"""Any JSON value, declared open on purpose."""


class Payload(BaseModel):
    """A part of an event: immutable, camel case on the wire, undeclared fields dropped."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=False, allow_inf_nan=False
    )


class Counters(Payload):
    """Named measurements, typed but open: a new key needs no release of the bridge.

    A key whose value is null counts as left out.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Number | None]


class BaseEvent(Payload):
    """The schema every event is normalised to.

    `timestamp` and the user are the common part; a subclass adds its fields. The common
    fields `id`, `type` and `version` belong to the frame around the payload. `EXAMPLE` is a
    valid JSON payload, complete but for the user and the timestamp.
    """

    EXAMPLE: ClassVar[dict[str, object]] = {}

    user_id: RoomId | None = Field(default=None, description="The user concerned, if there is one.")
    timestamp: UtcTime = Field(exclude=True, description="When it happened, at the publisher.")

    def targets(self) -> Sequence[str]:
        """Return the rooms this event goes to, the most specific first."""
        raise NotImplementedError

    def derived(self) -> Sequence[BaseEvent]:
        """Return the further events that follow from this one."""
        return ()


class UserEvent(BaseEvent):
    """An event that belongs to one user and goes to that user's room."""

    user_id: RoomId = Field(description="The user the event belongs to.")

    def targets(self) -> Sequence[str]:
        """Return the user's own room."""
        return (user_room(self.user_id),)
