"""Settings: `config/bridge.toml`, over it the environment, read once, checked whole, then frozen.

Every problem is reported at once, each with the variable to set and what to do. Nothing reads the
environment after start.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from yarl import URL

from bridge.core.catalogue import UnknownRule
from bridge.core.rooms import parse_room
from bridge.core.tables import DomainTable
from bridge.sections import (
    Access,
    Admin,
    Database,
    Grants,
    Inbox,
    PrintableSection,
    Section,
    Storm,
    Tracing,
    Users,
    Words,
    Ws,
    is_example,
    is_host,
    is_loopback,
    without_database,
)

PREFIX = "BRIDGE_"
FILE_SUFFIX = "_FILE"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
DEFAULT_FILE = Path("config/bridge.toml")
# RFC 7518 section 3.2: a key is at least as long as the hash.
SECRET_BYTES_MIN = {"HS256": 32, "HS384": 48, "HS512": 64}
CUSTOMARY: dict[str, tuple[str, ...]] = {
    "RABBITMQ_URL": ("amqp", "url"),
    "JWT_SECRET": ("auth", "secret"),
    "NEXTAUTH_SECRET": ("auth", "secret"),
    "DATABASE_URL": ("database", "url"),
}
SHORT_TEXT_BYTES_MAX = 255  # AMQP 0-9-1 section 4.2.5.3.
_ADVICE = {  # By pydantic's type of error.
    "extra_forbidden": "there is no such setting; remove it or correct its name",
    "missing": "is not set and has no default; set {names}",
    "model_type": "is a group of settings; set one of them, such as {variable}__…",
    "tuple_type": "must be a list; in a variable, separate its items with commas",
}


Hmac = Literal["HS256", "HS384", "HS512"]


class Amqp(PrintableSection):
    """RabbitMQ."""

    url: SecretStr = Field(description="AMQP URI, such as amqp://user:password@host:5672/vhost.")
    exchange: str = Field(default="cloudphone.events", min_length=1)
    prefix: str = Field(default="bridge", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    prefetch: int = Field(default=500, ge=1, le=65_535)
    delivery_limit: int = Field(default=50, ge=1, le=100_000)
    reader: Literal["bulk", "stock"] = "bulk"

    @field_validator("url")
    @classmethod
    def _is_amqp(cls, value: SecretStr) -> SecretStr:
        try:
            url = URL(value.get_secret_value())
        except ValueError:
            url = URL()
        if url.scheme not in ("amqp", "amqps"):
            raise ValueError("must be a URI that begins with amqp:// or amqps://")
        if not is_host(url.raw_host or "") or url.explicit_port == 0:
            raise ValueError("must name a host, such as amqp://user:password@host:5672/")
        if len(url.path.removeprefix("/").encode()) > SHORT_TEXT_BYTES_MAX:
            raise ValueError(f"must name a virtual host of at most {SHORT_TEXT_BYTES_MAX} bytes")
        numbers = [url.query.get(name, "0") for name in ("heartbeat", "timeout")]
        if not all(re.fullmatch("[0-9]{1,9}", number, re.ASCII) for number in numbers):
            raise ValueError("must have whole numbers of seconds for heartbeat and timeout")
        return value

    @field_validator("exchange")
    @classmethod
    def _is_short_text(cls, value: str) -> str:
        if len(value.encode()) > SHORT_TEXT_BYTES_MAX:
            raise ValueError(f"is longer than {SHORT_TEXT_BYTES_MAX} bytes")
        return value


class Ingest(Section):
    """What is accepted from the bus."""

    body_bytes_max: int = Field(default=262_144, ge=1_024, le=16_777_216)
    dedupe_seconds: float = Field(default=600.0, ge=60.0, le=86_400.0)
    dedupe_keys_max: int = Field(default=2_000_000, ge=1_000, le=100_000_000)
    unrouted: UnknownRule = UnknownRule.DEAD_LETTER
    unknown: dict[str, UnknownRule] = Field(default_factory=dict)


class EventLog(Section):
    """Where events stand between ingest and sockets: in memory for one node, in a stream for many."""

    kind: Literal["memory", "stream"] = "memory"
    window_seconds_max: float = Field(default=300.0, ge=1.0, le=86_400.0)
    window_bytes_max: int = Field(default=134_217_728, ge=65_536)
    retention_seconds_max: int = Field(default=86_400, ge=60)
    retention_bytes_max: int = Field(default=2_000_000_000, ge=1_000_000)


class KeyFile(Section):
    """A key in a file: PEM, or a secret as text if the algorithm is one for secrets."""

    file: Path
    algorithm: (
        Literal[
            Hmac, "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
        ]
        | None
    ) = None
    kid: str = Field(default="", max_length=200)


class Auth(Section):
    """Who is who."""

    algorithm: Hmac = "HS256"
    secret: SecretStr | None = Field(default=None, description="What the token's issuer signs with.")
    former_secret: SecretStr | None = None
    key: tuple[KeyFile, ...] = Field(default=(), max_length=50)
    jwks_path: Path | None = None
    jwks_url: str | None = None
    jwks_refresh_seconds: float = Field(default=600.0, ge=10.0, le=86_400.0)
    jwks_refetch_seconds_min: float = Field(default=10.0, ge=1.0, le=3_600.0)
    jwks_seconds_max: float = Field(default=5.0, gt=0, le=60.0)
    jwks_bytes_max: int = Field(default=262_144, ge=1_024, le=16_777_216)
    session_tokens: bool = True
    session_salts: Words = ("authjs.session-token", "__Secure-authjs.session-token")
    verified_tokens_max: int = Field(default=20_000, ge=1, le=10_000_000)
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

    @field_validator("secret", "former_secret")
    @classmethod
    def _is_a_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        problem = value and secret_problem(value.get_secret_value(), info.data.get("algorithm", "HS256"))
        if problem:
            raise ValueError(problem)
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_safe_to_ask(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = URL(value)
        except ValueError:
            url = URL()
        loopback = url.host is not None and is_loopback(url.host)
        if url.host is None or not (url.scheme == "https" or (url.scheme == "http" and loopback)):
            raise ValueError("must begin with https://; http:// would let others choose the keys")
        return value

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if not (self.secret or self.key or self.jwks_path or self.jwks_url):
            raise PydanticCustomError("no_key", "there is no key")
        return self


def secret_problem(text: str, algorithm: str) -> str:
    """Say why a secret is not fit to sign with this algorithm, and what to do; empty if it is."""
    bytes_min = SECRET_BYTES_MIN[algorithm]
    if is_example(text):
        return f"is an example, known to everybody; generate one: openssl rand -hex {bytes_min}"
    if len(text.encode()) < bytes_min:
        return f"is shorter than {bytes_min} bytes; generate one: openssl rand -hex {bytes_min}"
    return ""


class Shutdown(Section):
    """How the process leaves."""

    drain_seconds_max: float = Field(default=20.0, gt=0, le=600)
    retry_after_seconds_max: float = Field(default=5.0, gt=0, le=300)


class Logging(Section):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "pretty"] = "auto"


class Settings(Section):
    """Everything that can be set."""

    mode: Literal["production", "development"] = "production"
    amqp: Amqp
    ingest: Ingest = Ingest()
    event_log: EventLog = EventLog()
    auth: Auth
    access: Access = Access()
    database: Database = Database()
    users: Users = Users()
    grants: Grants = Field(default_factory=dict)
    inbox: Inbox = Inbox()
    storm: Storm = Storm()
    tracing: Tracing = Tracing()
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
    problems += without_database(settings.database, settings.users, settings.grants, settings.inbox)
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
    if error["type"] in ("missing", "no_key") and path in (("amqp",), ("auth",)):  # Needed of a whole group.
        needed = {"amqp": "url", "auth": "secret"}[path[0]]
        return _problem({**error, "type": "missing", "loc": (*path, needed)})
    if error["type"] in _ADVICE:
        return f"{where}: {_ADVICE[error['type']].format(names=names, variable=variable)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}"
