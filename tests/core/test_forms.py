"""Which event classes have a form: those of which all is known to mean the same in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from msgspec import ValidationError
from msgspec.structs import asdict
from pydantic import (
    AfterValidator,
    AliasChoices,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Strict,
    StringConstraints,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from bridge.core.event import (
    BaseEvent,
    Counters,
    Flag,
    FreeJson,
    Identifier,
    Money,
    Number,
    Payload,
    RoomId,
    Text,
    UserEvent,
    UtcTime,
)
from bridge.core.forms import FORMS_MAX, form_reader_of

TIME = "2026-11-21T10:00:00.000Z"


class Item(Payload):
    """A part with fields of its own."""

    sku: Text


class Mixed(Counters):
    """An open part whose declared field is of another type."""

    name: Text | None = None


class Demanding(Counters):
    """An open part with a field that must be there."""

    least: Number


class OwnInit(UserEvent):
    """An event made in a way of its own."""

    def __init__(self, **data: Any) -> None:  # noqa: ANN401 - pydantic's
        """Make it."""
        super().__init__(**data)


class OwnConfig(UserEvent):
    """An event whose text is stripped."""

    model_config = ConfigDict(str_strip_whitespace=True)
    text: Text


class Checked(UserEvent):
    """An event with a check of its own on a field."""

    text: Text

    @field_validator("text")
    @classmethod
    def is_short(cls, value: str) -> str:
        """Say no."""
        raise ValueError(value)


class CheckedWhole(UserEvent):
    """An event with a check of its own on the whole."""

    @model_validator(mode="after")
    def is_fine(self) -> CheckedWhole:
        """Say yes."""
        return self


class Written(UserEvent):
    """An event that writes a field in a way of its own."""

    text: Text

    @field_serializer("text")
    def loud(self, value: str) -> str:
        """Return it loud."""
        return value.upper()


class WrittenWhole(UserEvent):
    """An event that is written in a way of its own."""

    @model_serializer(mode="wrap")
    def more(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Return more."""
        return {**handler(self), "more": True}


class Computed(UserEvent):
    """An event with a field that it computes."""

    @computed_field  # type: ignore[prop-decorator] # as pydantic says
    @property
    def length(self) -> int:
        """Return it."""
        return 1


class Initialised(UserEvent):
    """An event that does something once it is made."""

    _seen: int = PrivateAttr(default=0)

    def model_post_init(self, _: object, /) -> None:
        """Do it."""
        self._seen = 1


class OtherTime(UserEvent):
    """An event whose time has another name."""

    timestamp: UtcTime = Field(exclude=True, alias="at")


class SentTime(UserEvent):
    """An event whose time is sent with its fields."""

    timestamp: UtcTime


class AnyUser(UserEvent):
    """An event of a user who may be null."""

    user_id: RoomId | None = None  # type: ignore[assignment] # on purpose


class NumberedUser(UserEvent):
    """An event of a user with a number."""

    user_id: Number  # type: ignore[assignment] # on purpose


class TimelyUser(UserEvent):
    """An event of a user with a time."""

    user_id: UtcTime  # type: ignore[assignment] # on purpose


class Branch(Counters):
    """An open part that holds its own kind."""

    child: Branch | None = None


class Nameless(UserEvent):
    """An event without names of its fields but those in Python."""

    model_config = ConfigDict(alias_generator=None)
    text: Text


class TwoOfOneName(UserEvent):  # type: ignore[no-redef] # of fields, on purpose
    """An event with two fields of one name."""

    one: Text = Field(alias="value")
    other: Text = Field(alias="value")


class Declaring(UserEvent):
    """An event with a field that the form has for itself."""

    declared_type: Text | None = None


class Roomy(UserEvent):
    """An event with a room of its own and an open part, which would have to be a model there."""

    counts: Counters | None = None

    def targets(self) -> Sequence[str]:
        """Return it."""
        return ("all",)


def with_field(kind: Any, default: object = ..., **more: Any) -> type[UserEvent]:  # noqa: ANN401 - a type; pydantic's
    """Return an event class with one field of a type."""
    return create_model("Made", __base__=UserEvent, value=(kind, Field(default, **more)))


WITHOUT: dict[str, type[BaseEvent]] = {
    "money": with_field(Money),
    "open JSON": with_field(FreeJson),
    "a part with fields": with_field(Item),
    "a list": with_field(list[Text]),
    "text that is not strict": with_field(str),
    "a number that is not strict": with_field(int),
    "an exact number": with_field(Decimal),
    "a time as pydantic reads it": with_field(datetime),
    "a time written in another way": with_field(Annotated[UtcTime, PlainSerializer(str)]),
    "an open part written in another way": with_field(Annotated[Counters, PlainSerializer(str)]),
    "text of another pattern": with_field(Annotated[Text, StringConstraints(pattern=r"^\\d+$")]),
    "text in lower case": with_field(Annotated[Text, StringConstraints(to_lower=True)]),
    "two kinds of text": with_field(Identifier | UtcTime),
    "null, and no default": with_field(Text | None),
    "a default that is sent": with_field(Text, "x"),
    "a default that is made": with_field(Text | None, default_factory=lambda: None),
    "two names": with_field(Text, validation_alias=AliasChoices("a", "b")),
    "another name out than in": with_field(Text, serialization_alias="other"),
    "a field that is not sent": with_field(Text, exclude=True),
    "a name that means a shape": with_field(Text, alias="pattern"),
    "an open part of two types": with_field(Mixed),
    "an open part with a field that must be": with_field(Demanding),
    "a room of its own and an open part": Roomy,
    "a time of another name": OtherTime,
    "a time that is sent": SentTime,
    "a user that may be null": AnyUser,
    "a user with a number": NumberedUser,
    "a user with a time": TimelyUser,
    "a part that holds its own kind": with_field(Branch | None, None),
    "no names but those in Python": Nameless,
    "two fields of one name": TwoOfOneName,
    "a field that a form has for itself": Declaring,
    "a name that means the type": with_field(Text, alias="type"),
    "a name that means the time": with_field(Text, alias="timestamp"),
    "a name that means another shape": with_field(Text, alias="specversion"),
    "a name that cannot be written as it is": with_field(Text, alias='a"b'),
    "a word that is null": with_field(Literal["a", None]),  # noqa: PYI061 - one thing to pydantic
    "a word that is a number": with_field(Literal[1, 2]),
    "a time or a number": with_field(Number | UtcTime),
    "an exact number or another": with_field(Number | Annotated[Decimal, AfterValidator(float)]),
    "a union written in its own way": with_field(Annotated[Number | Text, PlainSerializer(str)]),
    "a limit that msgspec does not know": with_field(Annotated[int, Strict(), Field(le=2**64)]),
    "made in its own way": OwnInit,
    "a setting": OwnConfig,
    "a check of a field": Checked,
    "a check of the whole": CheckedWhole,
    "a field written in its own way": Written,
    "written in its own way": WrittenWhole,
    "a computed field": Computed,
    "made, and then more": Initialised,
}


@pytest.mark.parametrize("model", WITHOUT.values(), ids=WITHOUT)
def test_no_form(model: type[BaseEvent]) -> None:
    """A class has no form if it has anything that a form could take for something else."""
    assert form_reader_of(model) is None


WITH = {
    "text": (Text, "x"),
    "text or null": (Text | None, None),
    "a number": (Number, 1.5),
    "a flag": (Flag, True),
    "a room": (RoomId, "r"),
    "a time": (UtcTime, TIME),
    "counters": (Counters, {"a": 1}),
    "counters or text": (Counters | Text, "x"),
}


@pytest.mark.parametrize(("kind", "value"), WITH.values(), ids=WITH)
def test_form(kind: object, value: object) -> None:
    """A form reads a field of these types, with the value that came."""
    reader = form_reader_of(with_field(kind, None if value is None else ...))

    assert reader is not None
    form = reader.decode(json.dumps({"userId": "u", "timestamp": TIME, "value": value}).encode())
    assert (asdict(form)["value"], form.user_id, reader.has_say) == (value, "u", False)


def test_attributes_that_name_an_event() -> None:
    """A class has no form if its events are told apart by what a form holds as something else."""
    assert form_reader_of(with_field(Text), ("value",)) is not None
    assert form_reader_of(with_field(UtcTime), ("value",)) is None
    assert form_reader_of(with_field(Counters), ("value",)) is None
    assert form_reader_of(with_field(Text), ("timestamp",)) is None


class Parcel(UserEvent):
    """An event with a room of its own."""

    number: Identifier
    sent_at: UtcTime | None = None
    note: Text | None = None

    def targets(self) -> Sequence[str]:
        """Return it, as only this class knows."""
        return (f"parcel:{self.number}", *super().targets())


def event_of(payload: dict[str, object]) -> BaseEvent:
    """Return a parcel's event, made of its form."""
    reader = form_reader_of(Parcel)
    assert reader is not None
    assert reader.has_say
    return reader.event(reader.decode(json.dumps(payload).encode()), datetime(2026, 11, 21, 10, tzinfo=UTC))


@pytest.mark.parametrize("more", [{}, {"sentAt": TIME}, {"note": "x", "sentAt": TIME}], ids=str)
def test_an_event_that_has_a_say(more: dict[str, object]) -> None:
    """Where the class has a say in the rooms, it is asked of an event that is as if the class had read it."""
    payload = {"userId": "u", "timestamp": TIME, "number": "n", **more}

    event = event_of(payload)

    read = Parcel.model_validate(payload)
    assert isinstance(event, Parcel)
    assert event == read
    assert list(event) == list(read)
    assert event.model_fields_set == read.model_fields_set
    assert event.targets() == ("parcel:n", "user:u")
    assert event.model_copy() == read
    assert event.model_dump_json(exclude_unset=True) == read.model_dump_json(exclude_unset=True)


def test_null_where_the_class_has_a_say() -> None:
    """A field that is null is read by the class, if it may ask whether it was given."""
    with pytest.raises(ValidationError, match="note"):
        event_of({"userId": "u", "timestamp": TIME, "number": "n", "note": None})


def test_forms_are_remembered_up_to_a_limit() -> None:
    """However many classes there have been, so many are remembered; a forgotten one is derived again."""
    first = form_reader_of(Parcel)
    for number in range(FORMS_MAX):
        assert form_reader_of(Parcel, (f"none_{number}",)) is None

    assert form_reader_of.cache_info().currsize == FORMS_MAX
    again = form_reader_of(Parcel)
    assert again is not None
    assert again is not first
    assert event_of({"userId": "u", "timestamp": TIME, "number": "n"}).targets() == ("parcel:n", "user:u")
