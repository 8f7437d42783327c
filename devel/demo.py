"""`make demo`: publishes one of every event as the microservices do, and watches who gets it.

Needs a running bridge (`make run`). Connects over real WebSockets, publishes to the real RabbitMQ,
prints every frame, and ends with status 1 when one is missing, doubled, or at somebody who may not
have it. What is published and expected is in devel/demo_plan.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AMQPError, ChannelNotFoundEntity
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from bridge.amqp.dead import DeadLetter, purge
from bridge.amqp.topology import Names
from bridge.app import catalogue_of
from bridge.auth.tokens import make_token
from bridge.keyring import token_rules_of
from bridge.settings import Settings, SettingsError, load
from devel.demo_plan import Arrival, Frame, Outcome, Person, Plan, Publication, make_plan, room_problems
from devel.demo_report import Report
from devel.errors import DevelError
from devel.folder import read_env

ENVIRONMENT_FILE = Path(__file__).parents[1] / ".run" / "env"
PORT_VARIABLE = "BRIDGE_WS__PORT"
START_FIRST = "start the bridge first: make run"
AMQP_ERRORS = (AMQPError, *CONNECTION_EXCEPTIONS, TimeoutError)
INTERRUPTED = 130

CONNECT_SECONDS_MAX = 5.0
TOKEN_SECONDS = 3600.0  # So long that no notice of its end is due.
# Each event is given time to arrive before the next is published, so that latencies are an event's own
# and not those of a queue. An event that does not arrive must not hold the others up for long.
EVENT_SECONDS_MAX = 0.5
PACED_SECONDS_MAX = 5.0
DEADLINE_SECONDS_MAX = 5.0
SETTLE_SECONDS = 0.2
LETTER_SECONDS_MAX = 3.0
LETTER_POLL_SECONDS = 0.05
LETTERS_MAX = 500


def environment(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `make run` wrote into the file, and over them those of the environment.

    Raises:
        DevelError: neither says where the bridge listens.
    """
    variables = read_env(file) | dict(environ)
    if variables.get(PORT_VARIABLE, "0") == "0":
        raise DevelError(f"No bridge runs here; {START_FIRST}.")
    return variables


@dataclass(slots=True)
class Recorder:
    """What was published when, and what arrived of it."""

    published: dict[str, Publication] = field(default_factory=dict)  # By message id.
    published_at: dict[str, float] = field(default_factory=dict)  # On the clock of perf_counter().
    arrivals: list[Arrival] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    others: int = 0  # Frames of events that are not ours: the bridge may have other work.
    lost: bool = False  # Set when a socket is gone: there is no point in going on.
    _seen: set[tuple[str, Frame]] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: int = 0

    def publishing(self, publication: Publication) -> None:
        """Start the clock of an event; call it right before publishing."""
        self.published[publication.message_id] = publication
        self.published_at[publication.message_id] = time.perf_counter()

    def arrived(self, user_id: str, message: Mapping[str, Any], at: float) -> None:
        """Note an event that somebody got at this time."""
        frame = Frame(message["type"], message["version"], message["id"])
        published_at = self.published_at.get(frame.message_id)
        if published_at is None:
            self.others += 1
            return
        self.arrivals.append(Arrival(user_id, frame, message["room"], at - published_at))
        self._seen.add((user_id, frame))
        self._news.set()

    async def complete(self, expected: Collection[tuple[str, Frame]], seconds_max: float) -> None:
        """Wait until all of these have arrived or a socket is lost, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds_max)):
                while not (self.lost or self._seen.issuperset(expected)):
                    self._news.clear()
                    await self._news.wait()

    def lose(self, trouble: str) -> None:
        """Note that a socket is gone."""
        self.troubles.append(trouble)
        self.lost = True
        self._news.set()

    def take_news(self) -> list[Arrival]:
        """Return what has arrived since the last call."""
        news = self.arrivals[self._taken :]
        self._taken += len(news)
        return news


class Client:
    """One person's socket."""

    def __init__(self, person: Person, socket: ClientConnection, recorder: Recorder) -> None:
        self.person = person
        self._socket = socket
        self._recorder = recorder
        self._ponged = asyncio.Event()

    async def enter(self, token: str) -> None:
        """Say hello, ask for the rooms, and for those that have to be refused."""
        person = self.person
        welcome = await self._ask({"op": "hello", "token": token, "rooms": person.wanted})
        joined = list(welcome["data"].get("rooms", ()))
        for room in person.forbidden:  # One by one: an error names one room.
            answer = await self._ask({"op": "subscribe", "rooms": [room]})
            if (answer["type"], answer["data"].get("code")) != ("error", "forbidden"):
                joined.append(room)
        self._recorder.troubles += room_problems(person, joined)

    async def listen(self) -> None:
        """Note every frame, until cancelled."""
        try:
            async for text in self._socket:
                self._receive(text, time.perf_counter())
        except ConnectionClosed:
            pass
        code, reason = self._socket.close_code, self._socket.close_reason
        self._recorder.lose(f"{self.person.user_id} lost the socket: {code} {reason}".rstrip())

    def _receive(self, text: str | bytes, at: float) -> None:
        try:
            message = json.loads(text)
            if "offset" in message:
                self._recorder.arrived(self.person.user_id, message, at)
            elif message["type"] == "pong":
                self._ponged.set()
            else:
                self._trouble(f"was told {text!r}")
        except (ValueError, LookupError, TypeError):
            self._trouble(f"got what is no frame: {text!r}")

    async def ping(self) -> None:
        """Return when everything that the bridge had handed to this socket before has been noted."""
        self._ponged.clear()
        with suppress(ConnectionClosed):
            await self._socket.send('{"op":"ping"}')
            try:
                async with asyncio.timeout(DEADLINE_SECONDS_MAX):
                    await self._ponged.wait()
            except TimeoutError:
                self._trouble("got no answer to a ping")

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        command_id = uuid4().hex
        await self._socket.send(json.dumps({**command, "id": command_id}))
        while True:
            answer: dict[str, Any] = json.loads(await self._socket.recv())
            if answer.get("id") == command_id and "offset" not in answer:
                return answer

    def _trouble(self, what: str) -> None:
        self._recorder.troubles.append(f"{self.person.user_id} {what}")


@asynccontextmanager
async def connected(person: Person, settings: Settings, recorder: Recorder) -> AsyncIterator[Client]:
    """Connect a person's socket, as a page does.

    Raises:
        DevelError: the bridge does not let it in.
    """
    url = f"ws://127.0.0.1:{settings.ws.port}/ws"
    token = make_token(
        token_rules_of(settings),
        user_id=person.user_id,
        roles=person.roles,
        rooms=person.claims,
        seconds=TOKEN_SECONDS,
    )
    try:
        # Without a proxy: the bridge is on this machine, whatever the environment says of others.
        socket = await connect(url, proxy=None, open_timeout=CONNECT_SECONDS_MAX, close_timeout=1.0)
    except (OSError, TimeoutError, InvalidMessage) as exc:
        raise DevelError(f"The bridge does not answer at {url} ({_in_words(exc)}); {START_FIRST}.") from exc
    except InvalidHandshake as exc:
        raise DevelError(f"The bridge refuses a socket at {url}: {_in_words(exc)}") from exc
    async with socket:
        client = Client(person, socket, recorder)
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await client.enter(token)
        except TimeoutError as exc:
            raise DevelError(f"The bridge at {url} does not answer a hello; see its log") from exc
        except ConnectionClosed as exc:
            raise DevelError(
                f"The bridge at {url} does not let {person.user_id} in ({_in_words(exc)}); "
                f"if it runs with another JWT_SECRET, {START_FIRST}."
            ) from exc
        yield client


class Bus:
    """The event bus, as a microservice uses it, and the dead-letter queue, as an operator does."""

    def __init__(self, connection: AbstractConnection, exchange: AbstractExchange, names: Names) -> None:
        self._connection = connection
        self._exchange = exchange
        self._names = names

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Connect.

        Raises:
            DevelError: RabbitMQ does not answer, or no bridge has prepared it.
        """
        names = Names(settings.amqp.exchange, settings.amqp.prefix)
        url = settings.amqp.url.get_secret_value()
        try:
            connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS_MAX)
        except AMQP_ERRORS as exc:
            raise DevelError(f"RabbitMQ does not answer ({_in_words(exc)}); {START_FIRST}.") from exc
        async with connection:
            channel = await connection.channel(publisher_confirms=True)
            try:
                exchange = await channel.get_exchange(names.exchange)
            except ChannelNotFoundEntity as exc:
                raise DevelError(f"RabbitMQ has no exchange {names.exchange}; {START_FIRST}.") from exc
            yield cls(connection, exchange, names)

    async def publish(self, publication: Publication) -> None:
        """Publish an event and wait until RabbitMQ has it. Raises AMQP_ERRORS."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = aio_pika.Message(
            publication.body(now),
            message_id=publication.message_id,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._exchange.publish(message, publication.routing_key, timeout=DEADLINE_SECONDS_MAX)

    async def take_letter(self, message_id: str) -> DeadLetter | None:
        """Take the dead letter of a message out of its queue.

        Returns None when it is not there in time, or behind too many others. Raises AMQP_ERRORS.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LETTER_SECONDS_MAX):
                while True:
                    letters = await purge(
                        self._connection,
                        self._names,
                        wanted=lambda letter: letter.original.message_id == message_id,
                        letters_max=LETTERS_MAX,
                    )
                    if letters:
                        return letters[0]
                    await asyncio.sleep(LETTER_POLL_SECONDS)
        return None

    async def letters_waiting(self) -> int:
        """Return how many dead letters there are. Raises AMQP_ERRORS."""
        async with self._connection.channel() as channel:
            queue = await channel.declare_queue(self._names.dead, passive=True)
            return queue.declaration_result.message_count or 0


async def demonstrate(settings: Settings, report: Report) -> Outcome:
    """Connect everybody, publish everything, and return what came of it.

    Raises:
        DevelError: the bridge or RabbitMQ cannot be reached.
    """
    plan = make_plan(catalogue_of(settings), uuid4().hex[:8], settings.auth.public_kinds)
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.open(settings))
        clients = [
            await stack.enter_async_context(connected(person, settings, recorder)) for person in plan.people
        ]
        report.people(plan.people)
        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(client.listen()) for client in clients]
            try:
                await publish_all(plan, bus, recorder, report)
                await settle(plan, clients, recorder, report)
                if not recorder.lost:
                    await show_refusal(plan.refused, bus, recorder, report)
            except AMQP_ERRORS as exc:
                recorder.troubles.append(f"RabbitMQ failed: {_in_words(exc)}")
            finally:
                for listener in listeners:
                    listener.cancel()
    return Outcome(
        plan, recorder.published.values(), recorder.arrivals, tuple(recorder.troubles), recorder.others
    )


async def publish_all(plan: Plan, bus: Bus, recorder: Recorder, report: Report) -> None:
    """Publish one event after the other, and show each as it arrives. Stop when a socket is lost."""
    paced_until = time.perf_counter() + PACED_SECONDS_MAX
    for chapter in plan.chapters:
        report.chapter(chapter)
        for publication in chapter.publications:
            if recorder.lost:
                return
            recorder.publishing(publication)
            await bus.publish(publication)
            expected = plan.expected((publication,))
            seconds_left = paced_until - time.perf_counter()
            await recorder.complete(expected, min(EVENT_SECONDS_MAX, seconds_left))
            report.publication(publication, recorder.take_news(), awaited=bool(expected))


async def settle(plan: Plan, clients: Iterable[Client], recorder: Recorder, report: Report) -> None:
    """Wait for what has not arrived, and then for what should not arrive."""
    await recorder.complete(plan.expected(recorder.published.values()), DEADLINE_SECONDS_MAX)
    await asyncio.sleep(SETTLE_SECONDS)
    await asyncio.gather(*(client.ping() for client in clients))
    report.late(recorder.take_news(), recorder.published)


async def show_refusal(refused: Publication, bus: Bus, recorder: Recorder, report: Report) -> None:
    """Show why the bridge refused an event."""
    waiting = await bus.letters_waiting()
    if waiting > LETTERS_MAX:
        report.note(f"not looked up among {waiting} dead letters; see: .venv/bin/python -m bridge dead list")
        return
    letter = await bus.take_letter(refused.message_id)
    if letter is None:
        recorder.troubles.append(
            f"{refused.routing_key} has to be refused, and there is no dead letter of it"
        )
        return
    report.note(f"dead letter: {letter.reason}, field {letter.field}: {letter.message}")


def _in_words(exc: BaseException) -> str:
    if isinstance(exc, ConnectionClosed) and exc.rcvd is not None:
        return f"{exc.rcvd.code} {exc.rcvd.reason}"
    return str(exc) or type(exc).__name__


def main(environ: Mapping[str, str] = os.environ, file: Path = ENVIRONMENT_FILE) -> int:
    """Run the demonstration and return the exit status."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    # What libraries have to say about a lost connection, the report says in its own words.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        settings = load(environment(file, environ))
        report = Report(console)
        outcome = asyncio.run(demonstrate(settings, report))
        report.summary(outcome)
    except DevelError as error:
        errors.print(error.message, markup=False, soft_wrap=True)
        return 1
    except SettingsError as error:
        errors.print(*error.problems, sep="\n", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("\nStopped.")
        return INTERRUPTED
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
