"""A whole node that knows its users by keys which an issuer publishes, and changes."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.auth.issuer import issued, jwk, jwks
from tests.auth.key_server import key_server
from tests.commands import environment
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import ServedNode, serving

UNAUTHENTICATED = 4401


async def user_of(node: ServedNode, token: str) -> str:
    """Return whom a node takes the bearer of a token for, or why it does not."""
    url = f"ws://127.0.0.1:{await node.port('public')}/ws"
    async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        with suppress(ConnectionClosedError):
            return str(json.loads(await socket.recv())["data"]["userId"])
        assert socket.close_code == UNAUTHENTICATED
        return socket.close_reason or ""


async def test_key_rotation(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """A node without a secret takes tokens by published keys; a new key soon counts, a former one no more."""
    claims = {"sub": "anna", "exp": time.time() + 600}
    old, new, other = (
        issued("ES256", "P-256", number, kid=kid, claims=claims)
        for number, kid in enumerate(("old", "new", "other"))
    )
    async with key_server() as server:
        server.answer = jwks(jwk("ES256", "P-256", 0, kid="old"))
        variables = environment(
            rabbitmq.url,
            str(prefix),
            JWT_SECRET="",
            BRIDGE_AUTH__JWKS_URL=f"{server.url}/keys",
            BRIDGE_AUTH__JWKS_REFETCH_SECONDS_MIN="1",
        )
        with serving(variables, tmp_path) as node:
            await node.ready()
            assert (await node.readiness())[1]["keys jwks_url"]
            assert await user_of(node, old) == "anna"
            assert (await user_of(node, other)).startswith("unknown_key: ")

            server.answer = jwks(jwk("ES256", "P-256", 1, kid="new"))

            async def is_known() -> bool:
                return await user_of(node, new) == "anna"

            await eventually(is_known, "the new key")
            assert (await user_of(node, old)).startswith("unknown_key: ")

            assert not any(part in node.output() for token in (old, new) for part in token.split("."))
