"""How the console's API speaks: JSON in camel case, one shape for every error, and who may ask."""

from __future__ import annotations

import dataclasses
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from bridge.core.console import BusUnavailableError
from bridge.core.limits import TokenBucket
from bridge.core.trace import where

log = structlog.get_logger()

BODY_BYTES_MAX = 65_536
PARAMETER_CHARACTERS_MAX = 200
REFUSALS_TOLD_PER_SECOND, REFUSALS_TOLD_BURST = 0.1, 5  # So that nobody fills the log with wrong tokens.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FORWARDED_FOR = "X-Forwarded-For"
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}

B = TypeVar("B", bound=BaseModel)


class ApiError(Exception):
    """What the API answers instead. The message says what to do; `field` names what is at fault, if any."""

    def __init__(self, status: int, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def response(self) -> web.Response:
        """Return the answer."""
        error = {"code": self.code, "message": self.message}
        if self.field:
            error["field"] = self.field
        return answer({"error": error}, status=self.status)


UNREADABLE = ApiError(400, "bad_body", "the body cannot be unpacked; send it as plain JSON, whole")


class Body(BaseModel):
    """What comes in the body of a request."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True
    )


def as_json(value: Any) -> Any:  # noqa: ANN401 - any of our own data
    """Return data as JSON has it: fields in camel case, keys of mappings as they are."""
    match value:
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True)
        case Mapping():
            return {key: as_json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [as_json(inner) for inner in value]
        case _ if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return {to_camel(field.name): as_json(getattr(value, field.name)) for field in fields}
        case _:
            return value


def encoded(value: object) -> bytes:
    """Return data as the bytes of JSON."""
    return json.dumps(as_json(value), separators=(",", ":")).encode()


def answer(value: object, *, status: int = 200) -> web.Response:
    """Answer with data, which nobody may keep."""
    return answer_encoded(encoded(value), status=status)


def answer_encoded(body: bytes, *, status: int = 200) -> web.Response:
    """Answer with data that is JSON already."""
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


async def body_of(request: web.Request, model: type[B]) -> B:
    """Read the body of a request, of at most BODY_BYTES_MAX.

    Raises:
        ApiError: it is not JSON, or not what is asked for here.
    """
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, error["loc"]))
        known = ", ".join(info.alias or name for name, info in model.model_fields.items())
        if error["type"] == "json_invalid":
            raise ApiError(400, "bad_json", f"the body is not JSON: {error['msg']}") from exc
        message = f"{field or 'the body'}: {error['msg']}; the fields are: {known}"
        raise ApiError(400, "bad_field", message, field=field) from exc


def parameters_of(request: web.Request, *names: str) -> dict[str, str]:
    """Return the parameters of a request that are not empty.

    Raises:
        ApiError: there is another one, one is there twice, or one is too long.
    """
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names:
            known = f"there are: {', '.join(names)}" if names else "there are none here"
            raise ApiError(
                400, "bad_parameter", f"there is no parameter {name[:50]!r}; {known}", field=name[:50]
            )
        if name in given:
            raise ApiError(400, "bad_parameter", f"{name}: is there twice; give it once", field=name)
        if len(value) > PARAMETER_CHARACTERS_MAX:
            message = f"{name}: is longer than {PARAMETER_CHARACTERS_MAX} characters"
            raise ApiError(400, "bad_parameter", message, field=name)
        given[name] = value
    return {name: value for name, value in given.items() if value}


def number_of(text: str, name: str, *, least: int, most: int) -> int:
    """Return a whole number from a parameter. Raises ApiError for anything else."""
    digits_max = len(str(most))
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max and least <= int(text) <= most):
        message = f"{name}: must be a whole number from {least} to {most}"
        raise ApiError(400, "bad_parameter", message, field=name)
    return int(text)


def address_of(request: web.Request) -> str:
    """Return the address of who asks, for the log. Over a Unix socket whoever hands on says it."""
    return request.remote or request.headers.get(FORWARDED_FOR, "")[:PARAMETER_CHARACTERS_MAX]


class Guard:
    """Lets in who has the token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._told = TokenBucket(rate_per_second=REFUSALS_TOLD_PER_SECOND, burst=REFUSALS_TOLD_BURST)

    def admit(self, request: web.Request) -> None:
        """Return for who may ask. Raises ApiError for anybody else."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            if not self._told.take(time.monotonic()):
                log.warning("console.refused", address=address_of(request))
            message = "send the header Authorization: Bearer TOKEN, with the admin.token of the node"
            raise ApiError(401, "unauthorized", message)
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            # A proxy that adds the token would add it to what a foreign page has the browser send, too.
            raise ApiError(403, "foreign_page", "only the console's own page may ask from a browser")


def guarded_by(guard: Guard) -> Middleware:
    """Return the middleware of the API: lets in whom the guard does, and gives every error its shape."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            guard.admit(request)
            return await handler(request)
        except ApiError as error:
            return error.response()
        except BusUnavailableError as exc:
            return ApiError(503, "bus_unavailable", str(exc)).response()
        except web.HTTPException as exc:
            return of_http(exc, request)
        except web.RequestPayloadError:
            return UNREADABLE.response()
        except (ConnectionError, TimeoutError):
            raise  # The client is gone; there is nobody to tell.
        except Exception as exc:  # noqa: BLE001 - whatever it is, the node goes on
            # Without its text, which may quote a payload.
            log.error("console.failed", path=request.path, error=type(exc).__name__, where=where(exc))  # noqa: TRY400
            return ApiError(500, "failed", "this is a fault of the bridge; its log says where").response()

    return guarded


def of_http(exc: web.HTTPException, request: web.Request) -> web.StreamResponse:
    """Give aiohttp's own errors our shape."""
    if exc.status < web.HTTPBadRequest.status_code:
        raise exc
    match exc:
        case web.HTTPNotFound():
            message = f"there is nothing at {request.path}; docs/operations.md lists the API"
        case web.HTTPMethodNotAllowed():
            message = f"use {' or '.join(sorted(exc.allowed_methods - {'HEAD'}))} here"
        case web.HTTPRequestEntityTooLarge():
            message = f"the body is larger than {BODY_BYTES_MAX} bytes; send less at once"
        case _:
            message = exc.reason
    return ApiError(exc.status, _CODES.get(exc.status, "refused"), message).response()
