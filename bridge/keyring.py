"""From the settings to keys: reads the files that they name, and says of each key what is wrong with it."""

from __future__ import annotations

from functools import partial

from bridge.auth.claims import ClaimRules
from bridge.auth.jwks import KeySource, SourceRules
from bridge.auth.keys import HMAC_BYTES_MIN, Key, KeyUnusableError, key_from_pem, key_from_secret
from bridge.auth.readers import read_file, read_url
from bridge.auth.sessions import SessionKeys
from bridge.auth.tokens import TokenRules, TokenVerifier
from bridge.settings import Auth, KeyFile, Settings, SettingsError, secret_problem

FILE_BYTES_MAX = 65_536
FILE_REFRESH_SECONDS = 5.0  # A file costs nothing to read, and an edit shall count soon.
FILE_REFETCH_SECONDS_MIN = 1.0


def token_rules_of(settings: Settings) -> TokenRules:
    """Return the rules by which tokens are verified and made, with every key that is not published.

    Raises:
        SettingsError: with what is wrong with each key.
    """
    auth = settings.auth
    keys: list[Key] = []
    problems: list[str] = []
    secrets = {
        name: secret.get_secret_value()
        for name, secret in (("secret", auth.secret), ("former_secret", auth.former_secret))
        if secret is not None
    }
    for name, secret in secrets.items():
        try:
            made = key_from_secret(secret, auth.algorithm)
            keys.append(made if name == "secret" else made.only_verifying())
        except KeyUnusableError as unusable:
            problems.append(f"auth.{name}: {unusable}")
    for number, key in enumerate(auth.key):
        try:
            keys.append(_key_in(key))
        except KeyUnusableError as unusable:
            problems.append(f"auth.key.{number} (file {key.file}): {unusable}")
    if problems:
        raise SettingsError(problems)
    sessions = SessionKeys(secrets.values(), auth.session_salts) if auth.session_tokens and secrets else None
    return TokenRules(
        keys=tuple(keys),
        claims=ClaimRules(
            audience=auth.audience,
            issuer=auth.issuer,
            leeway_seconds=auth.leeway_seconds,
            user_claims=auth.user_claims,
            roles_claim=auth.roles_claim,
            rooms_claim=auth.rooms_claim,
        ),
        sessions=sessions,
    )


def sources_of(auth: Auth) -> list[KeySource]:
    """Return where keys are published, not read yet."""
    sources: list[KeySource] = []
    bytes_max, seconds_max = auth.jwks_bytes_max, auth.jwks_seconds_max
    if auth.jwks_path is not None:
        rules = SourceRules(FILE_REFRESH_SECONDS, FILE_REFETCH_SECONDS_MIN, seconds_max)
        read = partial(read_file, auth.jwks_path, bytes_max=bytes_max, seconds_max=seconds_max)
        sources.append(KeySource("jwks_path", read, rules, symmetric=True))
    if auth.jwks_url is not None:
        rules = SourceRules(auth.jwks_refresh_seconds, auth.jwks_refetch_seconds_min, seconds_max)
        read = partial(read_url, auth.jwks_url, bytes_max=bytes_max, seconds_max=seconds_max)
        sources.append(KeySource("jwks_url", read, rules))
    return sources


def verifier_of(settings: Settings) -> TokenVerifier:
    """Return what verifies tokens by these settings.

    Raises:
        SettingsError: with what is wrong with each key.
    """
    return TokenVerifier(
        token_rules_of(settings),
        sources_of(settings.auth),
        verified_tokens_max=settings.auth.verified_tokens_max,
    )


def _key_in(key: KeyFile) -> Key:
    """Read a key from its file.

    Raises:
        KeyUnusableError: the file cannot be read, or what it holds cannot be used.
    """
    try:
        with key.file.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise KeyUnusableError(f"cannot be read: {exc.strerror}", "name a file that can") from exc
    if len(data) > FILE_BYTES_MAX:
        raise KeyUnusableError(f"is longer than {FILE_BYTES_MAX} bytes", "name a file with one key")
    if key.algorithm not in HMAC_BYTES_MIN:
        return key_from_pem(data, key.algorithm, kid=key.kid)
    try:
        secret = data.decode().strip()
    except UnicodeDecodeError:
        raise KeyUnusableError("is not UTF-8", "write the secret as text") from None
    if problem := secret_problem(secret, key.algorithm):
        raise KeyUnusableError(*problem.split("; "))
    return key_from_secret(secret, key.algorithm, kid=key.kid)
