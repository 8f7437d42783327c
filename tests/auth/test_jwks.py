"""Published keys: read in time, kept when reading fails, and looked for without haste."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.auth.jwks import (
    KEYS_MAX,
    UNKNOWN_KIDS_MAX,
    UNKNOWN_SECONDS,
    KeySource,
    SourceRules,
    parse_jwks,
)
from bridge.auth.keys import key_from_pem
from bridge.auth.readers import KeysUnreadableError, read_file, read_url
from bridge.auth.tokens import TokenRules, TokenVerifier
from bridge.core.errors import KeyMissing, TokenRejected
from tests.auth.issuer import NOW, RULES, issued, jwk, jwks, public_pem
from tests.auth.key_server import KeyServer, key_server

SOURCE = SourceRules(refresh_seconds=600.0, refetch_seconds_min=10.0, wait_seconds_max=5.0)
OLD, NEW = (jwk("ES256", "P-256", number, kid=name) for number, name in enumerate(("old", "new")))
NO_KEYS = TokenRules(keys=(), claims=RULES.claims)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A server that publishes the old key."""
    async with key_server() as running:
        running.answer = jwks(OLD)
        yield running


@pytest.fixture
def clock() -> Clock:
    """The clock of the source."""
    return Clock()


@asynccontextmanager
async def verifying(
    server: KeyServer, clock: Callable[[], float], rules: TokenRules = NO_KEYS, source: SourceRules = SOURCE
) -> AsyncIterator[tuple[TokenVerifier, KeySource]]:
    """Verify with the keys of a server for the length of the context."""
    read = partial(read_url, f"{server.url}/keys", bytes_max=100_000, seconds_max=5.0)
    keys = KeySource("jwks_url", read, source, clock=clock)
    verifier = TokenVerifier(rules, [keys])
    running = asyncio.create_task(verifier.run())
    try:
        yield verifier, keys
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def identify(verifier: TokenVerifier, token: str) -> str:
    """Return the user of a token as the socket edge does it."""
    try:
        return verifier.verify(token, NOW).user_id
    except KeyMissing as missing:
        await verifier.fetch_keys(missing.kid)
        return verifier.verify(token, NOW).user_id


async def reason(verifier: TokenVerifier, token: str) -> str:
    """Return why a token is rejected."""
    with pytest.raises(TokenRejected) as caught:
        await identify(verifier, token)
    return caught.value.reason


async def test_key_is_found(server: KeyServer, clock: Clock) -> None:
    """A token by a published key is verified, whether its kid says which, or it has none."""
    async with verifying(server, clock) as (verifier, keys):
        assert await identify(verifier, issued("ES256", "P-256", 0, kid="old")) == "u1"
        assert await identify(verifier, issued("ES256", "P-256", 0)) == "u1"
        assert await reason(verifier, issued("ES256", "P-256", 1)) == "bad_signature"

        assert keys.health().ok
    assert server.requests == 1


async def test_rotation(server: KeyServer, clock: Clock) -> None:
    """A token by a new key has the keys read again; what the old one signed counts as long as it is there."""
    old, new = issued("ES256", "P-256", 0, kid="old"), issued("ES256", "P-256", 1, kid="new")
    async with verifying(server, clock) as (verifier, _):
        assert await identify(verifier, old) == "u1"
        server.answer = jwks(OLD, NEW)
        clock.now += SOURCE.refetch_seconds_min
        assert await identify(verifier, new) == "u1"
        assert await identify(verifier, old) == "u1"

        server.answer = jwks(NEW)  # The old one leaked.
        clock.now += SOURCE.refetch_seconds_min
        assert await reason(verifier, issued("ES256", "P-256", 1, kid="other")) == "unknown_key"
        assert await identify(verifier, new) == "u1"
        clock.now += SOURCE.refetch_seconds_min
        assert await reason(verifier, old) == "unknown_key"  # Though it was verified and remembered before.


async def test_rotation_beside_a_key_without_a_name(server: KeyServer, clock: Clock) -> None:
    """A key that the settings hold without a name is tried, and does not keep a new one from being found."""
    rules = replace(NO_KEYS, keys=(key_from_pem(public_pem("P-256", 2)),))
    async with verifying(server, clock, rules) as (verifier, _):
        assert await identify(verifier, issued("ES256", "P-256", 2, kid="any")) == "u1"
        server.answer = jwks(OLD, NEW)
        clock.now += SOURCE.refetch_seconds_min
        assert await identify(verifier, issued("ES256", "P-256", 1, kid="new")) == "u1"
        assert await reason(verifier, issued("ES256", "P-256", 1, kid="other")) == "bad_signature"


async def test_keys_are_refreshed(server: KeyServer) -> None:
    """Without anybody asking, keys are read again when they are old."""
    new = issued("ES256", "P-256", 1, kid="new")
    often = SourceRules(refresh_seconds=0.01, refetch_seconds_min=3_600.0, wait_seconds_max=5.0)
    async with verifying(server, asyncio.get_running_loop().time, source=often) as (verifier, keys):
        changed = asyncio.Event()
        await keys.fetch("old")
        with pytest.raises(TokenRejected):
            verifier.verify(new, NOW)
        renew = keys.on_change

        def renewed() -> None:
            renew()
            changed.set()

        keys.on_change = renewed
        server.answer = jwks(NEW)
        async with asyncio.timeout(5):
            await changed.wait()

        assert verifier.verify(new, NOW).user_id == "u1"


async def test_a_thousand_ask_once(server: KeyServer, clock: Clock) -> None:
    """A thousand sockets with one new kid, and ten with others, make one request."""
    async with verifying(server, clock) as (verifier, _):
        await identify(verifier, issued("ES256", "P-256", 0, kid="old"))
        server.answer = jwks(OLD, NEW)
        clock.now += SOURCE.refetch_seconds_min
        new = [issued("ES256", "P-256", 1, kid="new")] * 1_000
        unknown = [issued("ES256", "P-256", 2, kid=f"k{number}") for number in range(10)]

        server.may_answer.clear()
        asking = [asyncio.create_task(identify(verifier, token)) for token in new]
        server.asked.clear()
        await server.asked.wait()
        late = [asyncio.create_task(reason(verifier, token)) for token in unknown]
        await asyncio.sleep(0)  # Let them begin to wait for the same answer.
        server.may_answer.set()

        assert set(await asyncio.gather(*asking)) == {"u1"}
        assert set(await asyncio.gather(*late)) == {"unknown_key"}
    assert server.requests == 2


async def test_flood_of_unknown_kids(server: KeyServer, clock: Clock) -> None:
    """Tokens with made-up kids cause one request in each interval, and a bounded memory of them."""
    token = issued("ES256", "P-256", 1, kid="KID")
    async with verifying(server, clock) as (verifier, keys):
        await identify(verifier, issued("ES256", "P-256", 0, kid="old"))
        for round_number in range(3):
            clock.now += SOURCE.refetch_seconds_min
            for number in range(20):
                kid = f"flood-{round_number}-{number}"
                assert await reason(verifier, issued("ES256", "P-256", 1, kid=kid)) == "unknown_key"

        assert server.requests == 1 + 3
        for number in range(UNKNOWN_KIDS_MAX + 10):
            clock.now += SOURCE.refetch_seconds_min
            keys._asked[f"more-{number}"] = None
            keys._remember_unknown()
        assert len(keys._unknown) == UNKNOWN_KIDS_MAX
    assert await reason(TokenVerifier(RULES), token) == "wrong_algorithm"


async def test_unknown_kids_are_remembered(server: KeyServer, clock: Clock) -> None:
    """A kid that was not found is not looked for again for a while, others are."""
    token = issued("ES256", "P-256", 1, kid="new")
    async with verifying(server, clock) as (verifier, keys):
        assert await reason(verifier, token) == "unknown_key"
        clock.now += SOURCE.refetch_seconds_min
        assert await reason(verifier, token) == "unknown_key"
        assert server.requests == 1
        assert keys.may_find("another")

        clock.now += UNKNOWN_SECONDS
        server.answer = jwks(NEW)
        assert await identify(verifier, token) == "u1"
    assert server.requests == 2


async def test_outage(server: KeyServer, clock: Clock) -> None:
    """While keys cannot be read, the last good ones count, and the node says so, once."""
    old = issued("ES256", "P-256", 0, kid="old")
    with capture_logs() as logged:
        async with verifying(server, clock) as (verifier, keys):
            await identify(verifier, old)
            for status, answer in ((500, b""), (200, b"no JSON"), (200, b"{}"), (200, jwks())):
                server.status, server.answer = status, answer
                clock.now += SOURCE.refetch_seconds_min
                assert await reason(verifier, issued("ES256", "P-256", 1, kid="new")) == "unknown_key"
                assert await identify(verifier, old) == "u1"
                assert keys.health().ok
                assert keys.health().detail == f"1 keys; {keys.trouble}"

            server.status, server.answer = 200, jwks(OLD, NEW)
            clock.now += SOURCE.refetch_seconds_min
            assert await identify(verifier, issued("ES256", "P-256", 1, kid="new")) == "u1"
            assert keys.health().detail == "2 keys"
    assert [line["event"] for line in logged] == [
        "auth.keys_changed",
        "auth.keys_unreadable",
        "auth.keys_changed",
    ]


async def test_outage_from_the_start(server: KeyServer, clock: Clock) -> None:
    """A node that never had keys is not ready; it has no other way to know anybody."""
    server.status = 503
    async with verifying(server, clock) as (verifier, _):
        assert await reason(verifier, issued("ES256", "P-256", 0, kid="old")) == "unknown_key"

        (health,) = verifier.health()
        assert (health.ok, health.vital) == (False, True)
        assert health.detail == "0 keys; answered with status 503"
    sources = [source_of(clock), source_of(clock, jwks(OLD))]
    assert [part.vital for part in TokenVerifier(RULES, sources[:1]).health()] == [False]
    verifier = TokenVerifier(NO_KEYS, sources)
    await sources[1].refresh()
    assert [(part.ok, part.vital) for part in verifier.health()] == [(False, False), (True, False)]


def source_of(clock: Clock, *answers: bytes | Exception) -> KeySource:
    """Return a source that reads these, one after the other."""
    coming = iter(answers)

    async def read() -> bytes:
        answer = next(coming)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return KeySource("test", read, SOURCE, clock=clock)


async def test_recovery_is_logged(clock: Clock) -> None:
    """When the same keys can be read again, that is logged, too."""
    source = source_of(clock, jwks(OLD), KeysUnreadableError("down"), KeysUnreadableError("down"), jwks(OLD))

    with capture_logs() as logged:
        for _ in range(4):
            await source.refresh()

    assert [line["event"] for line in logged] == [
        "auth.keys_changed",
        "auth.keys_unreadable",
        "auth.keys_readable",
    ]


async def test_pauses_grow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After failures it is tried again soon, then later and later, up to a limit."""
    monkeypatch.setattr("bridge.auth.jwks.random.uniform", lambda _, high: high)
    down = [KeysUnreadableError("down")] * 2_000
    source = source_of(clock, *down, jwks(OLD))

    pauses = []
    for _ in down:
        await source.refresh()
        pauses.append(source._pause_seconds())
    await source.refresh()

    assert pauses[:7] == [2, 4, 8, 16, 32, 60, 60]
    assert max(pauses) == 60
    assert source._pause_seconds() == SOURCE.refresh_seconds


async def test_waiting_has_an_end(server: KeyServer, clock: Clock) -> None:
    """Whoever waits for a server that does not answer waits for so long and no longer."""
    server.may_answer.clear()
    impatient = SourceRules(refresh_seconds=600.0, refetch_seconds_min=10.0, wait_seconds_max=0.05)
    async with verifying(server, clock, source=impatient) as (verifier, _):
        assert await reason(verifier, issued("ES256", "P-256", 0, kid="old")) == "unknown_key"


async def test_waiting_can_be_cancelled(server: KeyServer, clock: Clock) -> None:
    """One socket that goes away while it waits takes nothing from the others."""
    old = issued("ES256", "P-256", 0, kid="old")
    server.may_answer.clear()
    async with verifying(server, clock) as (verifier, _):
        gone, stays = (asyncio.create_task(identify(verifier, old)) for _ in range(2))
        await server.asked.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        server.may_answer.set()

        assert await stays == "u1"
    assert server.requests == 1


async def test_stopping_lets_everybody_go(server: KeyServer, clock: Clock) -> None:
    """When the node stops in the middle of reading, nobody goes on waiting."""
    server.may_answer.clear()
    async with verifying(server, clock) as (verifier, _):
        waiting = asyncio.create_task(reason(verifier, issued("ES256", "P-256", 0, kid="old")))
        await server.asked.wait()
        await asyncio.sleep(0)

    assert await waiting == "unknown_key"


async def test_file_is_read_again(tmp_path: Path, clock: Clock) -> None:
    """A change of a file counts at the next reading; one that cannot be used leaves what was."""
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(OLD))
    source = KeySource(
        "jwks_path",
        partial(read_file, file, bytes_max=10_000, seconds_max=5.0),
        SOURCE,
        symmetric=True,
        clock=clock,
    )
    verifier = TokenVerifier(NO_KEYS, [source])
    await source.refresh()
    assert verifier.verify(issued("ES256", "P-256", 0, kid="old"), NOW).user_id == "u1"

    for broken in (b"", b"{", b'{"keys": 5}', b'{"keys": [{}]}'):
        file.write_bytes(broken)
        await source.refresh()
        assert verifier.verify(issued("ES256", "P-256", 0, kid="old"), NOW).user_id == "u1"
    file.write_bytes(jwks(NEW))
    await source.refresh()

    assert verifier.verify(issued("ES256", "P-256", 1, kid="new"), NOW).user_id == "u1"
    with pytest.raises(TokenRejected):
        verifier.verify(issued("ES256", "P-256", 0, kid="old"), NOW)


async def test_only_what_could_be_published_is_looked_for(clock: Clock) -> None:
    """Tokens with an HMAC or a nonsense algorithm never cause a request: such keys are not published."""
    verifier = TokenVerifier(RULES, [source_of(clock)])

    for token in (RULES.keys[0].sign({"sub": "u1"}), "eyJhbGciOiJub25lIn0.e30."):
        with pytest.raises(TokenRejected) as caught:
            verifier.verify(token, NOW)
        assert not isinstance(caught.value, KeyMissing)
    with pytest.raises(KeyMissing) as missing:
        verifier.verify(issued("RS256", "RSA", 0, kid="some"), NOW)
    assert missing.value.kid == "some"


async def test_without_sources_nothing_is_fetched() -> None:
    """Without published keys, fetching and running are over at once."""
    verifier = TokenVerifier(RULES)

    await verifier.fetch_keys("any")
    await verifier.run()

    assert verifier.health() == []


SETS = [
    (b"", "is not JSON"),
    (b"[]", "is not a JSON Web Key Set"),
    (b'{"keys": {}}', "is not a JSON Web Key Set"),
    (b'{"keys": []}', "has no usable key"),
    (jwks({"kty": "RSA"}), "has no usable key; key 0 is broken"),
    (jwks(*[OLD] * (KEYS_MAX + 1)), f"has more than {KEYS_MAX} keys"),
    (b"[" * 10_000, "is not JSON"),
]


@pytest.mark.parametrize(("data", "problem"), SETS, ids=[row[1] for row in SETS])
def test_unusable_sets(data: bytes, problem: str) -> None:
    """A set that has no usable key is refused, and why."""
    with pytest.raises(KeysUnreadableError) as caught:
        parse_jwks(data, symmetric=False)

    assert str(caught.value).startswith(problem)


def test_unknown_kinds_are_left_out() -> None:
    """Keys that nobody here understands do not spoil the others."""
    found = parse_jwks(
        json.dumps({"keys": [{"kty": "AKP"}, OLD, 5, {**NEW, "use": "enc"}], "more": 1}).encode(),
        symmetric=False,
    )

    assert [key.kid for key in found.keys] == ["old"]
    assert found.problems == (
        "key 0 is of a kind that is not known here",
        "key 2 is not a JSON object",
        "key 3 is not for verifying signatures",
    )
