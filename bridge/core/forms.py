"""The form of an event class: a struct of msgspec that reads and writes its events in a fourth of the time.

A form is made from what pydantic made of the class, so the class stays the one place where an event is
declared. It takes less than the class, never more, and never something else: values that are sent just as
they came. What it does not take is read by the class, which also says what is wrong. A class has no form if
it has anything that is not known here to mean the same in both.

Sources: pydantic-core's schemas (https://docs.pydantic.dev/latest/api/pydantic_core_schema/), msgspec's
constraints (https://jcristharif.com/msgspec/constraints.html).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct, field
from msgspec.json import Decoder

from bridge.core.event import BaseEvent, UserEvent
from bridge.core.rooms import ROOM_ID_PATTERN
from bridge.core.times import iso_utc, utc_time

Schema: TypeAlias = Mapping[str, Any]

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
FORMS_MAX = 1_024  # Remembered, by class and keys; a program has some fifty, and a long test run many more.
_SINGLE = {"int": int, "float": float, "bool": bool}
_SAYS_NOTHING = {"type", "metadata", "ref"}  # Keys of any schema that do not concern values.


class Form(Struct, kw_only=True, omit_defaults=True, gc=False):
    """An event, and what may come beside its fields and is not sent: who writes it takes that off before."""

    timestamp: str | UnsetType = UNSET
    declared_type: str | None = field(name="type", default=None)
    pattern: Raw | UnsetType = UNSET  # Of a shape that has to be unwrapped (bridge/core/envelope.py).
    specversion: Raw | UnsetType = UNSET  # Of another.
    user_id: str | None = None


_BESIDE = frozenset(Form.__struct_encode_fields__) - {"user_id"}


class FormReader:
    """Reads the events of one class by its form.

    If the class `has_say`, its own methods tell where an event goes and what follows from it, and are asked.
    """

    __slots__ = ("_model", "_names", "_times", "decode", "has_say")

    def __init__(
        self, form: type[Form], model: type[BaseEvent], *, times: Collection[str], has_say: bool
    ) -> None:
        """`times` are the fields that hold one."""
        # Raises ValueError or RecursionError for what is not of the form.
        self.decode = Decoder(form).decode
        self.has_say = has_say
        self._model = model
        self._names = list(model.model_fields)
        self._times = times

    def event(self, form: Form, timestamp: datetime) -> BaseEvent:
        """Return the event as the class would have read it; only of a class that has a say."""
        given = {name for name in self._names if getattr(form, name) is not UNSET}
        values: dict[str, Any] = {
            name: getattr(form, name) if name in given else None for name in self._names
        }
        for name in given.intersection(self._times):
            values[name] = datetime.fromisoformat(values[name])
        values["timestamp"] = timestamp
        # As `model_construct` does, but all fields have their values.
        event = self._model.__new__(self._model)
        for slot, value in (
            ("__dict__", values),
            ("__pydantic_fields_set__", given),
            ("__pydantic_extra__", None),
            ("__pydantic_private__", None),
        ):
            object.__setattr__(event, slot, value)
        return event


class _UnknownError(Exception):
    """Something in a class of which it is not known what it means for a form."""


@lru_cache(maxsize=FORMS_MAX)
def form_reader_of(model: type[BaseEvent], keys: tuple[str, ...] = ()) -> FormReader | None:
    """Return what reads events of a class by its form, None if it has none.

    `keys` are the attributes by which one event is told from another.
    """
    schema: Schema = model.__pydantic_core_schema__
    definitions: dict[str, Schema] = {}
    if schema["type"] == "definitions":
        definitions = {each["ref"]: each for each in schema["definitions"]}
        schema = schema["schema"]
    has_say = model.targets is not UserEvent.targets or model.derived is not BaseEvent.derived
    try:
        fields = _declared(schema, definitions)
        _check(fields, keys, has_say=has_say)
    except _UnknownError:
        return None
    # Not null where the class has a say: it may ask whether a field was given.
    unset = UnsetType if has_say else None
    try:
        form = defstruct(
            model.__name__,
            [
                (name, one.kind) if one.required else (name, one.kind | unset, UNSET if has_say else None)
                for name, one in fields.items()
            ],
            bases=(Form,),
            rename={name: one.alias for name, one in fields.items()},
            kw_only=True,
            omit_defaults=True,
            gc=False,
        )
        times = [name for name, one in fields.items() if one.kind is _TIME]
        return FormReader(form, model, times=times, has_say=has_say)  # type: ignore[arg-type] # its bases are not known
    except (TypeError, ValueError, NotImplementedError):  # Of msgspec: something that it does not support.
        return None


def _base_timestamp() -> Schema:
    schema: Any = BaseEvent.__pydantic_core_schema__
    return _said(_fields(_model(schema, "ignore"))["timestamp"])


class _Field(NamedTuple):
    """A field as a form has it. One that is not required may be null."""

    alias: str
    kind: Any
    required: bool


def _declared(schema: Schema, definitions: Mapping[str, Schema]) -> dict[str, _Field]:
    """Return the fields of an event class but for its timestamp."""
    fields = dict(_fields(_model(schema, "ignore")))
    if _said(fields.pop("timestamp")) != _TIMESTAMP:
        raise _UnknownError
    return {name: _field(each, definitions) for name, each in fields.items()}


def _check(fields: Mapping[str, _Field], keys: Collection[str], *, has_say: bool) -> None:
    """Raise _UnknownError if a form of these fields would not do as the class does."""
    beside = set(Form.__struct_fields__) - {"user_id"}
    aliases = {one.alias for one in fields.values()}
    mappings = {name for name, one in fields.items() if _holds_mapping(one.kind)}
    times = {name for name, one in fields.items() if one.kind is _TIME}
    # What would be another text: a mapping is a model in the class, a time a datetime.
    others = mappings if has_say else mappings | times
    if (
        not beside.isdisjoint(fields)
        or not _BESIDE.isdisjoint(aliases)
        or len(aliases) < len(fields)
        or not {"user_id", *keys} <= fields.keys() - others
        or (has_say and mappings)
        or not (has_say or (fields["user_id"].required and _base(fields["user_id"].kind) is str))
    ):
        raise _UnknownError


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


def _field(schema: Schema, definitions: Mapping[str, Schema]) -> _Field:
    _only(schema, "schema", "serialization_alias", "validation_alias")
    alias = schema.get("validation_alias")
    if not isinstance(alias, str) or alias != schema.get("serialization_alias"):
        raise _UnknownError
    inner: Schema = schema["schema"]
    if inner["type"] != "default":
        return _Field(alias, _type(inner, definitions), required=True)
    _only(inner, "default", "schema")
    if inner.get("default", ...) is not None:  # None is not sent; any other default is.
        raise _UnknownError
    return _Field(alias, _nullable(inner["schema"], definitions), required=False)


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
            others = {ref: each for ref, each in definitions.items() if ref != schema["schema_ref"]}
            if len(others) == len(definitions):  # It is being read: it refers to itself.
                raise _UnknownError
            found = _type(definitions[schema["schema_ref"]], others)
        case "function-wrap" if _is_time(schema):
            found = _TIME
        case "str":
            found = _text(schema)
        case "int" | "float" | "bool" as name:
            _only(schema, "strict", "ge", "le", strict=True)
            found = _limited(_SINGLE[name], schema, "ge", "le")
        case "literal":
            _only(schema, "expected")
            if not all(isinstance(word, str) for word in schema["expected"]):
                raise _UnknownError
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
    # Strict decimals come only where there is money as well (EventType.exact), and that has no form.
    choices = [_type(each, definitions) for each in schema["choices"] if not _is_strict_decimal(each)]
    kinds = [
        kind
        for choice in choices
        for kind in (get_args(choice) if get_origin(choice) is Union else (choice,))
    ]
    bases = [_base(kind) for kind in kinds]
    if not kinds or _TIME in kinds or len({str, int, float, dict}.intersection(bases)) < len(kinds):
        raise _UnknownError  # Two of one kind, of which each would say something else.
    return Union[tuple(kinds)]  # noqa: UP007 - of values


def _counters(schema: Schema, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - a type
    """Return the type of a model that is open, if all it takes is of one type."""
    inner = _model(schema, "allow")
    value = _nullable(inner.get("extras_schema", {"type": "any"}), definitions)
    declared = [_field(each, definitions) for each in _fields(inner).values()]
    if any(one.required or one.kind != value for one in declared):
        raise _UnknownError
    return dict[str, value]  # type: ignore[valid-type] # Of a value. What is null is not sent; the class leaves it out.


def _is_time(schema: Schema) -> bool:
    """Tell whether this is UtcTime of bridge/core/event.py."""
    if schema["type"] != "function-wrap":
        return False
    reads, writes = schema["function"]["function"], schema.get("serialization", {}).get("function")
    return reads is utc_time and writes is iso_utc


def _is_strict_decimal(schema: Schema) -> bool:
    inner = schema.get("schema", {})
    return schema["type"] == "function-after" and inner.get("type") == "decimal" and bool(inner.get("strict"))


def _base(kind: Any) -> Any:  # noqa: ANN401 - a type
    """Return a type without its limits or its parameters."""
    return getattr(kind, "__origin__", kind)


def _holds_mapping(kind: Any) -> bool:  # noqa: ANN401 - a type
    return get_origin(kind) is dict or any(map(_holds_mapping, get_args(kind)))


def _said(schema: Schema) -> Schema:
    """Return what a schema says of values."""
    return {key: value for key, value in schema.items() if key != "metadata"}


def _only(schema: Schema, *known: str, strict: bool = False) -> None:
    """Raise _UnknownError if a schema says more than what is known, or is not strict where it has to be."""
    if not schema.keys() <= _SAYS_NOTHING.union(known) or (strict and not schema.get("strict")):
        raise _UnknownError


_TIMESTAMP = _base_timestamp()
