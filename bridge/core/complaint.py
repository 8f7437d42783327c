"""Says in a publisher's words what pydantic found wrong with a payload.

pydantic speaks of Python: of instances, of decimals, and once per branch of a union. The publisher
wrote JSON, possibly in another language, and made one mistake at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.core.errors import Reason, Refused, shown
from bridge.core.rooms import ROOM_ID_PATTERN

_NUMBER = "a number, without quotes"
_TYPES = {
    "bool_type": "true or false",
    "datetime_type": "an ISO 8601 time as text",
    "decimal_type": "a number or a number in quotes",
    "dict_type": "a JSON object",
    "float_type": _NUMBER,
    "int_type": "a whole number, without quotes",
    "is_instance_of": _NUMBER,  # A strict Decimal.
    "list_type": "a list",
    "model_type": "a JSON object",
    "string_type": "text",
    "tuple_type": "a list",
}
_LIMITS = {
    "datetime_from_date_parsing": 'must be an ISO 8601 time, such as "2026-11-21T10:00:00.000Z": {error}',
    "datetime_parsing": 'must be an ISO 8601 time, such as "2026-11-21T10:00:00.000Z": {error}',
    "decimal_max_digits": "must have at most {max_digits} digits",
    "decimal_max_places": "must have at most {decimal_places} digits after the point",
    "decimal_parsing": 'must be a number, such as "29.90"',
    "decimal_whole_digits": "must have at most {whole_digits} digits before the point",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
}
_Located: TypeAlias = tuple[tuple[str, ...], ErrorDetails]

_ROOM_ID = "must be 1 to 128 characters without white space, commas and *"


def complaint(exc: ValidationError, payload: dict[str, Any]) -> Refused:
    """Return the refusal of a payload, for the first field at fault; the other fields are beside it."""
    fields: dict[tuple[str, ...], list[_Located]] = {}
    for error in exc.errors(include_url=False):
        path = _path(error, payload)
        fields.setdefault(path[:1], []).append((path, error))
    first, *others = map(_refusal, fields.values())
    first.others = tuple(others)
    return first


def _refusal(located: Sequence[_Located]) -> Refused:
    """Make one refusal of what is wrong with one field of the payload and what is in it."""
    # Of a union, the branch that got furthest is the one that was meant.
    path = max((path for path, _ in located), key=len)
    errors = [error for error_path, error in located if error_path == path]
    field = ".".join(path)
    if errors[0]["type"] == "missing":
        return Refused(Reason.MISSING_FIELD, f"{field} is required and missing", field=field)
    message = f"{field} {_in_words(errors)} (got {shown(errors[0]['input'])})"
    return Refused(Reason.BAD_FIELD, message.lstrip(), field=field)


def _in_words(errors: Iterable[ErrorDetails]) -> str:
    """Make one statement of what is wrong with one value, which each branch of a union refused."""
    types = dict.fromkeys(_TYPES[error["type"]] for error in errors if error["type"] in _TYPES)
    others = dict.fromkeys(_limit(error) for error in errors if error["type"] not in _TYPES)
    if _NUMBER in types:
        types.pop(_TYPES["int_type"], None)  # The other branch of what may have a fraction.
    # Where one branch took the type and minded the value, the other branches' minding the type is noise.
    return " or ".join(others) if others else f"must be {' or '.join(types)}"


def _limit(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch" and context["pattern"] == ROOM_ID_PATTERN:
        return _ROOM_ID
    if error["type"] in _LIMITS:
        return _LIMITS[error["type"]].format_map({name: _plain(value) for name, value in context.items()})
    message = error["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _plain(value: object) -> object:
    """Return a bound as one would write it: a float's 100.0 is 100."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _path(error: ErrorDetails, payload: object) -> tuple[str, ...]:
    """Return where in the payload an error is: its location without the names of union branches."""
    path: list[str] = []
    node: Any = payload
    for part in error["loc"]:
        if _has(node, part):
            node = node[part]
            path.append(str(part))
    if error["type"] == "missing":
        path.append(str(error["loc"][-1]))
    return tuple(path)


def _has(node: object, part: str | int) -> bool:
    match node:
        case dict():
            return part in node
        case list():
            return isinstance(part, int) and part < len(node)
        case _:
            return False
