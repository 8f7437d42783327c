"""Which event classes have a form: those of which all is known to mean the same in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from msgspec.structs import asdict
from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
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
from bridge.core.forms import forms_of

TIME = "2026-11-21T10:00:00.000Z"


class Item(Payload):
    """A part with fields of its own."""

    sku: Text


class Mixed(Counters):
    """An open part whose declared field is of another type."""

    name: Text | None = None


class Strict(Counters):
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
    "an open part with a field that must be": with_field(Strict),
    "a room of its own and an open part": Roomy,
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
    assert forms_of(model) is None


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
    forms = forms_of(with_field(kind, None if value is None else ...))

    assert forms is not None
    form = forms.decode(json.dumps({"userId": "u", "timestamp": TIME, "value": value}).encode())
    assert (asdict(form)["value"], form.user_id, forms.has_say) == (value, "u", False)


def test_attributes_that_name_an_event() -> None:
    """A class has no form if its events are told apart by what a form holds as something else."""
    assert forms_of(with_field(Text), ("value",)) is not None
    assert forms_of(with_field(UtcTime), ("value",)) is None
    assert forms_of(with_field(Counters), ("value",)) is None
    assert forms_of(with_field(Text), ("timestamp",)) is None


class Parcel(UserEvent):
    """An event with a room of its own."""

    number: Identifier
    sent_at: UtcTime | None = None
    note: Text | None = None

    def targets(self) -> Sequence[str]:
        """Return it, as only this class knows."""
        return (f"parcel:{self.number}", *super().targets())


def test_an_event_that_has_a_say() -> None:
    """Where the class has a say in the rooms, it is asked of an event that is as if the class had read it."""
    payload = {"userId": "u", "timestamp": TIME, "number": "n", "sentAt": TIME}
    forms = forms_of(Parcel)
    assert forms is not None

    event = forms.event(forms.decode(json.dumps(payload).encode()), datetime(2026, 11, 21, 10, tzinfo=UTC))

    read = Parcel.model_validate(payload)
    assert forms.has_say
    assert isinstance(event, Parcel)
    assert event == read
    assert event.model_fields_set == read.model_fields_set
    assert event.targets() == ("parcel:n", "user:u")
    assert event.model_copy() == read
    assert event.model_dump_json() == read.model_dump_json()
