"""What can be set, from where, and how a mistake is told."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from bridge.core.catalogue import UnknownRule
from bridge.settings import Settings, SettingsError, load

URL = "amqp://bridge:pa55-of-the-broker@mq.example.net:5672/"
SECRET = "b2f1c0d9e8a7b6c5d4e3f2a1b0c9d8e7"
NEEDED = {"RABBITMQ_URL": URL, "JWT_SECRET": SECRET}


@pytest.fixture(autouse=True)
def _no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder without config/bridge.toml."""
    monkeypatch.chdir(tmp_path)


def problems(environ: dict[str, str]) -> list[str]:
    """Return what is wrong with the settings."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.problems


def secret_of(settings: Settings) -> str:
    """Return the secret; empty if there is none."""
    return settings.auth.secret.get_secret_value() if settings.auth.secret else ""


def in_file(tmp_path: Path, text: str, name: str = "bridge.toml") -> dict[str, str]:
    """Return an environment that names a file with this text, and has what else is needed."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return {**NEEDED, "BRIDGE_CONFIG": str(path)}


def test_two_are_enough() -> None:
    """A broker and a secret are all that has to be set; the rest has defaults."""
    settings = load(NEEDED)

    assert settings.amqp.url.get_secret_value() == URL
    assert secret_of(settings) == SECRET
    assert not settings.development
    assert (settings.ws.port, settings.admin.port, settings.admin.host) == (8080, 8081, "127.0.0.1")


def test_nothing_is_set() -> None:
    """What is missing is told all at once, each with every variable that would do."""
    assert problems({}) == [
        (
            "BRIDGE_AMQP__URL or RABBITMQ_URL (in the file: amqp.url): is not set and has no default; "
            "set BRIDGE_AMQP__URL or RABBITMQ_URL"
        ),
        (
            "BRIDGE_AUTH__SECRET or JWT_SECRET or NEXTAUTH_SECRET (in the file: auth.secret): "
            "is not set and has no default; set BRIDGE_AUTH__SECRET or JWT_SECRET or NEXTAUTH_SECRET"
        ),
    ]


EMPTY_GROUPS = "[amqp]\nprefix = 'b'\n[auth]\nleeway_seconds = 1\n"


def test_missing_in_a_group_that_is_there(tmp_path: Path) -> None:
    """What is missing is told in the same words if something else of its group is set."""
    environ = {"BRIDGE_CONFIG": in_file(tmp_path, EMPTY_GROUPS)["BRIDGE_CONFIG"]}

    assert problems(environ) == problems({})


def test_empty_is_not_set() -> None:
    """A variable that is set to nothing counts as not set, as compose files leave them."""
    assert len(problems({"RABBITMQ_URL": "", "JWT_SECRET": "", "NEXTAUTH_SECRET": ""})) == 2
    assert load({**NEEDED, "BRIDGE_WS__PORT": ""}).ws.port == 8080


SOURCES = [
    # the environment                                                             whose secret wins
    ({"JWT_SECRET": "a" * 32, "NEXTAUTH_SECRET": "b" * 32}, "a" * 32),
    ({"NEXTAUTH_SECRET": "b" * 32}, "b" * 32),
    ({"BRIDGE_AUTH__SECRET": "c" * 32, "JWT_SECRET": "a" * 32}, "c" * 32),
    ({"bridge_auth__secret": "c" * 32, "JWT_SECRET": "a" * 32}, "a" * 32),  # Names are in upper case.
]


@pytest.mark.parametrize(("environ", "secret"), SOURCES)
def test_customary_names(environ: dict[str, str], secret: str) -> None:
    """Customary variables are read where our own is not set, JWT_SECRET before NEXTAUTH_SECRET."""
    assert secret_of(load({"RABBITMQ_URL": URL, **environ})) == secret


def test_environment_goes_over_the_file(tmp_path: Path) -> None:
    """The environment goes over the file, key by key."""
    environ = in_file(
        tmp_path, "[ws]\nport = 1000\nhost = '::1'\n[auth]\nsecret = 'from-the-file-and-too-short'\n"
    )

    settings = load({**environ, "BRIDGE_WS__PORT": "2000"})

    assert (settings.ws.port, settings.ws.host) == (2000, "::1")
    assert secret_of(settings) == SECRET


def test_default_file(tmp_path: Path) -> None:
    """Without BRIDGE_CONFIG, config/bridge.toml is read if it is there."""
    (tmp_path / "config").mkdir()
    in_file(tmp_path, 'mode = "development"', "config/bridge.toml")

    assert load(NEEDED).development


@pytest.mark.parametrize("variable", ["JWT_SECRET", "NEXTAUTH_SECRET", "BRIDGE_AUTH__SECRET", "RABBITMQ_URL"])
def test_secrets_from_files(tmp_path: Path, variable: str) -> None:
    """A variable can name a file instead, as containers mount secrets; the last line end is no part."""
    path = tmp_path / "secret"
    value = URL if variable == "RABBITMQ_URL" else "f" * 32
    path.write_text(f"{value}\n")
    environ = {**NEEDED, f"{variable}_FILE": str(path)}
    environ.pop(variable, None)
    if variable == "NEXTAUTH_SECRET":
        del environ["JWT_SECRET"]

    settings = load(environ)

    assert value in (secret_of(settings), settings.amqp.url.get_secret_value())


def test_variable_before_its_file(tmp_path: Path) -> None:
    """A variable goes before the file of the same name, which is then not even looked at."""
    assert secret_of(load({**NEEDED, "JWT_SECRET_FILE": str(tmp_path / "none")})) == SECRET


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "No such file or directory"), (b"\xff", "it is not UTF-8")],
    ids=["missing", "binary"],
)
def test_secret_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, cause: str) -> None:
    """A file that cannot be read is told with its variable, the cause and the remedy."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    told = problems({"RABBITMQ_URL": URL, "JWT_SECRET_FILE": str(path)})

    assert (
        told[0] == f"JWT_SECRET_FILE: {path} cannot be read: {cause}; name a file that can, or set JWT_SECRET"
    )


SECRETS = [
    ("short", "is shorter than 32 bytes"),
    ("x" * 31, "is shorter than 32 bytes"),
    ("your-secret-key-change-me-in-production", "is an example, known to everybody"),
    ("CHANGEME" * 5, "is an example, known to everybody"),
    ("replace_me_" + "0" * 32, "is an example, known to everybody"),
    ("super.secret." + "1" * 32, "is an example, known to everybody"),
    ("My Secret " + "2" * 32, "is an example, known to everybody"),
    ("example-" + "3" * 32, "is an example, known to everybody"),
]


@pytest.mark.parametrize(("secret", "message"), SECRETS)
@pytest.mark.parametrize("mode", ["production", "development"])
def test_bad_secret(secret: str, message: str, mode: str) -> None:
    """A secret that is short or from an example is refused in every mode, with the way to a better one."""
    told = problems({"RABBITMQ_URL": URL, "NEXTAUTH_SECRET": secret, "BRIDGE_MODE": mode})

    assert told == [
        (
            "BRIDGE_AUTH__SECRET or JWT_SECRET or NEXTAUTH_SECRET (in the file: auth.secret): "
            f"{message}; generate one: openssl rand -hex 32"
        )
    ]


def test_bytes_count() -> None:
    """A secret is measured in bytes, since that is what signs."""
    assert load({**NEEDED, "JWT_SECRET": "ü" * 16}).auth.secret


BROKERS = ["mq.example.net", "http://u:pa55@h/", "amqp:/", "amqps//h", "amqp://h:99999999/", "redis://h"]


@pytest.mark.parametrize("url", [url for url in BROKERS if url != "amqp:/"])
def test_bad_broker(url: str) -> None:
    """A broker's address has to be an AMQP URI."""
    assert problems({**NEEDED, "RABBITMQ_URL": url}) == [
        (
            "BRIDGE_AMQP__URL or RABBITMQ_URL (in the file: amqp.url): "
            "must be a URI that begins with amqp:// or amqps://"
        )
    ]


WRONG = [
    # variable                    value            message, after the variable and the key
    ("BRIDGE_MODE", "prod", "(in the file: mode): input should be 'production' or 'development'"),
    ("BRIDGE_WS__PORT", "99999", "(in the file: ws.port): input should be less than or equal to 65535"),
    ("BRIDGE_WS__PORT", "web", "(in the file: ws.port): input should be a valid integer"),
    (
        "BRIDGE_WS__SOCKETS_MAX",
        "0",
        "(in the file: ws.sockets_max): input should be greater than or equal to 1",
    ),
    (
        "BRIDGE_WS__CLOSE_SECONDS_MAX",
        "0",
        "(in the file: ws.close_seconds_max): input should be greater than 0",
    ),
    ("BRIDGE_INGEST__DEDUPE_SECONDS", "nan", "(in the file: ingest.dedupe_seconds): input should be "),
    ("BRIDGE_AMQP__PREFIX", "a b", "(in the file: amqp.prefix): string should match pattern"),
    ("BRIDGE_LOG__LEVEL", "LOUD", "(in the file: log.level): input should be 'DEBUG', 'INFO'"),
    (
        "BRIDGE_INGEST__UNKNOWN__QUOTA",
        "keep",
        "(in the file: ingest.unknown.quota): input should be 'dead_letter'",
    ),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "example.com", "'example.com' is not an origin: write https://host"),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://a.io/path", "'https://a.io/path' is not an origin"),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://a.*.io", "'https://a.*.io' is not an origin"),
    ("BRIDGE_WS__TRUSTED_PROXIES", "proxy", "'proxy' does not appear to be an IPv4 or IPv6 network"),
    ("BRIDGE_AUTH__PUBLIC_KINDS", "score,device:d7", "'device:d7' is not a kind of room"),
    ("BRIDGE_AUTH__PUBLIC_KINDS", "Score", "'Score' is not a kind of room"),
    ("BRIDGE_AUTH__PUBLIC_KINDS", "all", "'all' is not a kind of room"),
    ("BRIDGE_AUTH__PUBLIC_KINDS", "user", "rooms of the kind 'user' are never public: remove it"),
    ("BRIDGE_AUTH__PUBLIC_KINDS", "role", "rooms of the kind 'role' are never public: remove it"),
    # Unknown keys, at each level.
    ("BRIDGE_PROT", "1", "(in the file: prot): there is no such setting; remove it or correct its name"),
    (
        "BRIDGE_WS__PROT",
        "1",
        "(in the file: ws.prot): there is no such setting; remove it or correct its name",
    ),
    ("BRIDGE_WS__PORT__NUMBER", "1", "(in the file: ws.port): input should be a valid integer"),
    ("BRIDGE_AUTH__JWT__SECRET", "1", "(in the file: auth.jwt): there is no such setting; remove it"),
    ("BRIDGE_WS", "1", "(in the file: ws): is a group of settings; set one of them, such as BRIDGE_WS__…"),
    ("BRIDGE_", "1", "there is no such setting; remove it or correct its name"),
    ("BRIDGE_DOMAIN", "x", "(in the file: domain): must be a list"),
]


@pytest.mark.parametrize(("variable", "value", "message"), WRONG)
def test_wrong_setting(variable: str, value: str, message: str) -> None:
    """A wrong or unknown setting is told with its variable, its key in the file, and what is right."""
    (told,) = problems({**NEEDED, variable: value})

    assert told.startswith(variable.removesuffix("__NUMBER").removesuffix("__SECRET"))
    assert message in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "BRIDGE_PROT (in the file: prot): there is no such setting"),
        ("[ws]\nprot = 1", "BRIDGE_WS__PROT (in the file: ws.prot): there is no such setting"),
        ("[webserver]\nport = 1", "BRIDGE_WEBSERVER (in the file: webserver): there is no such setting"),
        ("ws = 5", "BRIDGE_WS (in the file: ws): is a group of settings"),
        ("[ws]\nallowed_origins = 5", "must be a list; in a variable, separate its items with commas"),
        (
            "[[domain]]\nname = 'x'",
            "BRIDGE_DOMAIN__0 (in the file: domain.0): domain 'x': the key 'topics' is missing",
        ),
    ],
)
def test_wrong_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    """The file is judged as the environment is."""
    (told,) = problems(in_file(tmp_path, text))

    assert message in told


def test_all_problems_at_once(tmp_path: Path) -> None:
    """However much is wrong, from whichever source, it is told in one list."""
    environ = in_file(tmp_path, "prot = 1\n[ws]\nport = 'web'\n")

    told = problems(
        {
            **environ,
            "JWT_SECRET": "short",
            "RABBITMQ_URL": "",
            "RABBITMQ_URL_FILE": str(tmp_path / "none"),
            "BRIDGE_LOG__LEVEL": "LOUD",
            "BRIDGE_WS__TLS_KEY": "/key.pem",
            "BRIDGE_ADMIN__PROT": "1",
        }
    )

    for part in (
        "RABBITMQ_URL_FILE",
        "amqp.url",
        "auth.secret",
        "log.level",
        "ws.port",
        "admin.prot",
        ": prot)",
    ):
        assert any(part in one for one in told), part
    assert all("BRIDGE_" in one or "RABBITMQ_URL_FILE" in one for one in told)


def test_tls_is_whole() -> None:
    """A certificate without its key, or the other way round, is no TLS."""
    (told,) = problems({**NEEDED, "BRIDGE_WS__TLS_KEY": "/key.pem"})

    assert told.endswith("tls_certificate and tls_key go together: set both or neither")


TOML = [
    ("port = ", "is not TOML: Invalid value (at end of document)"),
    ("a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
    ("[ws", "is not TOML: "),
]


@pytest.mark.parametrize(("text", "message"), TOML)
def test_no_toml(tmp_path: Path, text: str, message: str) -> None:
    """A file that is not TOML is told with its path, the place, and the variable that names it."""
    environ = in_file(tmp_path, text)

    (told,) = problems(environ)

    assert told.startswith(f"{environ['BRIDGE_CONFIG']}: {message}")
    assert told.endswith("correct it, or set BRIDGE_CONFIG to another file")


def test_no_file(tmp_path: Path) -> None:
    """A file that is named and cannot be read is told; the default file may be missing."""
    path = tmp_path / "none.toml"

    assert problems({**NEEDED, "BRIDGE_CONFIG": str(path)}) == [
        f"{path}: cannot be read: No such file or directory; set BRIDGE_CONFIG to the path of a file that can"
    ]
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    (told,) = problems({**NEEDED, "BRIDGE_CONFIG": str(tmp_path / "binary.toml")})
    assert "cannot be read: it is not UTF-8" in told


def test_lists_in_variables() -> None:
    """A list is written with commas; white space and empty items do not count."""
    settings = load(
        {
            **NEEDED,
            "BRIDGE_WS__ALLOWED_ORIGINS": " https://app.example.com, https://*.example.org ,,",
            "BRIDGE_WS__TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "BRIDGE_AUTH__PUBLIC_KINDS": "score",
            "BRIDGE_AUTH__USER_CLAIMS": "uid",
        }
    )

    assert settings.ws.allowed_origins == ("https://app.example.com", "https://*.example.org")
    assert settings.ws.trusted_proxies == ("10.0.0.0/8", "::1")
    assert (settings.auth.public_kinds, settings.auth.user_claims) == (("score",), ("uid",))


def test_rules_for_unknown_types() -> None:
    """The rule for unknown event types is set for each domain, and for what no domain binds."""
    settings = load({**NEEDED, "BRIDGE_INGEST__UNKNOWN__QUOTA": "pass", "BRIDGE_INGEST__UNROUTED": "drop"})

    assert settings.ingest.unknown == {"quota": UnknownRule.PASS}
    assert settings.ingest.unrouted is UnknownRule.DROP


def test_a_domain_in_the_file(tmp_path: Path) -> None:
    """A domain can be declared in the file."""
    text = """
        [[domain]]
        name = "match"
        topics = ["match.#"]
        [[domain.event]]
        name = "match.scored"
        targets = ["match:{matchId}"]
        fields = { matchId = "id" }
    """

    (domain,) = load(in_file(tmp_path, text)).domain

    assert (domain.name, domain.event[0].name) == ("match", "match.scored")


def leaks(settings_or_error: object) -> str:
    """Return everything that a log or a terminal could show of settings or of an error."""
    error = settings_or_error
    shown = f"{error} {error!r}"
    if isinstance(error, SettingsError):
        shown += "".join(traceback.format_exception(error)) + "".join(error.problems)
    return shown


def test_secrets_are_not_shown() -> None:
    """Settings that get into a log or a terminal give no secret away."""
    settings = load(NEEDED)

    shown = leaks(settings) + repr(settings.amqp) + repr(settings.auth) + str(settings.model_dump())

    assert SECRET not in shown
    assert "pa55" not in shown


@pytest.mark.parametrize(
    "environ",
    [
        {"RABBITMQ_URL": "http://u:pa55word@h/", "JWT_SECRET": "s3cret-that-is-too-short"},
        {"BRIDGE_AMQP": "amqp://u:pa55word@h/", "BRIDGE_AUTH": "s3cret"},
        {"RABBITMQ_URL": "amqp://u:pa55word@h:x/", "JWT_SECRET": "example-s3cret-0123456789-0123456789"},
        {"BRIDGE_AUTH__SECRET__X": "s3cret", "BRIDGE_AMQP__URL__X": "pa55word"},
        {"BRIDGE_AUTH__SECRETS": "s3cret", "BRIDGE_AMQP__URI": "pa55word"},
    ],
)
def test_problems_do_not_show_secrets(environ: dict[str, str]) -> None:
    """A secret that is wrong, or in the wrong place, is neither in the message nor in its traceback."""
    with pytest.raises(SettingsError) as caught:
        load(environ)

    assert "s3cret" not in leaks(caught.value)
    assert "pa55word" not in leaks(caught.value)


def test_frozen() -> None:
    """Settings do not change once they are read."""
    settings = load(NEEDED)

    with pytest.raises(ValueError, match="frozen"):
        settings.ws.port = 1  # type: ignore[misc] # what is to fail
    assert isinstance(settings, Settings)
