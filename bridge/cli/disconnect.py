"""`bridge disconnect`: close a user's sockets on every node, and have their tokens refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from bridge.cli.common import catalogue_or_exit, console, fail, run, settings_or_exit
from bridge.cli.publish import send
from bridge.core.by_hand import disconnection, judge
from bridge.core.revocation import ChangeKind
from bridge.core.times import iso_utc


def disconnect(
    user: Annotated[str, typer.Option(help="The user.")],
    token_id: Annotated[
        str | None, typer.Option(help="Only the token with this jti, and sockets with it.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, in words that the user may read.")] = None,
) -> None:
    """Close a user's sockets on every node with 4403; tokens issued until now open nothing any more."""
    settings = settings_or_exit()
    now = datetime.now(UTC)
    delivery = disconnection(user, token_id=token_id, reason=reason, now=now, message_id=uuid4().hex)
    verdict = judge(catalogue_or_exit(settings), delivery, body_bytes_max=settings.ingest.body_bytes_max)
    if verdict.refused is not None:
        fail(f"The bridge would refuse this: {verdict.refused.message}")
    run(send(settings, delivery))
    tokens = f"the token {token_id}" if token_id else f"every token issued before {iso_utc(now)}"
    for line in (
        f"published {delivery.routing_key}, message_id {delivery.message_id}",
        f"  sockets of {user} with {tokens} are closed with 4403, on every node that runs",
        f"  such tokens are refused for {settings.access.remember_seconds:g} s; newer ones are not",
        f"  to keep the user out, publish {ChangeKind.USER_DISABLED.value}",
    ):
        console.print(line, markup=False, soft_wrap=True)
