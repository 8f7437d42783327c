"""One trace from the publisher to the page, through real nodes that share a stream of a real RabbitMQ."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect as connect_socket

from tests.collector import collecting
from tests.commands import environment
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import Frame, ServedNode, bus_of, client, fresh, now, serving

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE = f"00-{TRACE_ID}-{PARENT_ID}-01"
UNSAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-00"


def lines_of(node: ServedNode, trace_id: str) -> list[dict[str, Any]]:
    """Return the log lines about a trace."""
    lines = [line for line in node.output().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in map(json.loads, lines) if line.get("trace_id") == trace_id]


async def missed_by(node: ServedNode, user: str, *, since: Frame) -> list[Frame]:
    """Come back with a position; return the two events that were missed."""
    async with connect_socket(f"ws://127.0.0.1:{await node.port('public')}/ws") as socket:
        await socket.send(json.dumps({"op": "hello", "token": node.token(user), "since": since}))
        assert json.loads(await socket.recv())["data"]["recovered"]
        return [json.loads(await socket.recv()) for _ in range(2)]


async def test_a_trace_through_two_nodes(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """The publisher's trace is in live and missed frames, log lines, and, if sampled, spans of both nodes."""
    user = fresh("traced")
    async with collecting() as collector:
        with ExitStack() as stack:
            nodes = []
            for name in ("one", "two"):
                (folder := tmp_path / name).mkdir()
                variables = environment(
                    rabbitmq.url,
                    prefix,
                    BRIDGE_EVENT_LOG__KIND="stream",
                    BRIDGE_LOG__LEVEL="DEBUG",
                    BRIDGE_TRACING__FRAMES="true",
                    BRIDGE_TRACING__SPANS="true",
                    OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                )
                nodes.append(stack.enter_context(serving(variables, folder)))
            for node in nodes:
                await node.ready()
            async with (
                bus_of(rabbitmq.url, prefix) as bus,
                client(nodes[0], user) as page,
                client(nodes[1], user) as other,
            ):
                sound = {"userId": user, "timestamp": now(), "quotaId": "q1", "limits": {}, "usage": {}}
                for event_id, trace, body in (
                    ("refused", TRACE, {}),
                    ("silent", UNSAMPLED, sound),
                    ("traced", TRACE, sound),
                ):
                    await bus.publish(
                        "quota.updated",
                        json.dumps(body).encode(),
                        message_id=event_id,
                        headers={"traceparent": trace},
                    )
                frames = [await each.gets("traced") for each in (page, other)]
                silent = await page.gets("silent")
                missed = await missed_by(nodes[1], user, since=other.hello["data"]["position"])
            lines = await eventually(
                lambda: [line for node in nodes for line in lines_of(node, TRACE_ID)][1:], "two lines"
            )
            for node in nodes:
                node.process.terminate()
            statuses = [await node.status() for node in nodes]

    assert statuses == [0, 0]
    assert [frame["trace"] for frame in frames] == [TRACE, TRACE]
    assert silent["trace"] == UNSAMPLED
    assert [frame["trace"] for frame in missed] == [UNSAMPLED, TRACE]
    told = {line["event"]: line["event_id"] for line in lines}
    told |= {line["event"]: line["event_id"] for node in nodes for line in lines_of(node, TRACE_ID)}
    assert told == {"ingest.dead_letter": "refused", "ingest.settled": "traced"}
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert {(span.parent_id, span.links) for span in collector.spans} == {(PARENT_ID, (PARENT_ID,))}
    assert {span.service for span in collector.spans} == {"cloudphone-bridge"}
    taken = collector.named(f"process {prefix}.quota")
    assert sorted((span.attributes["bridge.fate"], span.failed) for span in taken) == [
        ("dead", True),
        ("logged", False),
    ]
    handed_out = collector.named("fan out")
    assert len({span.node for span in handed_out}) == len(handed_out) == len(nodes)
    assert [span.attributes["bridge.sockets"] for span in handed_out] == [1, 1]
    assert all(0 < span.attributes["bridge.publish_to_socket_seconds"] < 15 for span in handed_out)
