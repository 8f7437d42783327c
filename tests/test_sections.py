"""Settings that would fail later, where nobody could tell why, are refused at start with all others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from typer.testing import CliRunner

from bridge.cli import app
from bridge.sections import is_host
from bridge.settings import SettingsError, load

NEEDED = {"RABBITMQ_URL": "amqp://mq.example.net/", "JWT_SECRET": "b2f1c0d9e8a7b6c5d4e3f2a1b0c9d8e7"}
NO_HOST = "must name a host, such as amqp://user:password@host:5672/"
NEITHER = "is neither an IP address nor a host name"
CONTROL = "holds a control character; remove it"

WRONG = [
    # variable                          value                      message
    ("RABBITMQ_URL", "amqps://", NO_HOST),
    ("RABBITMQ_URL", "amqp:///vhost", NO_HOST),
    ("RABBITMQ_URL", "amqp://user:password@/vhost", NO_HOST),
    ("RABBITMQ_URL", "amqp://mq..example.net/", NO_HOST),
    ("RABBITMQ_URL", "amqp://ex ample/", NO_HOST),
    ("RABBITMQ_URL", "amqp://mq:0/", NO_HOST),
    ("RABBITMQ_URL", f"amqp://{'a' * 64}.net/", NO_HOST),
    ("RABBITMQ_URL", "amqp://mq\n/", CONTROL),
    ("RABBITMQ_URL", f"amqp://mq/{'é' * 128}", "must name a virtual host of at most 255 bytes"),
    ("RABBITMQ_URL", "amqp://mq/?heartbeat=soon", "must have whole numbers of seconds"),
    ("RABBITMQ_URL", "amqp://mq/?timeout=-1", "must have whole numbers of seconds"),
    ("BRIDGE_AMQP__EXCHANGE", "é" * 200, "is longer than 255 bytes"),
    ("BRIDGE_AMQP__EXCHANGE", "cloudphone\tevents", CONTROL),
    ("BRIDGE_WS__HOST", "127.0.0.1\n", CONTROL),
    ("BRIDGE_WS__HOST", "\x7f", CONTROL),
    ("BRIDGE_WS__HOST", "a..b", NEITHER),
    ("BRIDGE_WS__HOST", "127.0.0.1:8080", NEITHER),
    ("BRIDGE_WS__HOST", "http://localhost", NEITHER),
    ("BRIDGE_WS__HOST", "-a", NEITHER),
    ("BRIDGE_WS__HOST", "a" * 64, NEITHER),
    ("BRIDGE_WS__HOST", "a." * 127, NEITHER),
    ("BRIDGE_WS__HOST", "bücher.example", NEITHER),
    ("BRIDGE_ADMIN__HOST", "localhost\r", CONTROL),
    ("BRIDGE_ADMIN__HOST", "local host", NEITHER),
    ("BRIDGE_ADMIN__TOKEN", "short", "must have 16 to 512 characters of ASCII, without spaces"),
    ("BRIDGE_ADMIN__TOKEN", "x" * 513, "generate one: openssl rand -hex 32"),
    ("BRIDGE_ADMIN__TOKEN", "with a space and long", "without spaces"),
    ("BRIDGE_ADMIN__TOKEN", "grün" * 10, "of ASCII"),
    ("BRIDGE_ADMIN__TOKEN", "change-me-change-me", "is an example, known to everybody"),
    ("BRIDGE_ADMIN__SOCKET", "/run/a\x01", CONTROL),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://a.io,https://b.io\x00", CONTROL),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://a.io:", "'https://a.io:' is not an origin: write https://host"),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://*.*.io", "is not an origin"),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "null", "'null' is not an origin"),
    ("BRIDGE_WS__TRUSTED_PROXIES", "10.0.0.0/99", "'10.0.0.0/99' does not appear to be"),
    ("BRIDGE_WS__FORWARDED_HEADER", "x-real-ip", "input should be 'x-forwarded-for' or 'forwarded'"),
    ("BRIDGE_WS__IPV6_PREFIX_BITS", "129", "input should be less than or equal to 128"),
    ("BRIDGE_STORM__EVENTS_PER_SECOND_MAX", "-1", "input should be greater than or equal to 0"),
    ("BRIDGE_STORM__TYPES", "5", "input should be a valid dictionary"),
]


@pytest.mark.parametrize(("variable", "value", "message"), WRONG)
def test_wrong_setting(variable: str, value: str, message: str) -> None:
    """What cannot work is told with its variable and what is right, and without a secret in it."""
    with pytest.raises(SettingsError) as caught:
        load({**NEEDED, variable: value})

    (told,) = caught.value.problems
    assert variable in told
    assert message in told
    assert "password@/vhost" not in told


RIGHT = [
    ("RABBITMQ_URL", "amqp://mq"),
    ("RABBITMQ_URL", "amqps://user:pass%40word@10.0.0.1:5671/%2Fv?heartbeat=30&timeout=5"),
    ("RABBITMQ_URL", "amqp://[::1]:5672/"),
    ("RABBITMQ_URL", "amqp://mq_1.example.net./"),
    ("RABBITMQ_URL", "amqp://bücher.example/"),
    ("BRIDGE_AMQP__EXCHANGE", "é" * 127),
    ("BRIDGE_WS__HOST", "::"),
    ("BRIDGE_WS__HOST", "fe80::1%eth0"),
    ("BRIDGE_WS__HOST", "localhost"),
    ("BRIDGE_WS__HOST", "a" * 63 + ".example.net."),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "*"),
    ("BRIDGE_WS__ALLOWED_ORIGINS", "https://*.bücher.example:8443,http://[::1]:3000"),
    ("BRIDGE_WS__FORWARDED_HEADER", "forwarded"),
]


@pytest.mark.parametrize(("variable", "value"), RIGHT)
def test_right_setting(variable: str, value: str) -> None:
    """What can work is taken."""
    load({**NEEDED, variable: value})


@settings(deadline=None)
@given(st.text(max_size=300))
def test_hosts(text: str) -> None:
    """What is taken for a host can be looked up: no name is too long or empty, whatever it holds."""
    if is_host(text) and "%" not in text:
        text.encode("idna")
        assert text.isprintable()


@settings(deadline=None)
@given(
    st.sampled_from(["amqp.url", "amqp.exchange", "ws.host", "ws.allowed_origins", "ws.trusted_proxies"]),
    st.text(max_size=300),
)
def test_any_text(path: str, text: str) -> None:
    """Whatever stands in a setting, it is taken or it is a problem; it is never a fault of ours."""
    variable = f"BRIDGE_{path.replace('.', '__').upper()}"
    with suppress(SettingsError):
        load({**NEEDED, variable: text})


@pytest.mark.parametrize(
    ("variable", "value"),
    [("BRIDGE_WS__HOST", "a\x01b"), ("RABBITMQ_URL", "amqps://"), ("BRIDGE_AMQP__EXCHANGE", "é" * 200)],
)
def test_exit_status(variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends with 78 and a list of what to mend, not with a traceback."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)

    result = CliRunner().invoke(app, ["serve"], env={**NEEDED, variable: value})

    assert result.exit_code == os.EX_CONFIG
    assert variable in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("values", "exposed"),
    [
        ({"HOST": "0.0.0.0", "TOKEN": NEEDED["JWT_SECRET"]}, True),  # noqa: S104 - nothing listens here
        ({"HOST": "ops.example.net", "TOKEN": NEEDED["JWT_SECRET"]}, True),
        ({"HOST": "0.0.0.0"}, False),  # noqa: S104 - nor here
        ({"HOST": "0.0.0.0", "TOKEN": NEEDED["JWT_SECRET"], "SOCKET": "/run/bridge.sock"}, False),  # noqa: S104
        ({"HOST": "localhost", "TOKEN": NEEDED["JWT_SECRET"]}, False),
        ({"HOST": "::1", "TOKEN": NEEDED["JWT_SECRET"]}, False),
    ],
)
def test_exposed_consoles(values: dict[str, str], *, exposed: bool) -> None:
    """A console is exposed if it has a token and listens where others can reach it."""
    loaded = load({**NEEDED, **{f"BRIDGE_ADMIN__{name}": value for name, value in values.items()}})

    assert loaded.admin.exposed is exposed
