"""The API of the operator console: what the page shows and does, and what an operator scripts with curl."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import structlog
from aiohttp import web
from pydantic import Field

from bridge.admin.console_streams import Filter, Sampler, Streams, Tail, stream_samples, stream_tail
from bridge.admin.console_web import (
    ApiError,
    Body,
    address_of,
    answer,
    answer_encoded,
    body_of,
    encoded,
    number_of,
    parameters_of,
)
from bridge.core.access import AccessRules, Principal
from bridge.core.by_hand import disconnection, event_by_hand, judge
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.console import DomainNow, Letter, LogNow, OperatorBus
from bridge.core.delivery import Delivery
from bridge.core.errors import Refused
from bridge.core.examples import sample
from bridge.core.explain import explain, find_type
from bridge.core.health import Health, is_ready
from bridge.core.presence import NodeAnswer, NodeSeen
from bridge.core.rooms import parse_room, user_room
from bridge.core.schema import published_schema
from bridge.core.times import iso_utc
from bridge.core.window import Window

log = structlog.get_logger()

LETTERS_SHOWN_MAX, LETTERS_SHOWN = 100, 50
IDS_MAX = 500

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Text = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class Node:
    """What the API knows of its node; callables tell how it is at the moment."""

    version: str
    development: bool
    body_bytes_max: int
    catalogue: Catalogue
    access: AccessRules
    window: Window
    bus: OperatorBus
    health: Callable[[], Sequence[Health]]
    log: Callable[[], LogNow]
    domains: Callable[[], Sequence[DomainNow]]
    entries_seen: Callable[[], int]
    nodes: Callable[[], Sequence[NodeSeen]]
    ask_sockets: Callable[[str], Awaitable[Sequence[NodeAnswer]]]


class LettersBody(Body):
    """Which dead letters."""

    ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=IDS_MAX, strict=False)]


class DisconnectBody(Body):
    """How to disconnect a user."""

    reason: Text | None = None
    token_id: Text | None = None


class ExplainBody(Body):
    """What to explain."""

    user: Text
    room: Text
    event: Text
    roles: Annotated[tuple[Text, ...], Field(max_length=100, strict=False)] = ()
    claims: Annotated[tuple[Text, ...], Field(max_length=100, strict=False)] = ()


class PublishBody(Body):
    """What to publish."""

    type: Text
    data: dict[str, Any]
    message_id: Text | None = None


class Api:
    """The handlers. `streams` are ended by whoever owns them."""

    def __init__(self, node: Node, sampler: Sampler, streams: Streams) -> None:
        """Speak for this node."""
        self._node = node
        self._sampler = sampler
        self._streams = streams
        domains = node.catalogue.domains.values()
        self._domain_of = {kind.name: domain.name for domain in domains for kind in domain.event_types}

    def routes(self) -> list[web.RouteDef]:
        """Return every endpoint, below the prefix of the API."""
        return [
            web.get("/overview", self._overview),
            web.get("/samples", self._samples, allow_head=False),
            web.get("/nodes", self._nodes),
            web.get("/domains", self._domains),
            web.get("/dead", self._dead),
            web.post("/dead/replay", self._replay),
            web.post("/dead/purge", self._purge),
            web.get("/tail", self._tail, allow_head=False),
            web.get("/users/{id}", self._user),
            web.post("/users/{id}/disconnect", self._disconnect),
            web.post("/explain", self._explain),
            web.get("/types", self._types),
            web.post("/publish", self._publish),
        ]

    # The node and its cluster.

    async def _overview(self, request: web.Request) -> web.Response:
        parameters_of(request)
        node, parts = self._node, self._node.health()
        own = next(seen.status for seen in node.nodes() if seen.own)
        return answer(
            {
                "node": {
                    "id": own.id,
                    "name": own.name,
                    "version": node.version,
                    "startedAt": _iso(own.started_at),
                    "development": node.development,
                    "ready": is_ready(parts),
                    "degraded": not all(part.ok for part in parts),
                    "parts": [asdict(part) for part in parts],
                },
                "log": node.log(),
            }
        )

    async def _samples(self, request: web.Request) -> web.StreamResponse:
        parameters_of(request)
        return await stream_samples(request, self._streams, self._sampler)

    async def _nodes(self, request: web.Request) -> web.Response:
        parameters_of(request)
        return answer({"nodes": [_node_json(seen) for seen in self._node.nodes()]})

    async def _domains(self, request: web.Request) -> web.Response:
        parameters_of(request)
        return answer({"domains": self._node.domains()})

    # Dead letters.

    async def _dead(self, request: web.Request) -> web.Response:
        limit = parameters_of(request, "limit").get("limit", str(LETTERS_SHOWN))
        found = await self._node.bus.letters(number_of(limit, "limit", least=1, most=LETTERS_SHOWN_MAX))
        letters = [_letter_json(letter) for letter in found.letters]
        return answer({"letters": letters, "total": found.total, "shownMax": LETTERS_SHOWN_MAX})

    async def _replay(self, request: web.Request) -> web.Response:
        ids = (await body_of(request, LettersBody)).ids
        replayed = await self._node.bus.replay(frozenset(ids))
        log.info("console.replayed", letters=len(replayed), address=address_of(request))
        return answer({"replayed": _in_order(ids, replayed), "missing": _in_order(ids, set(ids) - replayed)})

    async def _purge(self, request: web.Request) -> web.Response:
        ids = (await body_of(request, LettersBody)).ids
        purged = await self._node.bus.purge(frozenset(ids))
        log.warning("console.purged", letters=len(purged), address=address_of(request))
        return answer({"purged": _in_order(ids, purged), "missing": _in_order(ids, set(ids) - purged)})

    # Events and users.

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        wanted = Filter.of(parameters_of(request, "type", "domain", "user", "room", "text"))
        return await stream_tail(request, self._streams, self._tail_of_now(), wanted)

    def _tail_of_now(self) -> Tail:
        return Tail(self._node.window, self._node.entries_seen, lambda name: self._domain_of.get(name, ""))

    async def _user(self, request: web.Request) -> web.Response:
        parameters_of(request)
        user_id = _user_id(request)
        answers = await self._node.ask_sockets(user_id)
        recent = self._tail_of_now().of_room(user_room(user_id))
        head = {"userId": user_id, "nodes": [_answer_json(one) for one in answers]}
        return answer_encoded(encoded(head)[:-1] + b',"recent":[' + b",".join(recent) + b"]}")

    async def _disconnect(self, request: web.Request) -> web.Response:
        asked = await body_of(request, DisconnectBody)
        delivery = disconnection(
            _user_id(request),
            token_id=asked.token_id,
            reason=asked.reason,
            now=datetime.now(UTC),
            message_id=uuid4().hex,
        )
        await self._send(delivery, request)
        return answer({"messageId": delivery.message_id})

    async def _explain(self, request: web.Request) -> web.Response:
        asked = await body_of(request, ExplainBody)
        try:
            event_type = find_type(self._node.catalogue, asked.event)
        except Refused as refused:
            raise ApiError(404, "unknown_type", refused.message, field="event") from refused
        principal = Principal(asked.user, frozenset(asked.roles), asked.claims)
        return answer(explain(self._node.access, principal, event_type, asked.room))

    async def _types(self, request: web.Request) -> web.Response:
        parameters_of(request)
        return answer({"types": [self._type_json(one) for one in self._node.catalogue.event_types]})

    async def _publish(self, request: web.Request) -> web.Response:
        if not self._node.development:
            message = (
                "publishing is for development; set mode to development, or use python -m bridge publish"
            )
            raise ApiError(403, "not_in_production", message)
        asked = await body_of(request, PublishBody)
        try:
            delivery = event_by_hand(
                asked.type,
                asked.data,
                now=datetime.now(UTC),
                message_id=asked.message_id or uuid4().hex,
            )
        except ValueError as exc:
            raise ApiError(400, "too_long", str(exc)) from exc
        return answer({"messageId": delivery.message_id, "targets": await self._send(delivery, request)})

    async def _send(self, delivery: Delivery, request: web.Request) -> list[str]:
        """Publish what the bridge would take; return the rooms that it goes to."""
        node = self._node
        verdict = judge(node.catalogue, delivery, body_bytes_max=node.body_bytes_max)
        if verdict.refused is not None:
            refused = verdict.refused
            raise ApiError(
                400,
                refused.reason.value,
                f"the bridge would refuse this: {refused.message}",
                field=refused.field,
            )
        await node.bus.publish(delivery)
        log.info(
            "console.published",
            event_type=verdict.event_type,
            event_id=verdict.event_id,
            address=address_of(request),
        )
        return list(dict.fromkeys(target for entry in verdict.entries for target in entry.targets))

    def _type_json(self, event_type: EventType) -> dict[str, Any]:
        kinds = {room.kind: None for name in sample(event_type).targets() if (room := parse_room(name))}
        return {
            "name": event_type.name,
            "version": event_type.version,
            "domain": self._domain_of[event_type.name],
            "aliases": event_type.aliases,
            "schema": published_schema(event_type, timestamp_required=False),
            "example": event_type.model.EXAMPLE,
            "rooms": list(kinds),
            "policy": event_type.overflow.policy.value,
            "ageSecondsMax": event_type.age_seconds_max,
        }


def _user_id(request: web.Request) -> str:
    user_id = request.match_info["id"]
    if parse_room(user_room(user_id)) is None:
        message = "a user's id has 1 to 128 characters, without white space, commas and asterisks"
        raise ApiError(400, "bad_user", message, field="id")
    return user_id


def _in_order(ids: Sequence[str], of: Collection[str]) -> list[str]:
    return [one for one in dict.fromkeys(ids) if one in of]


def _iso(at: float) -> str:
    return iso_utc(datetime.fromtimestamp(at, UTC))


def _node_json(seen: NodeSeen) -> dict[str, Any]:
    status = seen.status.model_dump(by_alias=True, exclude_none=True)
    return {
        **status,
        "startedAt": _iso(seen.status.started_at),
        "seenSecondsAgo": round(seen.seen_seconds_ago, 1),
        "self": seen.own,
    }


def _answer_json(one: NodeAnswer) -> dict[str, Any]:
    sockets = [
        {
            **socket.model_dump(mode="json", by_alias=True),
            "openedAt": _iso(socket.opened_at),
            "tokenExpiresAt": None if socket.token_expires_at is None else _iso(socket.token_expires_at),
        }
        for socket in one.sockets
    ]
    return {
        "node": one.name,
        "nodeId": one.node_id,
        "self": one.own,
        "answered": one.answered,
        "sockets": sockets,
        "socketsLeftOut": one.sockets_left_out,
    }


def _letter_json(letter: Letter) -> dict[str, Any]:
    whole = len(letter.body) == letter.size
    try:
        text, encoding = _decoded(letter.body, whole=whole), "text"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(letter.body).decode(), "base64"
    return {
        "id": letter.id,
        "domain": letter.domain,
        "reason": letter.reason,
        "field": letter.field,
        "message": letter.message,
        "routingKey": letter.routing_key,
        "messageId": letter.message_id,
        "at": letter.at,
        "size": letter.size,
        "body": text,
        "bodyEncoding": encoding,
        "truncated": not whole,
        "headers": letter.headers,
    }


def _decoded(data: bytes, *, whole: bool) -> str:
    """Return text; where the end is cut off, a character that was cut in two is left out."""
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if whole or len(data) - exc.start > 3:  # noqa: PLR2004 - a character has at most four bytes
            raise
        return data[: exc.start].decode()
