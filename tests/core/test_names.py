"""What an event type may be called, and what a misspelt one was meant to be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.names import (
    corrected,
    is_alias,
    is_name,
    is_topic,
    letters,
    split_version,
    topic_matches,
)

NAMES = [
    "quota.updated",
    "billing.payment_success",
    "device.status.changed",
    "a.b",
    "a1.b2_3",
    "x." + "y" * 253,
]
NO_NAMES = [
    ("", "nothing"),
    ("quota", "one part"),
    ("quotaUpdated", "camel case"),
    ("quota.paymentSuccess", "camel case in a part"),
    ("Quota.updated", "upper case"),
    ("quota.", "an empty part at the end"),
    (".updated", "an empty part at the start"),
    ("quota..updated", "an empty part"),
    ("quota-updated", "a dash"),
    ("quota.up-dated", "a dash in a part"),
    ("quota._updated", "an underscore at the start of a part"),
    ("quota.updated_", "an underscore at the end of a part"),
    ("quota.a__b", "two underscores"),
    ("1quota.updated", "a digit at the start"),
    ("quota.updated:v1", "a version"),
    ("quota.updated ", "white space"),
    ("quota.updated\n", "a line end"),
    ("quota.*", "a wildcard"),
    ("quöta.updated", "a letter beyond ASCII"),
    ("x." + "y" * 254, "256 characters, more than a routing key has"),
]


@pytest.mark.parametrize("name", NAMES)
def test_name(name: str) -> None:
    """A name is lower-case parts with dots between, underscores between words of a part."""
    assert is_name(name)


@pytest.mark.parametrize("name", [pytest.param(name, id=why) for name, why in NO_NAMES])
def test_no_name(name: str) -> None:
    """Anything else is not a name."""
    assert not is_name(name)


@pytest.mark.parametrize(
    ("alias", "well_formed"),
    [
        ("deposit_completed:v1", True),
        ("subscription-updated", True),
        ("Übertrag", True),
        ("x" * 255, True),
        ("", False),
        ("a b", False),
        ("a*", False),
        ("#", False),
        ("a\x00", False),
        ("x" * 256, False),
        ("ü" * 128, False),  # 256 bytes.
    ],
)
def test_alias(alias: str, *, well_formed: bool) -> None:
    """An alias is any routing key that a binding takes literally, of at most 255 bytes."""
    assert is_alias(alias) is well_formed


@pytest.mark.parametrize(
    ("topic", "well_formed"),
    [
        ("quota.#", True),
        ("*.updated", True),
        ("#", True),
        ("quota", True),
        ("a*", False),
        ("a..b", False),
        ("", False),
    ],
)
def test_topic(topic: str, *, well_formed: bool) -> None:
    """A topic is words and wildcards with dots between; a wildcard is a whole word."""
    assert is_topic(topic) is well_formed


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("deposit_completed:v1", "deposit_completed", 1),
        ("a.b:v9999", "a.b", 9999),
        ("a:v1:v2", "a:v1", 2),
        ("quota.updated", "quota.updated", None),
        ("a:v0", "a:v0", None),
        ("a:v01", "a:v01", None),
        ("a:v10000", "a:v10000", None),
        ("a:V1", "a:V1", None),
        (":v1", ":v1", None),
        ("a:v", "a:v", None),
    ],
)
def test_version(text: str, name: str, version: int | None) -> None:
    """A version is a number from 1 to 9999 after `:v` at the end; anything else belongs to the name."""
    assert split_version(text) == (name, version)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("quotaUpdated", "quota.updated"),
        ("quota-updated", "quota.updated"),
        ("Quota.Updated", "quota.updated"),
        ("quota/updated ", "quota.updated"),
        ("deviceStatusChanged", "device.status.changed"),
        ("billing.payment_success", "billing.payment_success"),
        ("", ""),
    ],
)
def test_corrected(wrong: str, right: str) -> None:
    """A wrong name is put right as far as its spelling tells what was meant."""
    assert corrected(wrong) == right


def test_letters() -> None:
    """Names that differ in case and separators only have the same letters."""
    assert letters("Billing-paymentSuccess") == letters("billing.payment_success") == "billingpaymentsuccess"


@pytest.mark.parametrize(
    ("topic", "key", "matches"),
    [
        ("quota.updated", "quota.updated", True),
        ("quota.updated", "quota.updated.now", False),
        ("quota.*", "quota.updated", True),
        ("quota.*", "quota", False),
        ("quota.*", "quota.a.b", False),
        ("quota.#", "quota", True),
        ("quota.#", "quota.a.b", True),
        ("#", "", True),
        ("#.updated", "updated", True),
        ("#.updated", "a.b.updated", True),
        ("a.#.b", "a.b", True),
        ("a.#.b.#.c", "a.x.b.y.z.c", True),
        ("a.#.b.#.c", "a.x.c.b", False),
        ("*.*", "a", False),
        ("*", "", True),  # An empty word is a word.
        ("quota.#", "quotas.updated", False),
    ],
)
def test_topic_matches(topic: str, key: str, *, matches: bool) -> None:
    """`*` stands for one word and `#` for any number, as on a topic exchange."""
    assert topic_matches(topic, key) is matches


def _matches(topic: list[str], key: list[str]) -> bool:
    """Say what AMQP 0-9-1 says, word by word."""
    if not topic:
        return not key
    if topic[0] == "#":
        return _matches(topic[1:], key) or (bool(key) and _matches(topic, key[1:]))
    return bool(key) and topic[0] in ("*", key[0]) and _matches(topic[1:], key[1:])


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6),
)
def test_any_topic_matches_as_specified(topic: list[str], key: list[str]) -> None:
    """The one-pass match agrees with the specification's definition."""
    assert topic_matches(".".join(topic), ".".join(key)) == _matches(topic, key)


@settings(deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_any_text(text: str) -> None:
    """No text makes the rules fail; whatever is a name is also an alias, a topic, and its own correction."""
    corrected(text)
    letters(text)
    split_version(text)
    if is_name(text):
        assert is_alias(text)
        assert is_topic(text)
        assert corrected(text) == text
