"""The form of an event class: a struct of msgspec that reads and writes its events in a fourth of the time.

A form is made from what pydantic made of the class, so the class stays the one place where an event is
declared. It takes less than the class, never more, and never something else: values that are sent just as
they came. What it does not take is read by the class, which also says what is wrong. A class has no form if
it has anything that is not known here to mean the same in both.

Sources: pydantic-core's schemas (https://docs.pydantic.dev/latest/api/pydantic_core_schema/), msgspec's
constraints (https://jcristharif.com/msgspec/constraints.html).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Optional, TypeAlias, Union, get_args, get_origin

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct, field
from msgspec.json import Decoder

from bridge.core.event import BaseEvent, UserEvent
from bridge.core.rooms import ROOM_ID_PATTERN
from bridge.core.times import iso_utc, utc_time

Schema: TypeAlias = Mapping[str, Any]
Declared: TypeAlias = tuple[Any, ...]  # A type, and a default if there is one.

# Where pydantic's `$` is the end of the text, Python's may stand before a line break.
_PATTERNS = {ROOM_ID_PATTERN: rf"\A{ROOM_ID_PATTERN.strip('^$')}\Z"}
# As `iso_utc` writes it, on a day that every month has: on another day it is read by the class.
_TIME = Annotated[
    str,
    Meta(
        pattern=r"\A[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
        r"T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{3}Z\Z"
    ),
]
_SINGLE = {"int": int, "float": float, "bool": bool}
_SAYS_NOTHING = {"type", "metadata", "ref"}  # Keys of any schema that do not concern values.


class Form(Struct, kw_only=True, omit_defaults=True, gc=False):
    """An event, and what may come beside its fields and is not sent: who writes it takes that off before."""

    timestamp: str | UnsetType = UNSET
    declared_type: str | None = field(name="type", default=None)
    pattern: Raw | UnsetType = UNSET  # Of a shape that has to be unwrapped (bridge/core/envelope.py).
    specversion: Raw | UnsetType = UNSET  # Of another.
    user_id: str | None = None


class ValidEvent(Struct, gc=False):
    """An event that has been read: its fields, where it goes, and what follows from it.

    `data` is its JSON, as it will be sent. `time` says when it occurred, as it is written on the wire, and
    `occurred_at` in seconds since the Unix epoch. `traceparent` is in version 00, or empty.
    """

    fields: Form | BaseEvent
    targets: tuple[str, ...]
    derived: Sequence[BaseEvent]
    event_id: str
    traceparent: str
    time: str
    occurred_at: float
    data: bytes


class Forms:
    """Reads the events of one class by its form.

    If it `has_say`, its own methods tell where an event goes and what follows from it: they have to be asked.
    """

    __slots__ = ("_model", "_names", "_times", "decode", "has_say")

    def __init__(self, form: type[Form], model: type[BaseEvent], times: Collection[str]) -> None:
        """`times` are the fields that hold one."""
        self.decode = Decoder(form).decode
        self.has_say = model.targets is not UserEvent.targets or model.derived is not BaseEvent.derived
        self._model = model
        self._names = [name for name in form.__struct_fields__ if name in model.model_fields]
        self._times = times

    def event(self, form: Form, timestamp: datetime) -> BaseEvent:
        """Return the event as the class would have read it; only of one that has a say."""
        values = {name: getattr(form, name) for name in self._names}
        for name in self._times:
            if values[name] is not None:
                values[name] = datetime.fromisoformat(values[name])
        values["timestamp"] = timestamp
        # As `model_construct` does, but all fields have their values.
        event = self._model.__new__(self._model)
        for slot, value in (
            ("__dict__", values),
            ("__pydantic_fields_set__", {name for name, value in values.items() if value is not None}),
            ("__pydantic_extra__", None),
            ("__pydantic_private__", None),
        ):
            object.__setattr__(event, slot, value)
        return event


class _UnknownError(Exception):
    """Something in a class of which it is not known what it means for a form."""


@cache  # Classes are a part of the program, and so are their forms.
def forms_of(model: type[BaseEvent], keys: tuple[str, ...] = ()) -> Forms | None:
    """Return what reads events of a class by its form, None if it has none.

    `keys` are the attributes by which one event is told from another.
    """
    try:
        return _forms(model, keys)
    except (_UnknownError, TypeError):  # Of msgspec: a union of types that it cannot tell apart.
        return None


def _forms(model: type[BaseEvent], keys: Sequence[str]) -> Forms:
    schema: Schema = model.__pydantic_core_schema__
    definitions: dict[str, Schema] = {}
    if schema["type"] == "definitions":
        definitions = {each["ref"]: each for each in schema["definitions"]}
        schema = schema["schema"]
    fields = dict(_fields(_model(schema, "ignore")))
    if not _is_time(fields.pop("timestamp")["schema"]):
        raise _UnknownError
    aliases = {name: each["validation_alias"] for name, each in fields.items()}
    types = {name: _field(each, definitions) for name, each in fields.items()}
    times = {name for name, (kind, *_) in types.items() if kind in (_TIME, Optional[_TIME])}  # noqa: UP045
    mappings = {name for name, (kind, *_) in types.items() if _holds_mapping(kind)}
    has_say = model.targets is not UserEvent.targets or model.derived is not BaseEvent.derived
    # What the class has as a model and a form as a mapping, or the class as a datetime and a form as text.
    others = mappings if has_say else mappings | times
    if (
        not {"type", "pattern", "specversion", "timestamp"}.isdisjoint(aliases.values())
        or not set(keys) <= types.keys() - others
        or (has_say and mappings)
    ):
        raise _UnknownError
    form = defstruct(
        model.__name__,
        [(name, *declared) for name, declared in types.items()],
        bases=(Form,),
        rename=aliases,
        kw_only=True,
        omit_defaults=True,
        gc=False,
    )
    return Forms(form, model, times)  # type: ignore[arg-type] # the bases are not in its type


def _model(schema: Schema, extra: str) -> Schema:
    """Return what a model's schema says of its fields."""
    _only(schema, "cls", "config", "custom_init", "root_model", "schema")
    config = {key: value for key, value in schema["config"].items() if key != "title"}
    if (
        schema["type"] != "model"
        or schema["custom_init"]
        or schema["root_model"]
        or config != {"allow_inf_nan": False, "validate_by_name": False, "extra_fields_behavior": extra}
    ):
        raise _UnknownError
    inner: Schema = schema["schema"]
    return inner


def _fields(schema: Schema) -> Mapping[str, Schema]:
    _only(schema, "computed_fields", "extras_schema", "fields", "model_name")
    if schema["type"] != "model-fields" or schema["computed_fields"]:
        raise _UnknownError
    fields: Mapping[str, Schema] = schema["fields"]
    return fields


def _field(schema: Schema, definitions: Mapping[str, Schema]) -> Declared:
    _only(schema, "schema", "serialization_alias", "validation_alias")
    if schema["serialization_alias"] != schema["validation_alias"]:
        raise _UnknownError
    inner: Schema = schema["schema"]
    if inner["type"] != "default":
        return (_type(inner, definitions),)
    _only(inner, "default", "schema")
    if inner["default"] is not None:  # None is not sent; any other default is.
        raise _UnknownError
    return Optional[_nullable(inner["schema"], definitions)], None  # noqa: UP045 - of a value


def _nullable(schema: Schema, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - a type
    """Return the type that may be null as well."""
    _only(schema, "schema")
    if schema["type"] != "nullable":
        raise _UnknownError
    return _type(schema["schema"], definitions)


def _type(schema: Schema, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - a type
    """Return the type of what a schema takes and pydantic writes as it came."""
    match schema["type"]:
        case "definition-ref":
            _only(schema, "schema_ref")
            found = _type(definitions[schema["schema_ref"]], definitions)
        case "function-wrap" if _is_time(schema):
            found = _TIME
        case "str":
            found = _text(schema)
        case "int" | "float" | "bool" as name:
            _only(schema, "strict", "ge", "le", strict=True)
            found = _limited(_SINGLE[name], schema, "ge", "le")
        case "literal":
            _only(schema, "expected")
            found = Literal[tuple(schema["expected"])]
        case "union":
            found = _union(schema, definitions)
        case "model":
            found = _counters(schema, definitions)
        case _:
            raise _UnknownError
    return found


def _text(schema: Schema) -> Any:  # noqa: ANN401 - a type
    _only(schema, "strict", "min_length", "max_length", "pattern", strict=True)
    if "pattern" not in schema:
        return _limited(str, schema, "min_length", "max_length")
    if schema["pattern"] not in _PATTERNS:
        raise _UnknownError
    return Annotated[
        _limited(str, schema, "min_length", "max_length"), Meta(pattern=_PATTERNS[schema["pattern"]])
    ]


def _limited(kind: type, schema: Schema, *limits: str) -> Any:  # noqa: ANN401 - a type
    said = {limit: schema[limit] for limit in limits if limit in schema}
    return Annotated[kind, Meta(**said)] if said else kind


def _union(schema: Schema, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - a type
    _only(schema, "choices", "serialization")
    if schema.get("serialization", {"type": "any"}) != {"type": "any"}:  # As what each value is.
        raise _UnknownError
    # Exact decimals come only where there is money as well (EventType.exact), and that has no form.
    choices = [_type(each, definitions) for each in schema["choices"] if not _is_decimal(each)]
    kinds = get_args(Union[tuple(choices)])  # noqa: UP007 - of values, those of unions among them
    if len({getattr(kind, "__origin__", kind) for kind in kinds} & {str, int, float, dict}) < len(kinds):
        raise _UnknownError  # Two of one kind, of which each would say something else.
    return Union[kinds]  # noqa: UP007 - of values


def _counters(schema: Schema, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - a type
    """Return the type of a model that is open, if all it takes is of one type."""
    inner = _model(schema, "allow")
    value = _nullable(inner.get("extras_schema", {"type": "any"}), definitions)
    optional = (Optional[value], None)  # noqa: UP045 - of a value
    if any(_field(each, definitions) != optional for each in _fields(inner).values()):
        raise _UnknownError
    return dict[str, value]  # type: ignore[valid-type] # Of a value. What is null is not sent; the class leaves it out.


def _is_time(schema: Schema) -> bool:
    """Tell whether this is UtcTime of bridge/core/event.py."""
    if schema["type"] != "function-wrap":
        return False
    reads, writes = schema["function"]["function"], schema.get("serialization", {}).get("function")
    return reads is utc_time and writes is iso_utc


def _is_decimal(schema: Schema) -> bool:
    return (schema["type"], schema.get("schema", {}).get("type")) == ("function-after", "decimal")


def _holds_mapping(kind: Any) -> bool:  # noqa: ANN401 - a type
    return get_origin(kind) is dict or any(map(_holds_mapping, get_args(kind)))


def _only(schema: Schema, *known: str, strict: bool = False) -> None:
    """Raise _UnknownError if a schema says more than what is known, or is not strict where it has to be."""
    if not schema.keys() <= _SAYS_NOTHING.union(known) or (strict and not schema.get("strict")):
        raise _UnknownError
