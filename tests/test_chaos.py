"""A short cut of `make chaos`: the faults that tell most, played small."""

from __future__ import annotations

import secrets

import pytest

from devel.node import PrivateNode
from tests.chaos.cluster import Cluster
from tests.chaos.scenarios import (
    Scenario,
    broker_killed,
    dead_letter_queue_full,
    killed_between_append_and_ack,
    node_killed,
    rolling_restart,
    stream_deleted,
)
from tests.chaos.stage import SHORT, Stage


@pytest.mark.parametrize(
    "scenario",
    [
        node_killed,
        killed_between_append_and_ack,
        broker_killed,
        dead_letter_queue_full,
        rolling_restart,
        stream_deleted,
    ],
)
async def test_nothing_is_lost_or_doubled(scenario: Scenario, broker_node: PrivateNode) -> None:
    """Whatever breaks, every client gets every event, once and in order."""
    stage = Stage(broker_node, Cluster(broker_node.url, f"chaos{secrets.token_hex(3)}"), SHORT)
    try:
        tally = await scenario(stage)
    finally:
        await stage.close()

    assert (tally.lost, tally.doubled, tally.misordered) == (0, 0, 0)
    # Only a log that began anew may keep a client from resuming, and then it is told.
    assert tally.unrecovered == (tally.clients if scenario is stream_deleted else 0)
