"""The naming rules for event types: `{entity}.{action}`, lower case, dots between parts."""

from __future__ import annotations

import re

NAME_CHARACTERS_MAX = 255  # An AMQP routing key is a short string (AMQP 0-9-1 section 4.2.5.3).

_PART = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:\.{_PART})+")
_ALIAS = re.compile(r"[^\s*#\x00-\x1f\x7f]+")
_VERSIONED = re.compile(r"(?P<name>.+):v(?P<version>[1-9][0-9]{0,3})")


def is_name(text: str) -> bool:
    """Tell whether text is a well-formed event type, such as `billing.payment_success`."""
    return len(text) <= NAME_CHARACTERS_MAX and _NAME.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Tell whether text could be an old routing key: anything a binding takes literally."""
    return len(text.encode()) <= NAME_CHARACTERS_MAX and _ALIAS.fullmatch(text) is not None


def is_topic(text: str) -> bool:
    """Tell whether text is a topic pattern: words, `*` and `#`, with dots between."""
    return len(text.encode()) <= NAME_CHARACTERS_MAX and all(
        part in ("*", "#") or _ALIAS.fullmatch(part) for part in text.split(".")
    )


def split_version(text: str) -> tuple[str, int | None]:
    """Split `deposit_completed:v1` into its name and version; the version is None without a suffix."""
    match = _VERSIONED.fullmatch(text)
    return (match["name"], int(match["version"])) if match else (text, None)


def corrected(text: str) -> str:
    """Return the well-formed name that the publisher most likely meant (`quotaUpdated` → `quota.updated`)."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", ".", text).lower()
    return re.sub(r"[^a-z0-9_]+", ".", words).strip(".")


def letters(text: str) -> str:
    """Return what is left of a name without case and separators, to find what was misspelt."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def topic_matches(topic: str, key: str) -> bool:
    """Tell whether a topic exchange hands a routing key to this binding (AMQP 0-9-1 section 3.1.3.3)."""
    words = key.split(".")
    reached = {0}  # How many words of the key the pattern may have used so far.
    for part in topic.split("."):
        if not reached:
            return False
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {used + 1 for used in reached if used < len(words) and part in ("*", words[used])}
    return len(words) in reached
