"""What groups of settings are made of, and the groups of the two ports, of storms and of the database."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from bridge.core.origins import Origin
from bridge.core.rooms import parse_room

HOST_CHARACTERS_MAX = 253  # RFC 1035 section 2.3.4, as text.
TOKEN_CHARACTERS_MIN, TOKEN_CHARACTERS_MAX = 16, 512
EXAMPLE_WORDS = ("changeme", "yoursecret", "example", "replaceme", "secretkey", "supersecret", "mysecret")
_TOKEN = re.compile(f"[!-~]{{{TOKEN_CHARACTERS_MIN},{TOKEN_CHARACTERS_MAX}}}")
_GENERATE = "generate one: openssl rand -hex 32"
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _split(value: object) -> object:
    """Let a list be written in one variable, with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def is_host(text: str) -> bool:
    """Tell whether this is an IP address or a host name in ASCII."""
    try:
        ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        return len(text) <= HOST_CHARACTERS_MAX and all(_LABEL.fullmatch(label) for label in labels)
    return True


def is_loopback(host: str) -> bool:
    """Tell whether only this machine is reached by an address or name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_example(secret: str) -> bool:
    """Tell whether a secret looks like one that stands in a manual."""
    letters = "".join(filter(str.isalnum, secret.lower()))
    return any(word in letters for word in EXAMPLE_WORDS)


def _checked_host(text: str) -> str:
    if not is_host(text):
        raise ValueError("is neither an IP address nor a host name")
    return text


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Host = Annotated[str, AfterValidator(_checked_host)]
Ceiling = Annotated[float, Field(ge=0.0, le=1_000_000.0)]


class Section(BaseModel):
    """A group of settings."""

    # Input stays out of errors: it could be a secret, and an error could come into a traceback.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class PrintableSection(Section):
    """A group whose texts go to places that take no control characters: names, paths, addresses."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_printable(cls, value: Any) -> Any:  # noqa: ANN401 - of any setting
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and _CONTROL.search(text) for text in texts):
            raise ValueError("holds a control character; remove it")
        return value


class Ws(PrintableSection):
    """The public port."""

    host: Host = "0.0.0.0"  # noqa: S104 - the public port is public
    port: int = Field(default=8080, ge=0, le=65_535)
    reuse_port: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allowed_origins: Words = ()
    allow_missing_origin: bool = True
    trusted_proxies: Words = ()
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    ipv6_prefix_bits: int = Field(default=64, ge=16, le=128)
    attempts_per_minute_max: int = Field(default=300, ge=1)
    user_attempts_per_minute_max: int = Field(default=300, ge=1)
    addresses_max: int = Field(default=100_000, ge=1, le=100_000_000)
    handshakes_max: int = Field(default=5_000, ge=1)
    handshakes_per_address_max: int = Field(default=1_000, ge=1)
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
    expiry_grace_seconds: float = Field(default=10.0, ge=0, le=3_600)
    answer_seconds_max: float = Field(default=5.0, gt=0, le=60)
    commands_waiting_max: int = Field(default=16, ge=1, le=1_000)

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
            try:
                Origin.parse("https://any" if origin == "*" else origin)
            except ValueError:
                raise ValueError(
                    f"{origin!r} is not an origin: write https://host, https://*.host or *, without a path"
                ) from None
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: set both or neither")
        return self


class Admin(PrintableSection):
    """The operator port. Without a token it has no console."""

    host: Host = "127.0.0.1"
    port: int = Field(default=8081, ge=0, le=65_535)
    socket: Path | None = None
    token: SecretStr | None = None

    @field_validator("token")
    @classmethod
    def _is_a_token(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else None
        if text is not None and is_example(text):
            raise ValueError(f"is an example, known to everybody; {_GENERATE}")
        if text is not None and not _TOKEN.fullmatch(text):
            raise ValueError(
                f"must have {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} characters of ASCII, "
                f"without spaces, since it travels in a header; {_GENERATE}"
            )
        return value

    @property
    def exposed(self) -> bool:
        """Whether there is a console that others than this machine can reach."""
        return self.token is not None and self.socket is None and not is_loopback(self.host)


class Access(Section):
    """What is remembered of revocations."""

    remember_seconds: float = Field(default=3_600.0, ge=1, le=2_592_000)
    revocations_max: int = Field(default=100_000, ge=1, le=100_000_000)


class Storm(PrintableSection):
    """How many events a second of one type one user may be sent; 0 means any number."""

    events_per_second_max: Ceiling = 0.0
    types: dict[str, Ceiling] = Field(default_factory=dict)


class Database(PrintableSection):
    """PostgreSQL, and how long its answers are good."""

    url: SecretStr | None = None
    own_schema: str = Field(default="bridge", pattern=r"^[a-z_][a-z0-9_]{0,39}$")
    connections_max: int = Field(default=10, ge=1, le=1_000)
    connect_seconds_max: float = Field(default=5.0, gt=0, le=60)
    query_seconds_max: float = Field(default=2.0, gt=0, le=60)
    answer_seconds_max: float = Field(default=10.0, ge=0, le=3_600)
    answers_max: int = Field(default=100_000, ge=1, le=100_000_000)
    forget_channel: str = Field(default="bridge_forget", pattern=r"^[A-Za-z0-9_.-]{1,63}$")

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = urlsplit(value.get_secret_value())
            # A `/`, `?` or `#` in a password ends what is before it, and a part of it would pass for a port.
            ports = [host.rpartition("]")[2].partition(":")[2] for host in _hosts(url.netloc)]
        except ValueError:
            url, ports = SplitResult("", "", "", "", ""), []
        if url.scheme not in ("postgresql", "postgres"):
            raise ValueError("must be a URI that begins with postgresql://")
        if url.fragment or not all(port.isdecimal() or not port for port in ports):
            raise ValueError(
                "is not understood: write postgresql://user:password@host:5432/name, "
                "and what is odd in the password as %2F, %3F, %23, %40"
            )
        return value


def _hosts(netloc: str) -> list[str]:
    """Return the hosts of a URI, of which PostgreSQL takes several, each with its port."""
    return netloc.rpartition("@")[2].split(",")


class Tracing(Section):
    """What becomes of the traces that events belong to."""

    begin_ratio: float = Field(default=0.0, ge=0, le=1)
    frames: bool = False
    spans: bool = False


class Users(Section):
    """Who is a user: a query of the operator's own tables."""

    query: str | None = Field(default=None, min_length=1, max_length=10_000)


class Grant(Section):
    """Who may join rooms of one kind: a query of the operator's own tables."""

    query: str = Field(min_length=1, max_length=10_000)


class Inbox(Section):
    """What waits for a user until it is read."""

    enabled: bool = False
    items_per_user_max: int = Field(default=1_000, ge=1, le=1_000_000)
    age_seconds_max: int = Field(default=2_592_000, ge=60, le=3_153_600_000)
    sweep_seconds: float = Field(default=60.0, ge=1, le=86_400)


def checked_kinds(grants: dict[str, Grant]) -> dict[str, Grant]:
    """Return the queries by kind of room. Raises ValueError for a kind that no query may decide."""
    for kind in grants:
        room = parse_room(f"{kind}:1")
        if room is None or room.kind != kind:
            raise ValueError(f"{kind!r} is not a kind of room: write what stands before the colon")
        if kind in ("user", "role"):
            raise ValueError(f"rooms of the kind {kind!r} are not for a query to grant: remove it")
    return grants


Grants = Annotated[dict[str, Grant], AfterValidator(checked_kinds), Field(max_length=32)]


def without_database(database: Database, users: Users, grants: Grants, inbox: Inbox) -> list[str]:
    """Say which settings need a database, if none is set."""
    needed = {"users.query": users.query, "grants": grants, "inbox.enabled": inbox.enabled}
    names = [name for name, value in needed.items() if value]
    if not names or database.url is not None:
        return []
    where = "BRIDGE_DATABASE__URL or DATABASE_URL (in the file: database.url)"
    return [f"{where}: is not set, and {', '.join(names)} cannot do without; set it"]
