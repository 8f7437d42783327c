"""What the settings say of the sockets, as the socket edge wants it."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_bytes

from bridge.core.access import AccessRules
from bridge.core.entry import Logged
from bridge.core.limits import KeyedLimiter, RateLimit
from bridge.core.origins import OriginRules
from bridge.core.outbox import Frame, OutboxLimits
from bridge.core.revocation import Revocations
from bridge.core.session import SessionRules
from bridge.core.window import Window
from bridge.settings import Settings, SettingsError
from bridge.ws.connection import event_frame, traced_event_frame
from bridge.ws.desk import Sources
from bridge.ws.server import SocketLimits
from bridge.ws.tls import Tls


def session_rules_of(
    settings: Settings, window: Window, revocations: Revocations, sources: Sources
) -> SessionRules:
    """Return the rules of all sessions. What nobody knows, as `sources` say, they do not ask."""
    ws = settings.ws
    return SessionRules(
        access=AccessRules(frozenset(settings.auth.public_kinds), sources.query_kinds, revocations),
        window=window,
        rooms_max=ws.rooms_per_socket_max,
        commands_per_second_max=ws.commands_per_second_max,
        commands_burst_max=ws.commands_burst_max,
        commands_waiting_max=ws.commands_waiting_max,
        mistakes_max=ws.mistakes_max,
        expiring_notice_seconds=ws.expiring_notice_seconds,
        expiry_grace_seconds=ws.expiry_grace_seconds,
        ping_interval_seconds=ws.ping_interval_seconds,
        retry_after_seconds_max=settings.shutdown.retry_after_seconds_max,
        users_checked=sources.users is not None,
        inbox=sources.inbox is not None,
    )


def socket_limits_of(settings: Settings) -> SocketLimits:
    """Return the bounds of the socket edge."""
    ws = settings.ws
    return SocketLimits(
        outbox=OutboxLimits(ws.outbox_frames_max, ws.outbox_bytes_max),
        outboxes_bytes_max=ws.outboxes_bytes_max,
        message_bytes_max=ws.message_bytes_max,
        sockets_max=ws.sockets_max,
        sockets_per_user_max=ws.sockets_per_user_max,
        handshakes_max=ws.handshakes_max,
        handshakes_per_address_max=ws.handshakes_per_address_max,
        ipv6_prefix_bits=ws.ipv6_prefix_bits,
        handshake_seconds_max=ws.handshake_seconds_max,
        hello_seconds_max=ws.hello_seconds_max,
        close_seconds_max=ws.close_seconds_max,
        answer_seconds_max=ws.answer_seconds_max,
    )


def origin_rules_of(settings: Settings) -> OriginRules:
    """Return which pages may connect; in development, any that is not named otherwise."""
    ws = settings.ws
    origins = ("*",) if settings.development and not ws.allowed_origins else ws.allowed_origins
    return OriginRules(origins, allow_missing=ws.allow_missing_origin)


def limiter_of(per_minute_max: int, keys_max: int) -> KeyedLimiter:
    """Return a limiter of attempts, by address or by user."""
    return KeyedLimiter(RateLimit(per_minute_max, 60.0), keys_max=keys_max, seed=token_bytes(32))


def frame_of(settings: Settings) -> Callable[[Logged, str], Frame]:
    """Return what makes an event into the frame that the sockets of a room get."""
    return traced_event_frame if settings.tracing.frames else event_frame


def tls_of(settings: Settings) -> Tls | None:
    """Return the certificate of the public port, None for plain TCP.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    if settings.ws.tls_certificate is None or settings.ws.tls_key is None:
        return None
    try:
        return Tls(settings.ws.tls_certificate, settings.ws.tls_key)
    except OSError as exc:
        raise SettingsError([f"ws.tls_certificate, ws.tls_key: cannot be used: {exc}"]) from exc
