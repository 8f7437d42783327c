"""From a domain's queue to the log: judge, append, and only then ack.

The one rule of this file: a delivery is settled after its outcome is safe. Logged and confirmed,
or dead-lettered and confirmed, or not worth logging: ack. Our own failure: it stays in the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging import DEBUG
from typing import Protocol

import structlog
from msgspec.structs import replace

from bridge.core.catalogue import Domain
from bridge.core.dedupe import Once
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry
from bridge.core.errors import DeadLettersFullError, LogUnavailableError, Refused
from bridge.core.intake import Intake
from bridge.core.log import Appender
from bridge.core.policy import Policy
from bridge.core.stats import Stats
from bridge.core.storm import Ceilings, Held, Storms
from bridge.core.trace import where
from bridge.core.tracecontext import is_sampled, log_fields, read_traceparent
from bridge.core.verdict import Fate, Settling, Verdict

log = structlog.get_logger()

APPEND_SECONDS_MAX = 30.0  # From the first failure on: no further try then.
RETRY_SECONDS = 0.5
# To look a member up in its class takes longer than it seems.
_FAILED, _LOGGED = Fate.FAILED, Fate.LOGGED
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


class Spans(Protocol):
    """Where sampled traces are told what became of their events."""

    def settled(self, domain: str, delivery: Delivery, verdict: Verdict, fate: Fate) -> None:
        """Note that a delivery of a sampled trace is settled. Must neither wait nor raise."""


@dataclass(slots=True)
class Ingest:
    """The pipeline of one domain. `once` is shared by all of a node's domains.

    In a storm the newest events are held back for a moment (bridge/core/storm.py); their deliveries and
    all behind them are not acked meanwhile, at most `unacked_max`. `trouble` says what holds the whole
    domain up at the moment, empty when nothing does.
    """

    domain: Domain
    intake: Intake
    once: Once
    stats: Stats
    ceilings: Ceilings = field(default_factory=Ceilings)
    unacked_max: int = 250
    spans: Spans | None = None
    clock: Callable[[], float] = time.monotonic
    trouble: str = ""
    _storms: Storms[Settling] = field(init=False)
    _ceilings_set: bool = field(init=False)
    _unacked: deque[Settling] = field(init=False, default_factory=deque)
    _read_at: float = field(init=False, default=float("-inf"))  # When something was read last.

    def __post_init__(self) -> None:
        """Begin in calm."""
        self._storms = Storms(self.ceilings)
        self._ceilings_set = bool(self.ceilings)

    async def run(self, source: Source, event_log: Appender, dead_letters: DeadLetters) -> None:
        """Work until the source stops. Raises what the source, the log or the dead letters raise."""
        try:
            while (batch := await self._read(source, event_log.pace_seconds)) is not None:
                if any(delivery.redelivered for delivery in batch):
                    # Whoever had it before us may have logged it, and may have been another node.
                    await event_log.catch_up()
                await self._settle(batch, source, event_log, dead_letters)
            await self._settle((), source, event_log, dead_letters, hold=False)
        finally:
            self.trouble = ""  # What holds a consumer up is another matter once there is none.
            self._unacked.clear()  # It will all be delivered again.
            self.once.release(held.entry.key for held in self._storms.forget_held())

    async def _read(self, source: Source, pace_seconds: float) -> Sequence[Delivery] | None:
        """Return what waits; nothing if a storm wants attention first; None once the source has stopped.

        Not sooner after the last time than the pace allows. The first after a pause waits for nothing.
        """
        if pace_seconds and (early_seconds := self._read_at + pace_seconds - self.clock()) > 0:
            await asyncio.sleep(early_seconds)
        try:
            return await self._read_now(source)
        finally:
            self._read_at = self.clock()

    async def _read_now(self, source: Source) -> Sequence[Delivery] | None:
        next_at = self._storms.next_at() if self._ceilings_set else None
        if next_at is None:
            return await source.read() or None
        timer = asyncio.timeout(max(0.0, next_at - self.clock()))
        try:
            async with timer:
                return await source.read() or None
        except TimeoutError:
            if not timer.expired():
                raise
            return ()

    async def _settle(
        self,
        batch: Sequence[Delivery],
        source: Source,
        event_log: Appender,
        dead_letters: DeadLetters,
        *,
        hold: bool = True,
    ) -> None:
        logged_at, now = (batch[-1].received_at if batch else time.time()), self.clock()
        released = list(self._storms.due(now)) if self._ceilings_set else []
        claimed = [held.entry for held in released]
        try:
            settling = [Settling(delivery, self._judge(delivery)) for delivery in batch]
            for one in settling:
                self._claim(one, claimed, logged_at, now)
            if not hold or len(self._unacked) + len(settling) > self.unacked_max:
                early = self._storms.forget_held()
                released += early
                claimed += [held.entry for held in early]
            if claimed:
                await self._append(event_log, claimed)
                self.once.logged((entry.key for entry in claimed), logged_at)
        finally:
            self.once.release(entry.key for entry in claimed)
        for held in released:
            held.origin.held -= 1
            held.origin.logged = True
        for one in settling:
            if one.verdict.refused is not None:
                await self._bury(dead_letters, one.delivery, one.verdict.refused)
            elif one.verdict.fate is _FAILED:
                await source.requeue(one.delivery)
        await self._ack(source, settling)
        if self._ceilings_set:
            self._tell_storms_over(now)

    async def _ack(self, source: Source, settled: Sequence[Settling]) -> None:
        """Ack and count all before the first delivery of which something is held."""
        # Not what was requeued: to ack that is an error that closes the channel.
        failed = [one for one in settled if one.verdict.fate is _FAILED]
        done = [one for one in settled if one.verdict.fate is not _FAILED] if failed else settled
        if self._ceilings_set:  # Else nothing is ever held.
            self._unacked.extend(done)
            done = []
            while self._unacked and not self._unacked[0].held:
                done.append(self._unacked.popleft())
        if done:
            await source.ack(done[-1].delivery)
        self._count((*failed, *done))

    def _claim(self, one: Settling, claimed: list[Entry], logged_at: float, now: float) -> None:
        """Add what is to be logged now to `claimed`; one that is logged already is a duplicate."""
        verdict = one.verdict
        if verdict.fate is not _LOGGED:
            return
        for entry in verdict.entries:
            if not self.once.claim(entry.key, logged_at):
                continue
            if not self._ceilings_set or self._withstands(entry, one, now):
                claimed.append(entry)
                one.logged = True
            else:
                one.held += 1
        if not (one.logged or one.held):
            one.verdict = replace(verdict, fate=Fate.DUPLICATE, entries=())

    def _withstands(self, entry: Entry, one: Settling, now: float) -> bool:
        """Tell whether an event is below its ceiling; else it is held, or takes the place of one that is."""
        ruling = self._storms.rule(entry, one, now)
        if ruling.superseded is not None:
            self._leave_out(ruling.superseded)
        if ruling.began is not None:
            subject = ruling.began.subject
            log.warning(
                "ingest.storm",
                domain=self.domain.name,
                event_type=subject.event_type,
                room=subject.owner,
                policy=ruling.began.policy.value,
            )
        return ruling.passes

    def _leave_out(self, held: Held[Settling]) -> None:
        outcome = "conflated" if held.entry.policy is Policy.CONFLATE else "dropped"
        event_type = held.entry.key.event_type if held.origin.verdict.declared else ""  # As in `_count`.
        self.stats.storm_events[event_type, outcome] += 1
        self.once.release((held.entry.key,))
        held.origin.held -= 1

    def _tell_storms_over(self, now: float) -> None:
        for storm in self._storms.over(now):
            log.info(
                "ingest.storm_over",
                domain=self.domain.name,
                event_type=storm.subject.event_type,
                room=storm.subject.owner,
                events=storm.events,
                seconds=round(storm.last_at - storm.began_at, 1),
            )

    async def _append(self, event_log: Appender, entries: Sequence[Entry]) -> None:
        """Append, and again for a while if the log does not confirm.

        In place, because giving deliveries back counts against their delivery limit. Not for ever,
        because another node may be able to.

        Raises:
            TimeoutError: it has failed for APPEND_SECONDS_MAX.
        """
        gives_up_at: float | None = None
        while True:
            try:
                await event_log.append(entries)
            except LogUnavailableError as exc:
                self.trouble = f"the log does not take events: {exc}"
                log.warning("ingest.log_unavailable", domain=self.domain.name, reason=str(exc))
                now = self.clock()
                if gives_up_at is None:
                    gives_up_at = now + APPEND_SECONDS_MAX
                if now >= gives_up_at:
                    raise TimeoutError(self.trouble) from exc
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
            trace = read_traceparent(delivery.headers.get("traceparent"))
            log.error(  # noqa: TRY400 - an exception's text may quote the payload
                "ingest.failed",
                domain=self.domain.name,
                routing_key=delivery.routing_key,
                event_id=delivery.message_id or "",
                error=type(exc).__name__,
                where=where(exc),
                **log_fields(trace),
            )
            return Verdict(Fate.FAILED, event_id=delivery.message_id or "", traceparent=trace)

    def _count(self, settled: Sequence[Settling]) -> None:
        name = self.domain.name
        # A name that no domain declares is the publisher's: as a label it would be without bounds.
        self.stats.deliveries.update(
            [(name, one.verdict.event_type if one.verdict.declared else "", one.fate) for one in settled]
        )
        if self.spans is not None:
            for one in settled:
                if is_sampled(one.verdict.traceparent):
                    self.spans.settled(name, one.delivery, one.verdict, one.fate)
        told = settled
        if not log.is_enabled_for(DEBUG):  # Asked once: a batch can have thousands.
            told = [one for one in settled if one.verdict.fate not in _UNREMARKABLE]
        for one in told:
            self._tell(one.delivery, one.verdict, one.fate)

    def _tell(self, delivery: Delivery, verdict: Verdict, fate: Fate) -> None:
        name = self.domain.name
        match fate:
            case Fate.DEAD if verdict.refused is not None:
                self.stats.dead_letters[name, verdict.refused.reason] += 1
                log.warning(
                    "ingest.dead_letter",
                    domain=name,
                    routing_key=delivery.routing_key,
                    event_id=verdict.event_id,
                    **log_fields(verdict.traceparent),
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
                    **log_fields(verdict.traceparent),
                )
            case Fate.FAILED:
                self.stats.requeued[name] += 1
            case _:
                log.debug(
                    "ingest.settled",
                    domain=name,
                    fate=fate.value,
                    event_type=verdict.event_type,
                    event_id=verdict.event_id,
                    **log_fields(verdict.traceparent),
                )
