"""From the settings to keys: what can be set, and what is said of a key that cannot be used."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bridge.auth.tokens import make_token
from bridge.core.errors import TokenRejected
from bridge.keyring import sources_of, token_rules_of, verifier_of
from bridge.settings import SettingsError, load
from tests.auth.issuer import (
    LONG_SECRET,
    NOW,
    OTHER_SECRET,
    SECRET,
    VALID,
    base64url,
    issued,
    jwk,
    jwks,
    private_pem,
    public_pem,
    signed,
    verify,
)

BROKER = {"RABBITMQ_URL": "amqp://localhost"}
CONFIG = """
[[auth.key]]
file = "rsa.pem"
algorithm = "PS256"
kid = "rsa"

[[auth.key]]
file = "ec.pem"

[[auth.key]]
file = "secret.txt"
algorithm = "HS384"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder of one's own, without settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_keys(folder: Path) -> dict[str, str]:
    """Put keys into files, and return an environment that names them."""
    (folder / "rsa.pem").write_bytes(public_pem("RSA"))
    (folder / "ec.pem").write_bytes(private_pem("P-256"))
    (folder / "secret.txt").write_text(LONG_SECRET + "\n")
    (folder / "bridge.toml").write_text(CONFIG)
    return {**BROKER, "BRIDGE_CONFIG": "bridge.toml"}


def problems(environ: dict[str, str]) -> list[str]:
    """Return what is wrong with settings and keys."""
    with pytest.raises(SettingsError) as caught:
        token_rules_of(load(environ))
    return caught.value.problems


def test_key_files(folder: Path) -> None:
    """Keys in files count without a secret, each with its algorithm; the first private one signs."""
    rules = token_rules_of(load(with_keys(folder)))

    assert [(key.algorithm, key.kid, key.signs) for key in rules.keys] == [
        ("PS256", "rsa", False),
        ("ES256", "", True),
        ("HS384", "", True),
    ]
    assert verify(issued("PS256", "RSA", kid="rsa"), rules).user_id == "u1"
    assert verify(rules.keys[2].sign(VALID), rules).user_id == "u1"
    assert verify(make_token(rules, user_id="u2", seconds=60), rules, now=time.time()).user_id == "u2"


def test_a_secret_and_the_one_before() -> None:
    """While a secret is changed, tokens by the former one count, but none are made with it."""
    environ = {**BROKER, "JWT_SECRET": SECRET, "BRIDGE_AUTH__FORMER_SECRET": OTHER_SECRET}

    rules = token_rules_of(load(environ))

    for secret in (SECRET, OTHER_SECRET):
        assert verify(signed(VALID, secret=secret), rules).user_id == "u1"
    assert [key.signs for key in rules.keys] == [True, False]
    assert (
        verify(rules.keys[0].sign(VALID), token_rules_of(load({**BROKER, "JWT_SECRET": SECRET}))) is not None
    )


def test_longer_hashes() -> None:
    """The algorithm of the secret can be another, for which it may be too short."""
    environ = {**BROKER, "JWT_SECRET": LONG_SECRET, "BRIDGE_AUTH__ALGORITHM": "HS512"}

    assert token_rules_of(load(environ)).keys[0].algorithm == "HS512"
    assert problems({**environ, "JWT_SECRET": SECRET}) == [
        (
            "BRIDGE_AUTH__SECRET or JWT_SECRET or NEXTAUTH_SECRET (in the file: auth.secret): "
            "is shorter than 64 bytes; generate one: openssl rand -hex 64"
        )
    ]


def test_every_problem_at_once(folder: Path) -> None:
    """Each key that cannot be used is named with its file and what to do, all at once."""
    environ = with_keys(folder)
    (folder / "rsa.pem").unlink()
    (folder / "ec.pem").write_bytes(b"no key")
    (folder / "secret.txt").write_text("changeme" * 10)

    assert problems(environ) == [
        "auth.key.0 (file rsa.pem): cannot be read: No such file or directory; name a file that can",
        (
            "auth.key.1 (file ec.pem): is no public or private key in PEM, nor a certificate; "
            "export the public key: openssl pkey -in private.pem -pubout -out public.pem"
        ),
        "auth.key.2 (file secret.txt): is an example, known to everybody; generate one: openssl rand -hex 48",
    ]


SECRET_FILES = [
    (b"short", "is shorter than 48 bytes"),
    (b"\xff" * 48, "is not UTF-8"),
    (b"x" * 70_000, "is longer than 65536 bytes"),
    (public_pem("RSA"), "is an asymmetric key or a certificate"),
]


@pytest.mark.parametrize(("content", "problem"), SECRET_FILES, ids=[row[1] for row in SECRET_FILES])
def test_unusable_secret_files(folder: Path, content: bytes, problem: str) -> None:
    """A secret in a file is held to the same rules as one in a variable."""
    environ = with_keys(folder)
    (folder / "secret.txt").write_bytes(content)

    (told,) = problems(environ)

    assert told.startswith(f"auth.key.2 (file secret.txt): {problem}")


def test_pem_in_a_variable() -> None:
    """A public key in the place of the secret is refused: whoever has it could sign."""
    (told,) = problems({**BROKER, "JWT_SECRET": public_pem("RSA").decode()})

    assert told == (
        "auth.secret: is an asymmetric key or a certificate, which must never serve as a secret; "
        "put it into a file and name that under [[auth.key]]"
    )


URLS = [
    ("https://id.example.com/.well-known/jwks.json", True),
    ("http://127.0.0.1:8000/keys", True),
    ("http://[::1]:8000/keys", True),
    ("http://localhost/keys", True),
    ("http://id.example.com/keys", False),
    ("http://127.0.0.1.example.com/keys", False),
    ("http://localhost.example.com/keys", False),
    ("ftp://localhost/keys", False),
    ("file:///etc/keys.json", False),
    ("https://", False),
    ("https:///keys", False),
    ("keys.json", False),
    ("", False),
    ("http://[", False),
    ("https://host:port/keys", False),
]


@pytest.mark.parametrize(("url", "allowed"), URLS)
def test_key_urls(folder: Path, url: str, *, allowed: bool) -> None:
    """Keys are fetched over https; without it only from this machine."""
    (folder / "bridge.toml").write_text(f"[auth]\njwks_url = {json.dumps(url)}\n")
    environ = {**BROKER, "BRIDGE_CONFIG": "bridge.toml"}

    if allowed:
        (source,) = sources_of(load(environ).auth)
        assert source.name == "jwks_url"
    else:
        assert problems(environ)[0].startswith(
            "BRIDGE_AUTH__JWKS_URL (in the file: auth.jwks_url): must begin with"
        )


async def test_key_set_in_a_file(folder: Path) -> None:
    """A key set in a file is enough; since nobody else can read it, secrets may be in it."""
    secret = {"kty": "oct", "k": base64url(SECRET.encode())}
    (folder / "keys.json").write_bytes(jwks(jwk("RS256", "RSA", kid="rsa"), secret))
    settings = load({**BROKER, "BRIDGE_AUTH__JWKS_PATH": "keys.json"})
    (source,) = sources_of(settings.auth)

    await source.refresh()

    assert [(key.algorithm, key.kid) for key in source.keys] == [("RS256", "rsa"), ("HS256", "")]


def test_session_tokens_can_be_refused() -> None:
    """Encrypted session tokens are understood where there is a secret, unless that is turned off."""
    assert token_rules_of(load({**BROKER, "JWT_SECRET": SECRET})).sessions is not None
    for more in (
        {"JWT_SECRET": SECRET, "BRIDGE_AUTH__SESSION_TOKENS": "false"},
        {"BRIDGE_AUTH__JWKS_PATH": "f"},
    ):
        assert token_rules_of(load({**BROKER, **more})).sessions is None


def test_claims_and_limits() -> None:
    """What a token must say, and how many are remembered, comes from the settings."""
    environ = {
        **BROKER,
        "JWT_SECRET": SECRET,
        "BRIDGE_AUTH__AUDIENCE": "bridge",
        "BRIDGE_AUTH__USER_CLAIMS": "uid,sub",
        "BRIDGE_AUTH__VERIFIED_TOKENS_MAX": "1",
    }
    verifier = verifier_of(load(environ))

    for number in range(2):
        token = signed({**VALID, "uid": "u9", "aud": "bridge", "jti": str(number)})
        assert verifier.verify(token, NOW).user_id == "u9"
    with pytest.raises(TokenRejected):
        verifier.verify(signed(VALID), NOW)

    assert len(verifier._cache._verified) == 1
