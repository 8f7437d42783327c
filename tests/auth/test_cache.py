"""Tokens that were verified before: remembered by their hash, within limits, and not for too long."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from unittest.mock import patch

import pytest

from bridge.auth.cache import REJECTED_MAX, REJECTED_SECONDS, TokenCache
from bridge.auth.compact import SignedToken
from bridge.auth.tokens import TokenVerifier
from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from tests.auth.issuer import HOUR, LEEWAY, NOW, OTHER_SECRET, RULES, VALID, signed

ANNA = Principal("anna", expires_at=NOW + HOUR)
EXPIRED = TokenRejected("expired", "the token has expired")


def taken_apart(verifier: TokenVerifier, token: str, now: float = NOW) -> bool:
    """Verify a token, and tell whether it had to be taken apart for it."""
    with patch("bridge.auth.tokens.parse_signed", side_effect=_parse) as parse:
        with suppress(TokenRejected):
            verifier.verify(token, now)
        return parse.called


def _parse(token: str) -> SignedToken:
    from bridge.auth.compact import parse_signed  # noqa: PLC0415 - the one that is not patched

    return parse_signed(token)


def test_good_token_is_verified_once() -> None:
    """A token that comes again before it ends costs a hash and no more."""
    verifier, token = TokenVerifier(RULES), signed(VALID)

    assert taken_apart(verifier, token)
    assert not taken_apart(verifier, token, NOW + HOUR)
    assert verifier.verify(token, NOW) is verifier.verify(token, NOW)


def test_remembered_token_ends() -> None:
    """A token that is remembered ends to the second like any other."""
    verifier, token = TokenVerifier(RULES), signed(VALID)
    verifier.verify(token, NOW)

    assert verifier.verify(token, NOW + HOUR + LEEWAY - 0.001).user_id == "u1"
    with pytest.raises(TokenRejected) as caught:
        verifier.verify(token, NOW + HOUR + LEEWAY)

    assert caught.value.reason == "expired"


def test_bad_token_is_verified_once_in_a_while() -> None:
    """A token that was rejected is rejected again without another look, but not for long."""
    verifier, token = TokenVerifier(RULES), signed(VALID, secret=OTHER_SECRET)

    assert taken_apart(verifier, token)
    assert not taken_apart(verifier, token, NOW + REJECTED_SECONDS - 0.001)
    assert taken_apart(verifier, token, NOW + REJECTED_SECONDS)


def test_what_passes_is_not_remembered() -> None:
    """A token that is not valid yet is looked at again: it may be, the next moment."""
    verifier, token = TokenVerifier(RULES), signed({**VALID, "nbf": NOW + LEEWAY + 1})

    assert taken_apart(verifier, token)
    assert taken_apart(verifier, token)
    assert verifier.verify(token, NOW + 1).user_id == "u1"


def test_verified_limit() -> None:
    """So many tokens are remembered and no more; the oldest goes first."""
    verifier = TokenVerifier(RULES, verified_tokens_max=2)
    first, second, third = (signed({**VALID, "jti": str(number)}) for number in range(3))

    for token in (first, second, third):
        verifier.verify(token, NOW)

    assert len(verifier._cache) == 2
    assert not taken_apart(verifier, third)
    assert not taken_apart(verifier, second)
    assert taken_apart(verifier, first)


def test_rejected_limit() -> None:
    """So many rejections are remembered and no more; the oldest goes first."""
    cache = TokenCache(verified_max=1)
    for number in range(REJECTED_MAX + 1):
        cache.keep_rejected(number.to_bytes(4, "big"), EXPIRED, NOW)

    assert len(cache) == REJECTED_MAX
    assert cache.find((0).to_bytes(4, "big"), NOW) is None
    with pytest.raises(TokenRejected):
        cache.find((1).to_bytes(4, "big"), NOW)


def test_what_has_ended_is_forgotten() -> None:
    """Looking for what has ended makes room."""
    cache = TokenCache(verified_max=5)
    cache.keep(b"anna", ANNA)
    cache.keep_rejected(b"bert", EXPIRED, NOW)

    assert cache.find(b"anna", ANNA.expires_at) is None
    assert cache.find(b"bert", NOW + REJECTED_SECONDS) is None

    assert len(cache) == 0


def test_no_token_is_kept() -> None:
    """Nothing that the verifier remembers has the token, or its signature, in it."""
    verifier = TokenVerifier(RULES)
    good, bad = signed({**VALID, "jti": "j" * 100}), signed(VALID, secret=OTHER_SECRET)
    verifier.verify(good, NOW)
    with pytest.raises(TokenRejected):
        verifier.verify(bad, NOW)

    cache = verifier._cache
    texts = [repr(cache._verified), repr(cache._rejected)]
    for token in (good, bad):
        assert not any(part in text for part in token.split(".") for text in texts)


def test_one_rejection_does_not_hold_another() -> None:
    """Each rejection is raised anew: one that is shared would gather tracebacks, and with them tokens."""
    verifier, token = TokenVerifier(RULES), signed(VALID, secret=OTHER_SECRET)
    caught = []
    for _ in range(3):
        with pytest.raises(TokenRejected) as rejected:
            verifier.verify(token, NOW)
        caught.append(rejected.value)

    assert len({id(each) for each in caught}) == 3
    assert {(each.reason, each.message) for each in caught} == {
        ("bad_signature", "the token's signature is not by one of our keys")
    }


def test_other_rules_remember_for_themselves() -> None:
    """What one verifier remembers is nothing to another."""
    token = signed(VALID)
    TokenVerifier(RULES).verify(token, NOW)

    with pytest.raises(TokenRejected):
        TokenVerifier(replace(RULES, keys=())).verify(token, NOW)
