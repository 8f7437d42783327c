"""Settings: `config/bridge.toml`, over it the environment, read once, checked whole, then frozen.

Every problem is reported at once, each with the variable to set and what to do. Nothing reads the
environment after start.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from yarl import URL

from bridge.core.catalogue import UnknownRule
from bridge.core.rooms import parse_room
from bridge.core.tables import DomainTable

PREFIX = "BRIDGE_"
FILE_SUFFIX = "_FILE"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
DEFAULT_FILE = Path("config/bridge.toml")
SECRET_BYTES_MIN = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as the hash.
CUSTOMARY: dict[str, tuple[str, ...]] = {
    "RABBITMQ_URL": ("amqp", "url"),
    "JWT_SECRET": ("auth", "secret"),
    "NEXTAUTH_SECRET": ("auth", "secret"),
}
EXAMPLE_WORDS = ("changeme", "yoursecret", "example", "replaceme", "secretkey", "supersecret", "mysecret")
_ADVICE = {  # By pydantic's type of error.
    "extra_forbidden": "there is no such setting; remove it or correct its name",
    "missing": "is not set and has no default; set {names}",
    "model_type": "is a group of settings; set one of them, such as {variable}__…",
    "tuple_type": "must be a list; in a variable, separate its items with commas",
}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^/*\s]+")


def _split(value: object) -> object:
    """Let a list be written in one variable, with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]


class _Section(BaseModel):
    # Input stays out of errors: it could be a secret, and an error could come into a traceback.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class Amqp(_Section):
    """RabbitMQ."""

    url: SecretStr = Field(description="AMQP URI, such as amqp://user:password@host:5672/vhost.")
    exchange: str = Field(default="cloudphone.events", min_length=1, max_length=200)
    prefix: str = Field(default="bridge", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    prefetch: int = Field(default=500, ge=1, le=65_535)
    delivery_limit: int = Field(default=50, ge=1, le=100_000)
    reader: Literal["bulk", "stock"] = "bulk"

    @field_validator("url")
    @classmethod
    def _is_amqp(cls, value: SecretStr) -> SecretStr:
        try:
            scheme = URL(value.get_secret_value()).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("amqp", "amqps"):
            raise ValueError("must be a URI that begins with amqp:// or amqps://")
        return value


class Ingest(_Section):
    """What is accepted from the bus."""

    body_bytes_max: int = Field(default=262_144, ge=1_024, le=16_777_216)
    dedupe_seconds: float = Field(default=600.0, ge=1.0, le=86_400.0)
    dedupe_keys_max: int = Field(default=2_000_000, ge=1_000, le=100_000_000)
    unrouted: UnknownRule = UnknownRule.DEAD_LETTER
    unknown: dict[str, UnknownRule] = Field(default_factory=dict)


class EventLog(_Section):
    """Where events stand between ingest and sockets: in memory for one node, in a stream for many."""

    kind: Literal["memory", "stream"] = "memory"
    window_seconds_max: float = Field(default=300.0, ge=1.0, le=86_400.0)
    window_bytes_max: int = Field(default=134_217_728, ge=65_536)
    retention_seconds_max: int = Field(default=86_400, ge=60)
    retention_bytes_max: int = Field(default=2_000_000_000, ge=1_000_000)


class Auth(_Section):
    """Who is who."""

    secret: SecretStr = Field(description="The HS256 key that the token's issuer signs with.")
    audience: str | None = None
    issuer: str | None = None
    leeway_seconds: float = Field(default=5.0, ge=0.0, le=300.0)
    user_claims: Words = ("sub", "userId", "id")
    roles_claim: str = "roles"
    rooms_claim: str = "rooms"
    cookie_name: str = "bridge_token"
    public_kinds: Words = ()

    @field_validator("public_kinds")
    @classmethod
    def _are_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            room = parse_room(f"{kind}:1")
            if room is None or room.kind != kind:
                raise ValueError(f"{kind!r} is not a kind of room: write what stands before the colon")
            if kind in ("user", "role"):
                raise ValueError(f"rooms of the kind {kind!r} are never public: remove it")
        return value

    @field_validator("secret")
    @classmethod
    def _is_a_secret(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        letters = "".join(filter(str.isalnum, text.lower()))
        if any(word in letters for word in EXAMPLE_WORDS):
            raise ValueError("is an example, known to everybody; generate one: openssl rand -hex 32")
        if len(text.encode()) < SECRET_BYTES_MIN:
            raise ValueError(f"is shorter than {SECRET_BYTES_MIN} bytes; generate one: openssl rand -hex 32")
        return value


class Ws(_Section):
    """The public port."""

    host: str = "0.0.0.0"  # noqa: S104 - the public port is public
    port: int = Field(default=8080, ge=0, le=65_535)
    reuse_port: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allowed_origins: Words = ()
    allow_missing_origin: bool = True
    trusted_proxies: Words = ()
    attempts_per_minute_max: int = Field(default=300, ge=1)
    addresses_max: int = Field(default=100_000, ge=1)
    sockets_max: int = Field(default=15_000, ge=1)
    sockets_per_user_max: int = Field(default=50, ge=1)
    rooms_per_socket_max: int = Field(default=100, ge=1)
    commands_per_second_max: float = Field(default=20.0, gt=0, le=10_000)
    commands_burst_max: int = Field(default=40, ge=1, le=100_000)
    mistakes_max: int = Field(default=20, ge=1)
    message_bytes_max: int = Field(default=65_536, ge=1_024, le=16_777_216)
    compression: bool = True
    compress_bytes_min: int = Field(default=512, ge=0, le=16_777_216)
    outbox_frames_max: int = Field(default=1_000, ge=1)
    outbox_bytes_max: int = Field(default=1_048_576, ge=1_024)
    outboxes_bytes_max: int = Field(default=536_870_912, ge=1_048_576)
    handshake_seconds_max: float = Field(default=10.0, gt=0)
    hello_seconds_max: float = Field(default=10.0, gt=0)
    close_seconds_max: float = Field(default=5.0, gt=0)
    ping_interval_seconds: float = Field(default=25.0, ge=1, le=3_600)
    expiring_notice_seconds: float = Field(default=60.0, ge=0)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy, strict=False)
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin: write https://host, https://*.host or *, without a path"
                )
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: set both or neither")
        return self


class Admin(_Section):
    """The operator port."""

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=0, le=65_535)
    socket: Path | None = None


class Shutdown(_Section):
    """How the process leaves."""

    drain_seconds_max: float = Field(default=20.0, gt=0, le=600)
    retry_after_seconds_max: float = Field(default=5.0, gt=0, le=300)


class Logging(_Section):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "pretty"] = "auto"


class Settings(_Section):
    """Everything that can be set."""

    mode: Literal["production", "development"] = "production"
    amqp: Amqp
    ingest: Ingest = Ingest()
    event_log: EventLog = EventLog()
    auth: Auth
    ws: Ws = Ws()
    admin: Admin = Admin()
    shutdown: Shutdown = Shutdown()
    log: Logging = Logging()
    domain: tuple[DomainTable, ...] = ()

    @property
    def development(self) -> bool:
        """Whether convenience goes before caution."""
        return self.mode == "development"


class SettingsError(Exception):
    """The settings are not usable. `problems` has a line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        """Keep every problem; there is at least one."""
        super().__init__("; ".join(problems))
        self.problems = problems


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the file and the environment.

    The file is named by BRIDGE_CONFIG; `config/bridge.toml` is read if it is there.

    Raises:
        SettingsError: with all problems at once.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values = _read_file(environ, problems)
    _overlay(values, _read_environment(environ, problems))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as exc:
        raise SettingsError(problems + [_problem(error) for error in exc.errors()]) from exc
    if problems:
        raise SettingsError(problems)
    return settings


def _read_file(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    named = environ.get(CONFIG_VARIABLE)
    path = Path(named) if named else DEFAULT_FILE
    if not named and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(
            f"{path}: cannot be read: {_cause(exc)}; set {CONFIG_VARIABLE} to the path of a file that can"
        )
    except tomllib.TOMLDecodeError as exc:
        problems.append(f"{path}: is not TOML: {exc}; correct it, or set {CONFIG_VARIABLE} to another file")
    return {}


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Return the environment's settings, nested as in the file."""
    values: dict[str, Any] = {}
    for name, path in CUSTOMARY.items():
        _put(values, path, _value(environ, name, problems))
    ours = {
        name.removesuffix(FILE_SUFFIX)
        for name in environ
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE
    }
    for name in sorted(ours):
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        _put(values, path, _value(environ, name, problems), over=True)
    return values


def _value(environ: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    """Return a variable's value, or what the file that `NAME_FILE` names contains."""
    if environ.get(name):
        return environ[name]
    file = environ.get(name + FILE_SUFFIX)
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(
            f"{name}{FILE_SUFFIX}: {file} cannot be read: {_cause(exc)}; name a file that can, or set {name}"
        )
        return None


def _cause(exc: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8" if isinstance(exc, UnicodeDecodeError) else exc.strerror or type(exc).__name__


def _put(values: dict[str, Any], path: tuple[str, ...], value: str | None, *, over: bool = False) -> None:
    if value is None:
        return
    node = values
    for part in path[:-1]:
        inner = node.setdefault(part, {})
        if not isinstance(inner, dict):  # `BRIDGE_AMQP=x` beside `BRIDGE_AMQP__URL=y`: report the former.
            return
        node = inner
    if over or path[-1] not in node:
        node[path[-1]] = value


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _overlay(base[key], value)
        else:
            base[key] = value


def _problem(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """Say what is wrong with one setting: the variable, the key in the file, and the remedy."""
    path = tuple(str(part) for part in error["loc"])
    variable = PREFIX + "__".join(path).upper()
    customary = [name for name, target in CUSTOMARY.items() if target == path]
    names = " or ".join([variable, *customary])
    where = f"{names} (in the file: {'.'.join(path)})"
    if error["type"] == "missing" and path in (("amqp",), ("auth",)):  # What is needed of a whole group.
        return _problem({**error, "loc": (*path, {"amqp": "url", "auth": "secret"}[path[0]])})
    if error["type"] in _ADVICE:
        return f"{where}: {_ADVICE[error['type']].format(names=names, variable=variable)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}"
