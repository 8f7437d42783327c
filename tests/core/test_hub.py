"""Who is in which room."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from bridge.core.hub import Hub


def hub_of(**rooms: str) -> Hub[str]:
    """Return a hub with these rooms, each with a member per character."""
    hub: Hub[str] = Hub()
    for room, members in rooms.items():
        for member in members:
            hub.join(member, room)
    return hub


def audience(hub: Hub[str], *targets: str) -> list[tuple[str, str]]:
    """Return whom each target serves, in order."""
    return [(room, "".join(members)) for room, members in hub.audience(targets)]


def test_members_in_the_order_of_joining() -> None:
    """A room's members are those who joined, in that order."""
    assert list(hub_of(a="yxz").members("a")) == ["y", "x", "z"]


def test_joining_twice() -> None:
    """Joining again changes nothing."""
    assert list(hub_of(a="xyx").members("a")) == ["x", "y"]


def test_leaving() -> None:
    """Who leaves is gone from those rooms and from no other; leaving where one is not is no mistake."""
    hub = hub_of(a="xy", b="x")

    hub.leave("x", ["a", "c", "a"])
    hub.leave("z", ["a"])

    assert list(hub.members("a")) == ["y"]
    assert list(hub.members("b")) == ["x"]


def test_empty_rooms_do_not_exist() -> None:
    """A room is there while it has members."""
    hub = hub_of(a="x", b="xy")
    assert len(hub) == 2

    hub.leave("x", ["a", "b"])

    assert len(hub) == 1
    assert list(hub.members("a")) == []


def test_looking_makes_no_rooms() -> None:
    """To ask for a room's members or audience does not create it."""
    hub = hub_of()

    assert list(hub.members("a")) == []
    assert audience(hub, "a", "b") == []
    assert len(hub) == 0


def test_audience_of_several_targets() -> None:
    """A member of several targets is served in the first of them only."""
    hub = hub_of(device="xy", user="xz", role="z")

    assert audience(hub, "device", "user", "role") == [("device", "xy"), ("user", "z")]
    assert audience(hub, "user", "device", "nobody") == [("user", "xz"), ("device", "y")]


def test_the_same_target_twice() -> None:
    """A target that is named twice is served once."""
    assert audience(hub_of(a="xy"), "a", "a") == [("a", "xy")]


def test_leaving_while_being_served() -> None:
    """Who leaves, or makes others leave, while an audience is served does not disturb it."""
    hub = hub_of(a="xyz", b="xw")
    served = []

    for room, members in hub.audience(["a", "b"]):
        for member in members:
            served.append((room, member))
            hub.leave(member, ["a", "b"])

    assert served == [("a", "x"), ("a", "y"), ("a", "z"), ("b", "w")]
    assert len(hub) == 0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("xyz"), st.sampled_from("abcd"))),
    st.lists(st.sampled_from("abcd")),
)
def test_everybody_once(moves: list[tuple[bool, str, str]], targets: list[str]) -> None:
    """After any joining and leaving, everybody in any target is served exactly once."""
    hub: Hub[str] = Hub()
    model: dict[str, set[str]] = {}
    for joins, member, room in moves:
        if joins:
            hub.join(member, room)
            model.setdefault(room, set()).add(member)
        else:
            hub.leave(member, [room])
            model.get(room, set()).discard(member)

    served = [member for _, members in hub.audience(targets) for member in members]

    assert len(served) == len(set(served))
    assert set(served) == set().union(*(model.get(room, set()) for room in targets))
    assert len(hub) == sum(map(bool, model.values()))
