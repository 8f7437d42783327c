"""What `bridge token` and `bridge check` say of keys. No broker is needed for either."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.keyring import token_rules_of
from bridge.settings import load
from devel.ports import free_ports
from tests.auth.issuer import SECRET, jwk, jwks, private_pem, public_pem, verify

EX_CONFIG = 78


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stand in a folder of one's own, with a secret, and a broker that is not there."""
    monkeypatch.chdir(tmp_path)
    for name in ("NEXTAUTH_SECRET", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "RABBITMQ_URL": f"amqp://127.0.0.1:{free_ports(1)[0]}/",
        "JWT_SECRET": SECRET,
        "BRIDGE_WS__PORT": "0",
        "BRIDGE_ADMIN__PORT": "0",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def with_key(folder: Path, pem: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one key in a file, and no secret."""
    monkeypatch.delenv("JWT_SECRET")
    (folder / "key.pem").write_bytes(pem)
    (folder / "bridge.toml").write_text('[[auth.key]]\nfile = "key.pem"\nkid = "k1"\n')
    monkeypatch.setenv("BRIDGE_CONFIG", "bridge.toml")


def run(*arguments: str, status: int = 0) -> str:
    """Run a command and return what it says; it must end by itself, with this status."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, result.output
    return result.output


def checked_keys() -> list[str]:
    """Return the lines about keys of a check that finds no broker, each with its remedy."""
    lines = run("check", status=1).replace("\n            →", " →").splitlines()
    return [" ".join(line.split()) for line in lines if line[2:].startswith("keys")]


def test_token_by_a_private_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret, a token is signed with the private key, and says with which."""
    with_key(tmp_path, private_pem("RSA"), monkeypatch)

    token = run("token", "--user", "u1", "--role", "admin").strip()

    who = verify(token, token_rules_of(load()), now=time.time())
    assert (who.user_id, who.roles) == ("u1", frozenset({"admin"}))


def test_token_without_a_private_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only public keys are known no token can be made, and it is said what to do."""
    with_key(tmp_path, public_pem("RSA"), monkeypatch)

    assert run("token", "--user", "u1", status=1).startswith("no key can sign: set JWT_SECRET, or name")


@pytest.mark.parametrize("hours", ["inf", "-inf", "nan", "1e300", "0", "-1", "87601", "soon"])
def test_hours(hours: str) -> None:
    """A token has to end, and within ten years."""
    assert "--hours" in run("token", "--user", "u1", "--hours", hours, status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--room", "x" * 201),
        ("--room", "\udcff"),
        tuple(word for number in range(51) for word in ("--role", f"r{number}")),
    ],
    ids=["long room", "no text", "many roles"],
)
def test_token_that_no_bridge_would_take(arguments: tuple[str, ...]) -> None:
    """A token that no bridge would accept is not printed."""
    assert run("token", "--user", "u1", *arguments, status=1).startswith(
        "a bridge with these settings would reject the token: "
    )


@pytest.mark.parametrize("command", [("check",), ("token", "--user", "u1")])
def test_broken_key(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be used is named with its file and the remedy; the status is 78."""
    with_key(tmp_path, b"no key", monkeypatch)

    said = run(*command, status=EX_CONFIG)

    assert "auth.key.0 (file key.pem): is no public or private key in PEM" in said
    assert "openssl pkey" in said


def test_check_names_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check signs with every key that can sign, and names those that only verify."""
    with_key(tmp_path, public_pem("RSA"), monkeypatch)
    monkeypatch.setenv("JWT_SECRET", SECRET)

    assert checked_keys() == [
        "✓ keys HS256 key: a token signed with it verifies",
        "✓ keys RS256 key k1: verifies tokens",
    ]


def test_check_reads_a_key_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check names the keys of a set, and what is left out."""
    (tmp_path / "keys.json").write_bytes(jwks(jwk("ES256", "P-256", kid="k\x1b[1"), {"kty": "AKP"}))
    monkeypatch.setenv("BRIDGE_AUTH__JWKS_PATH", "keys.json")

    assert checked_keys()[-1] == (
        "✓ keys jwks_path: 1 keys: ES256 k\ufffd[1; key 1 is of a kind that is not known here"
    )


def test_check_finds_a_key_set_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check says which set cannot be read, why, and what to look at."""
    monkeypatch.setenv("BRIDGE_AUTH__JWKS_PATH", "none.json")

    assert checked_keys()[-1] == (
        "✗ keys jwks_path: none.json: No such file or directory "
        "→ is auth.jwks_path right, and is there a JSON Web Key Set?"
    )
