"""Fixtures that many tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from devel.errors import DevelError
from devel.node import PrivateNode
from tests.servers import Prefix, SharedBroker, private_node, shared_broker


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[SharedBroker]:
    """A RabbitMQ for the whole run. Use only names that start with `prefix`, and leave it as it is."""
    with ExitStack() as stack:
        try:
            with _shown(request):
                broker = stack.enter_context(shared_broker())
        except DevelError as error:
            pytest.fail(error.message, pytrace=False)
        yield broker


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> Iterator[Prefix]:
    """This test's own start of names on a broker, such as test-0123456789ab."""
    own = Prefix()
    yield own
    if "rabbitmq" in request.fixturenames:
        broker: SharedBroker = request.getfixturevalue("rabbitmq")
        if broker.given:
            asyncio.run(own.delete_all(broker.url))


@pytest.fixture
def broker_node(spare_node: PrivateNode) -> PrivateNode:
    """A running RabbitMQ that this test alone uses and may stop, kill and restart. Names: see `prefix`."""
    spare_node.start()  # A former test may have left it dead. One that is up takes no time.
    return spare_node


@pytest.fixture(scope="session")
def spare_node(request: pytest.FixtureRequest) -> Iterator[PrivateNode]:
    """The node behind `broker_node`, maybe not running: one for the whole run, as starting takes seconds."""
    with ExitStack() as stack:
        try:
            with _shown(request):
                node = stack.enter_context(private_node())
        except DevelError as error:
            pytest.skip(error.message)
        yield node


def _shown(request: pytest.FixtureRequest) -> AbstractContextManager[None]:
    """Let through to the terminal what is printed, because installing a broker takes a while."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    return capture.global_and_fixture_disabled()  # type: ignore[no-any-return]
