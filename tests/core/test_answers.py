"""The cache of answers about users: short-lived, and bounded for each and for all."""

from __future__ import annotations

from hypothesis import given, strategies as st

from bridge.core.answers import PER_USER_MAX, Answers


def test_life() -> None:
    """Yes and no are remembered alike, until their time is over."""
    answers = Answers(seconds_max=10.0, answers_max=9)
    answers.remember("u1", {"a": True, "b": False}, now=100.0)

    assert answers.known("u1", ["a", "b", "c"], now=109.9) == {"a": True, "b": False}
    assert answers.known("u1", ["a"], now=110.0) == {}
    assert answers.known("u2", ["a"], now=100.0) == {}


def test_no_life() -> None:
    """With a life of 0 s nothing is remembered."""
    answers = Answers(seconds_max=0.0, answers_max=9)
    answers.remember("u1", {"a": True}, now=100.0)

    assert answers.known("u1", ["a"], now=100.0) == {}
    assert len(answers) == 0


def test_forget() -> None:
    """What is known about one user, or about all, can be forgotten."""
    answers = Answers(seconds_max=10.0, answers_max=9)
    for user_id in ("u1", "u2", "u3"):
        answers.remember(user_id, {"a": True}, now=0.0)

    answers.forget("u1")
    answers.forget("nobody")
    assert answers.known("u1", ["a"], now=0.0) == {}
    assert answers.known("u2", ["a"], now=0.0) == {"a": True}
    answers.clear()
    assert answers.known("u2", ["a"], now=0.0) == {}
    assert len(answers) == 0


def test_past_the_limit() -> None:
    """One answer too many pushes out the user who was asked about longest ago."""
    answers = Answers(seconds_max=10.0, answers_max=3)
    answers.remember("u1", {"a": True, "b": True}, now=0.0)
    answers.remember("u2", {"a": True}, now=0.0)
    answers.remember("u3", {"a": True}, now=0.0)

    assert answers.known("u1", ["a", "b"], now=0.0) == {}
    assert len(answers) == 2


def test_past_the_limit_of_one_user() -> None:
    """A user who asks about room after room loses the oldest answers, and nobody else does."""
    answers = Answers(seconds_max=10.0, answers_max=10 * PER_USER_MAX)
    answers.remember("u2", {"a": True}, now=0.0)
    for number in range(2 * PER_USER_MAX):
        answers.remember("u1", {f"device:{number}": False}, now=0.0)

    assert len(answers) == PER_USER_MAX + 1
    assert answers.known("u2", ["a"], now=0.0) == {"a": True}
    assert answers.known("u1", [f"device:{PER_USER_MAX - 1}"], now=0.0) == {}
    assert answers.known("u1", [f"device:{PER_USER_MAX}"], now=0.0) != {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("uvw"), st.dictionaries(st.sampled_from("abcdef"), st.booleans()), st.booleans()
        )
    )
)
def test_never_an_old_answer(steps: list[tuple[str, dict[str, bool], bool]]) -> None:
    """An answer that comes back is the last one given and not forgotten, and there are few."""
    answers = Answers(seconds_max=10.0, answers_max=5)
    last: dict[tuple[str, str], bool] = {}
    for user_id, given_answers, forget in steps:
        answers.remember(user_id, given_answers, now=0.0)
        last |= {(user_id, name): answer for name, answer in given_answers.items()}
        if forget:
            answers.forget(user_id)
            last = {key: answer for key, answer in last.items() if key[0] != user_id}
        held = {
            (user, name): answer
            for user in "uvw"
            for name, answer in answers.known(user, "abcdef", now=0.0).items()
        }
        assert held.items() <= last.items()
        assert len(held) == len(answers) <= 5
