"""The sockets of one user, wherever they are in their lives: to tell them something, or to send them away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.commands import Unread
from bridge.core.hub import Hub
from bridge.core.revocation import Change
from bridge.core.rooms import user_room
from bridge.ws.desk import Desk

if TYPE_CHECKING:
    from bridge.ws.connection import Connection


class Audience:
    """Finds the sockets of a user on this node.

    Those that are live are in the user's room. Those that are sent what they have missed are in no room
    meanwhile, and those that wait for an answer may not be open yet; both are few, and looked through.
    """

    def __init__(self, hub: Hub[Connection], desk: Desk) -> None:
        """Look there."""
        self._hub = hub
        self._desk = desk
        self.replaying: set[Connection] = set()  # Kept by the connections.

    def of(self, user_id: str) -> list[Connection]:
        """Return the sockets of a user, each once."""
        places = (self._hub.members(user_room(user_id)), self.replaying, self._desk.waiting)
        # Others can be in the user's room as well, if their tokens claim it.
        return list(
            dict.fromkeys(each for place in places for each in place if each.session.user_id == user_id)
        )

    def tell(self, user_id: str, notice: Unread) -> None:
        """Tell all sockets of a user how much is unread, those that are about to open with their answer."""
        for connection in self.of(user_id):
            connection.guarded(connection.tell, notice)

    def access_changed(self, change: Change) -> None:
        """Have the sockets of a user obey a change, at once: what is logged after it finds them changed."""
        for connection in self.of(change.user_id):
            connection.guarded(connection.access_changed, change)
