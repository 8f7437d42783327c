"""The whole interface as one AsyncAPI 3.0 document: what is published, and what sockets say and hear.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0. An operation's action is the
bridge's: it receives what services publish and clients command, and sends what clients get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.core.asyncapi_socket import (
    SOCKET,
    Dialect,
    Part,
    message,
    reference,
    socket_channel,
    socket_operations,
)
from bridge.core.catalogue import Catalogue, Domain, EventType
from bridge.core.describe import audience_of, routing_key_of, slow_of
from bridge.core.examples import EVENT_ID, TIMESTAMP, published
from bridge.core.schema import key_of, one_line, published_schema, sent_types
from bridge.core.tracecontext import PATTERN as TRACE_PATTERN

VERSION = "3.0.0"
AMQP_BINDING = "0.3.0"
PERSISTENT = 2  # AMQP 0-9-1 section 4.4.3, delivery-mode.

_FORMS = """\
A body is plain JSON, `{"pattern": …, "data": …}` as NestJS wraps it, or a CloudEvent 1.0: structured, or
binary with its attributes as headers. Give each event an AMQP `message_id`, and keep it when you publish
again: then it is logged once. Publish persistent, mandatory, and with confirms. A body that can never be
valid goes to the queue `{dead}` with its reason. A missing `timestamp` may stand in the CloudEvent's `time`
or the AMQP property `timestamp` instead."""
_TOKENS = """\
The token is a JSON Web Token: in a header, a cookie, beside the sub-protocol `{name}` as `bearer.<token>`, in
the query, or in the first message, `hello`."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the settings decide of the interface."""

    exchange: str  # Where events are published.
    vhost: str  # Where the exchange is.
    prefix: str  # How the names of the bridge's own queues begin.
    body_bytes_max: int
    cookie: str  # That may hold a token.


def asyncapi_of(catalogue: Catalogue, deployment: Deployment, dialect: Dialect, *, version: str) -> Part:
    """Return the document for the events of a catalogue. `version` is the bridge's."""
    domains = [domain for domain in catalogue.domains.values() if domain.event_types]
    sent = sent_types(catalogue)
    routes = [(domain, event_type) for domain in domains for event_type in domain.event_types]
    channels = {key_of(each): _route(catalogue, domain, each, deployment) for domain, each in routes}
    return {
        "asyncapi": VERSION,
        "id": "urn:cloudphone:bridge",
        "info": {
            "title": "Cloud-phone bridge",
            "version": version,
            "description": "From RabbitMQ to the browser: services publish events to a topic exchange, and "
            "pages get those that are theirs over one WebSocket.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [
                {"name": domain.name, "description": _domain_text(domain, deployment)} for domain in domains
            ],
        },
        "defaultContentType": "application/json",
        "servers": _servers(deployment, dialect),
        "channels": {**channels, SOCKET: socket_channel(dialect, sent)},
        "operations": {
            **{f"receive.{key_of(each)}": _ingest(domain, each) for domain, each in routes},
            **socket_operations(dialect, sent),
        },
        "components": {
            "schemas": {
                key_of(each): published_schema(each, timestamp_required=False) for domain, each in routes
            },
            "securitySchemes": _security_schemes(deployment),
        },
    }


def _domain_text(domain: Domain, deployment: Deployment) -> str:
    keys = ", ".join(f"`{key}`" for key in domain.binding_keys)
    return (
        f"Published by {domain.publisher}. The queue `{deployment.prefix}.{domain.name}` is bound by {keys}."
    )


def _servers(deployment: Deployment, dialect: Dialect) -> Part:
    return {
        "rabbitmq": {
            "host": "{host}",
            "protocol": "amqp",
            "protocolVersion": "0-9-1",
            "description": "RabbitMQ, where services publish.",
            "variables": {"host": {"default": "localhost:5672", "description": "Host and port."}},
            "security": [reference("components", "securitySchemes", "brokerUser")],
        },
        "bridge": {
            "host": "{host}",
            "protocol": "ws",
            "description": f"The bridge's public port, or what terminates TLS in front of it. "
            f"{_TOKENS.format(name=dialect.name)}",
            "variables": {"host": {"default": "localhost:8080", "description": "Host and port."}},
            "security": [
                reference("components", "securitySchemes", name) for name in _token_places(deployment)
            ],
        },
    }


def _security_schemes(deployment: Deployment) -> Part:
    user = {"type": "userPassword", "description": "A user of the broker that may write to the exchange."}
    return {"brokerUser": user, **_token_places(deployment)}


def _token_places(deployment: Deployment) -> Part:
    def key(place: str, name: str, text: str) -> Part:
        return {"type": "httpApiKey", "in": place, "name": name, "description": text}

    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "header": key("header", "X-Auth-Token", "The token."),
        "cookie": key(
            "cookie", deployment.cookie, "The token; counts where the page's origin is allowed by name."
        ),
        "query": key("query", "token", "The token; prefer another place, as proxies log queries."),
    }


# What is published.


def _route(catalogue: Catalogue, domain: Domain, event_type: EventType, deployment: Deployment) -> Part:
    key = routing_key_of(catalogue, event_type)
    old = (
        f" Old routing keys: {', '.join(map('`{}`'.format, event_type.aliases))}."
        if event_type.aliases
        else ""
    )
    return {
        "address": key,
        "title": event_type.name,
        "summary": one_line(event_type.model.__doc__ or ""),
        "description": f"The routing key `{key}` of the exchange `{deployment.exchange}`.{old}\n\n"
        + _FORMS.replace("{dead}", f"{deployment.prefix}.dead")
        + f" At most {deployment.body_bytes_max} bytes.",
        "servers": [reference("servers", "rabbitmq")],
        "messages": {
            "plain": _plain(domain, event_type, key),
            "wrapped": _wrapped(domain, event_type, key),
            "cloudEvent": _cloud_event(domain, event_type, key),
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": deployment.exchange,
                    "type": "topic",
                    "durable": True,
                    "autoDelete": False,
                    "vhost": deployment.vhost,
                },
                "bindingVersion": AMQP_BINDING,
            }
        },
        "tags": [{"name": domain.name}],
        **_treatment(catalogue, event_type),
    }


def _treatment(catalogue: Catalogue, event_type: EventType) -> Part:
    """Return what the specification has no words for."""
    audience = audience_of(catalogue, event_type)
    extensions = {
        "x-rooms": list(audience.rooms),
        "x-followed-by": list(audience.derived),
        "x-on-a-slow-socket": slow_of(event_type),
        "x-age-seconds-max": event_type.age_seconds_max,
        "x-once-per": list(event_type.once_by),
        "x-waits-in-inbox": event_type.durable,
        "x-old-routing-keys": list(event_type.aliases),
    }
    return {name: value for name, value in extensions.items() if value}


def _body(domain: Domain, event_type: EventType) -> Part:
    """Return the schema of a payload that has to have its own time, if any time is required."""
    body = reference("components", "schemas", key_of(event_type))
    return {"allOf": [body, {"required": ["timestamp"]}]} if domain.timestamp_required else body


def _form(
    name: str, summary: str, payload: Part, examples: Sequence[Part], headers: Iterable[str] = ()
) -> Part:
    """Return a message as it is published, with the headers that it may have."""
    properties = {
        "traceparent": {
            "type": "string",
            "pattern": TRACE_PATTERN,
            "description": "W3C Trace Context; what is malformed counts as none.",
        },
        **{header: {"type": "string"} for header in headers},
    }
    return {
        **message(name, summary, payload, examples),
        "headers": {"type": "object", "properties": properties},
    }


def _plain(domain: Domain, event_type: EventType, key: str) -> Part:
    attributes = {"specversion": "1.0", "id": EVENT_ID, "source": "/example", "type": key, "time": TIMESTAMP}
    headers = {f"cloudEvents:{name}": value for name, value in attributes.items()}
    return _form(
        event_type.name,
        "The event itself; with CloudEvents attributes as headers it is a CloudEvent in binary mode.",
        _body(domain, event_type),
        [
            {"name": "plain", "payload": published(event_type)},
            {"name": "cloudEventBinary", "headers": headers, "payload": published(event_type)},
        ],
        headers,
    )


def _wrapped(domain: Domain, event_type: EventType, key: str) -> Part:
    return _form(
        event_type.name,
        "The event as NestJS wraps it.",
        {
            "type": "object",
            "properties": {
                "pattern": {"const": key},
                "data": _body(domain, event_type),
            },
            "required": ["pattern", "data"],
        },
        [{"name": "wrapped", "payload": {"pattern": key, "data": published(event_type)}}],
    )


def _cloud_event(domain: Domain, event_type: EventType, key: str) -> Part:
    attributes = {"specversion": "1.0", "id": EVENT_ID, "source": "/example", "type": key, "time": TIMESTAMP}
    data = {name: value for name, value in published(event_type).items() if name != "timestamp"}
    text = {"type": "string"}
    payload: Part = {
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            **dict.fromkeys(("id", "source", "type"), text),
            "time": {**text, "format": "date-time"},
            "data": reference("components", "schemas", key_of(event_type)),
        },
        "required": ["specversion", "id", "source", "type", "data"],
    }
    if domain.timestamp_required:  # The envelope's time will do.
        payload["anyOf"] = [{"required": ["time"]}, {"properties": {"data": {"required": ["timestamp"]}}}]
    summary = "The event as a CloudEvent 1.0 in structured mode."
    example = {"name": "cloudEvent", "payload": {**attributes, "data": data}}
    written = _form(event_type.name, summary, payload, [example])
    return {**written, "contentType": "application/cloudevents+json"}


def _ingest(domain: Domain, event_type: EventType) -> Part:
    return {
        "action": "receive",
        "channel": reference("channels", key_of(event_type)),
        "summary": f"{domain.publisher or 'A service'} publishes {event_type.name}.",
        "messages": [
            reference("channels", key_of(event_type), "messages", form)
            for form in ("plain", "wrapped", "cloudEvent")
        ],
        "bindings": {
            "amqp": {
                "deliveryMode": PERSISTENT,
                "mandatory": True,
                "timestamp": False,
                "ack": True,
                "bindingVersion": AMQP_BINDING,
            }
        },
    }
