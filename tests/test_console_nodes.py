"""Two real nodes of one cluster, seen from the console of one of them."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.commands import environment
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.test_console_api import TOKEN, operator_of
from tests.test_end_to_end import client, fresh, serving


async def test_two_nodes(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """A node shows the other, finds a user's sockets there, and misses it as soon as it has left."""
    variables = environment(
        rabbitmq.url,
        prefix,
        BRIDGE_ADMIN__TOKEN=TOKEN,
        BRIDGE_EVENT_LOG__KIND="stream",
        BRIDGE_LOG__FORMAT="json",
    )
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    with serving(variables, folders[0]) as one, serving(variables, folders[1]) as other:
        await one.ready()
        await other.ready()
        async with operator_of(one) as operator:

            async def others() -> list[str]:
                return [node["id"] for node in (await operator.get("nodes"))["nodes"] if not node["self"]]

            user = fresh("user")
            [other_id] = await eventually(others, "the other node")
            async with client(other, user):
                here, there = (await operator.get(f"users/{user}"))["nodes"]

            assert (here["self"], here["answered"], here["sockets"]) == (True, True, [])
            assert (there["self"], there["answered"]) == (False, True)
            assert [f"user:{user}" in socket["rooms"] for socket in there["sockets"]] == [True]

            other.process.send_signal(signal.SIGTERM)
            left = await one.until("presence.node_left")
            assert left["node_id"] == other_id
            assert await others() == []
