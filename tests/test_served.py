"""What strangers and storms meet in a bridge that runs, between a real RabbitMQ and real WebSockets."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from tests.commands import environment
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import bus_of, client, fresh, publish_quota, serving
from tests.ws.conftest import write_certificate

UPDATES = 300


async def test_a_storm(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """Of a storm a browser sees little, and always the end; it is counted and told once."""
    user, other = fresh("stormy"), fresh("calm")
    variables = environment(rabbitmq.url, prefix, BRIDGE_STORM__EVENTS_PER_SECOND_MAX="5")
    with serving(variables, tmp_path) as node:
        await node.ready()
        async with (
            bus_of(rabbitmq.url, prefix) as bus,
            client(node, user) as page,
            client(node, other) as another,
        ):
            for number in range(UPDATES):
                last = await publish_quota(bus, user, usage={"devices": number})
            calm = await publish_quota(bus, other)
            await another.gets(calm)
            frame = await page.gets(last)

            seen = [one["data"]["usage"]["devices"] for one in page.frames if "offset" in one]
            metrics = await node.metrics()

    assert frame["data"]["usage"]["devices"] == UPDATES - 1
    assert seen == sorted(seen)
    assert 5 <= len(seen) < UPDATES / 2
    left_out = (
        f'bridge_storm_events_total{{outcome="conflated",type="quota.updated"}} {UPDATES - len(seen)}.0'
    )
    assert left_out in metrics
    assert node.output().count('"ingest.storm"') == 1


async def test_a_renewed_certificate(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """A served process takes up a new certificate by itself."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(*files)
    variables = environment(
        rabbitmq.url, prefix, BRIDGE_WS__TLS_CERTIFICATE=str(files[0]), BRIDGE_WS__TLS_KEY=str(files[1])
    )
    with serving(variables, tmp_path) as node:
        port = await node.port("public")
        write_certificate(*files)
        await node.until("ws.certificate_loaded")

        shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=5.0)

    assert shown == files[0].read_text()


async def test_a_port_that_strangers_hold(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """While more connections than there are sockets idle in their handshakes, a client is served."""
    user = fresh("user")
    variables = environment(
        rabbitmq.url, prefix, BRIDGE_WS__SOCKETS_MAX="10", BRIDGE_WS__HANDSHAKES_PER_ADDRESS_MAX="50"
    )
    with serving(variables, tmp_path) as node:
        await node.ready()
        port = await node.port("public")
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        async with bus_of(rabbitmq.url, prefix) as bus, client(node, user) as page:
            await page.gets(await publish_quota(bus, user))
            await eventually(lambda: page.events, "an event")
        for _, writer in idle:
            writer.transport.abort()
