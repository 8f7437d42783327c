"""Events of the cloud-phone bridge: one WebSocket that comes back by itself and misses nothing.

How to use it, and its limits: docs/python-client.md of the bridge.
"""

from bridge_client.client import BridgeClosedError, Client
from bridge_client.closing import End
from bridge_client.dialect import Cause, Event, Position, Stale, TokenReason

__all__ = [
    "BridgeClosedError",
    "Cause",
    "Client",
    "End",
    "Event",
    "Position",
    "Stale",
    "TokenReason",
]
