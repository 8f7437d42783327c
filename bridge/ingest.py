"""From a domain's queue to the log: judge, append, and only then ack.

The one rule of this file: a delivery is settled after its outcome is safe. Logged and confirmed,
or dead-lettered and confirmed, or not worth logging: ack. Our own failure: it stays in the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from logging import DEBUG
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

import structlog

from bridge.core.catalogue import Domain
from bridge.core.dedupe import Once
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry
from bridge.core.errors import DeadLettersFullError, LogUnavailableError, Refused
from bridge.core.intake import Fate, Intake, Verdict
from bridge.core.log import Appender
from bridge.core.stats import Stats

log = structlog.get_logger()

APPEND_SECONDS_MAX = 30.0
RETRY_SECONDS = 0.5
_UNREMARKABLE = frozenset({Fate.LOGGED, Fate.DUPLICATE, Fate.DROPPED})


class Source(Protocol):
    """A domain's queue, as ingest sees it."""

    async def read(self) -> Sequence[Delivery]:
        """Return the deliveries that wait, at least one; none at all once the source has stopped.

        Raises:
            SourceLostError: the consumer is gone. What was not acked will be delivered again.
        """

    async def ack(self, up_to: Delivery) -> None:
        """Settle this delivery and every earlier one that is not settled yet."""

    async def requeue(self, delivery: Delivery) -> None:
        """Give one delivery back to the queue; it counts against the delivery limit."""


class DeadLetters(Protocol):
    """Where deliveries go that can never be valid."""

    async def bury(self, delivery: Delivery, domain: str, refused: Refused) -> None:
        """Keep the untouched delivery with its reason; return once that is confirmed.

        Raises:
            DeadLettersFullError: there is no room; try again later.
        """


@dataclass(slots=True)
class Ingest:
    """The pipeline of one domain. `once` is shared by all of a node's domains.

    `trouble` says what holds it up at the moment, empty when nothing does.
    """

    domain: Domain
    intake: Intake
    once: Once
    stats: Stats
    trouble: str = ""

    async def run(self, source: Source, event_log: Appender, dead_letters: DeadLetters) -> None:
        """Work until the source stops. Raises what the source, the log or the dead letters raise."""
        try:
            while batch := await source.read():
                if any(delivery.redelivered for delivery in batch):
                    # Whoever had it before us may have logged it, and may have been another node.
                    await event_log.catch_up()
                await self._settle(batch, source, event_log, dead_letters)
        finally:
            self.trouble = ""  # What holds a consumer up is another matter once there is none.

    async def _settle(
        self, batch: Sequence[Delivery], source: Source, event_log: Appender, dead_letters: DeadLetters
    ) -> None:
        now = batch[-1].received_at
        claimed: list[Entry] = []
        try:
            verdicts = [(delivery, self._claim(self._judge(delivery), claimed, now)) for delivery in batch]
            if claimed:
                await self._append(event_log, claimed)
                self.once.logged((entry.key for entry in claimed), now)
        finally:
            self.once.release(entry.key for entry in claimed)
        for delivery, verdict in verdicts:
            if verdict.refused is not None:
                await self._bury(dead_letters, delivery, verdict.refused)
            elif verdict.fate is Fate.FAILED:
                await source.requeue(delivery)
        # Not the last of the batch: to ack what was requeued is an error that closes the channel.
        settled = [delivery for delivery, verdict in verdicts if verdict.fate is not Fate.FAILED]
        if settled:
            await source.ack(settled[-1])
        self._count(verdicts)

    def _claim(self, verdict: Verdict, claimed: list[Entry], now: float) -> Verdict:
        """Add what is to be logged to `claimed`; one that is logged already is a duplicate."""
        if verdict.fate is not Fate.LOGGED:
            return verdict
        new = [entry for entry in verdict.entries if self.once.claim(entry.key, now)]
        claimed += new
        return verdict if new else verdict._replace(fate=Fate.DUPLICATE, entries=())

    async def _append(self, event_log: Appender, entries: Sequence[Entry]) -> None:
        """Append, and again for a while if the log does not confirm.

        In place, because giving deliveries back counts against their delivery limit. Not for ever,
        because another node may be able to.
        """
        async with asyncio.timeout(APPEND_SECONDS_MAX):
            while True:
                try:
                    await event_log.append(entries)
                except LogUnavailableError as exc:
                    self.trouble = f"the log does not take events: {exc}"
                    log.warning("ingest.log_unavailable", domain=self.domain.name, reason=str(exc))
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self.trouble = ""
                    return

    async def _bury(self, dead_letters: DeadLetters, delivery: Delivery, refused: Refused) -> None:
        """Bury, and again until there is room: the queue waits, and nothing is lost."""
        while True:
            try:
                await dead_letters.bury(delivery, self.domain.name, refused)
            except DeadLettersFullError as exc:
                self.trouble = str(exc)
                log.error("ingest.dead_letters_full", domain=self.domain.name)  # noqa: TRY400 - no traceback needed
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.trouble = ""
                return

    def _judge(self, delivery: Delivery) -> Verdict:
        try:
            return self.intake.judge(delivery)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the queue moves on
            # Our mistake, not the publisher's: the event stays in the queue, up to its delivery limit.
            log.error(  # noqa: TRY400 - an exception's text may quote the payload
                "ingest.failed",
                domain=self.domain.name,
                routing_key=delivery.routing_key,
                event_id=delivery.message_id or "",
                error=type(exc).__name__,
                where=_where(exc),
            )
            return Verdict(Fate.FAILED, event_id=delivery.message_id or "")

    def _count(self, verdicts: Sequence[tuple[Delivery, Verdict]]) -> None:
        name = self.domain.name
        # A name that no domain declares is the publisher's: as a label it would be without bounds.
        self.stats.deliveries.update(
            [(name, verdict.event_type if verdict.declared else "", verdict.fate) for _, verdict in verdicts]
        )
        told = log.is_enabled_for(DEBUG)  # Asked once: a batch can have thousands.
        for delivery, verdict in verdicts:
            if told or verdict.fate not in _UNREMARKABLE:
                self._tell(delivery, verdict)

    def _tell(self, delivery: Delivery, verdict: Verdict) -> None:
        name = self.domain.name
        match verdict.fate:
            case Fate.DEAD if verdict.refused is not None:
                self.stats.dead_letters[name, verdict.refused.reason] += 1
                log.warning(
                    "ingest.dead_letter",
                    domain=name,
                    routing_key=delivery.routing_key,
                    event_id=verdict.event_id,
                    trace=verdict.traceparent,
                    reason=verdict.refused.reason.value,
                    # No more than the declared part: further down the keys can be the publisher's own.
                    field=verdict.refused.field.partition(".")[0],
                )
            case Fate.LATE:
                log.info(
                    "ingest.late",
                    domain=name,
                    event_type=verdict.event_type,
                    event_id=verdict.event_id,
                    trace=verdict.traceparent,
                )
            case Fate.FAILED:
                self.stats.requeued[name] += 1
            case _:
                log.debug(
                    "ingest.settled",
                    domain=name,
                    fate=verdict.fate.value,
                    event_type=verdict.event_type,
                    event_id=verdict.event_id,
                    trace=verdict.traceparent,
                )


def _where(exc: Exception) -> str:
    """Return the lines of code that an exception went through, the innermost last."""
    return " > ".join(
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(exc.__traceback__)
    )
