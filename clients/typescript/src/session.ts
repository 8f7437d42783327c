/** One socket, from its opening to its end: hello, answers, rooms, heartbeat. It never comes back. */

import { hintOfHeader, hintOfReason, limited } from "./closing.js";
import { Heartbeat } from "./heartbeat.js";
import { guarded } from "./listeners.js";
import type { Answer, Command, Connected, Message, Notice, Position, UnknownEvent } from "./protocol.js";
import { type BridgeError, Requests } from "./requests.js";
import type { Rooms } from "./rooms.js";

/** From the opening of a socket to the server's `connected`. */
export const CONNECT_MS_MAX = 15_000;
/** In one command (docs/protocol.md, Limits). */
export const COMMAND_ROOMS_MAX = 100;
export const HELLO_ROOMS_MAX = 200;
/** Rooms in a URL; the others are asked for afterwards. */
export const QUERY_CHARACTERS_MAX = 4_000;
/** Rooms that could not be looked up are asked for again after this, and at random up to twice as much. */
export const ROOMS_RETRY_MS = 5_000;
/** What the server proposes as an interval of pings is kept between these. */
const PING_MS_MIN = 1_000;
const PING_MS_MAX = 60_000;

/** The part of a WebSocket that is used: the browser's own, Node's, or that of the package `ws`. */
export interface SocketLike {
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string, protocols: string[]) => SocketLike;

/** Why a socket ended. `code` is the close code, 1006 where there was none. */
export interface End {
  readonly code: number;
  readonly reason: string;
  readonly hintMs?: number | undefined;
}

/** What a session tells. After `ended`, and after `drop`, it tells nothing more. */
export interface SessionHost {
  /** `fresh` are rooms that the last socket was not in when it ended. */
  connected(data: Connected, fresh: readonly string[]): void;
  event(event: UnknownEvent): void;
  notice(notice: Notice): void;
  /** The log has come so far; undefined for a position that the server does not understand. */
  passed(position: Position | undefined): void;
  /** The socket is in other rooms than before. `fresh` are new, and nothing from before is sent for them. */
  roomsChanged(fresh: readonly string[]): void;
  ended(end: End): void;
}

export interface SessionOptions {
  readonly url: string;
  readonly Socket: SocketClass;
  /** Left out: the browser attaches a cookie, and the handshake is the hello. */
  readonly token: string | undefined;
  readonly since: Position | undefined;
}

export class Session {
  readonly #socket: SocketLike;
  readonly #requests = new Requests((message) => this.#socket.send(JSON.stringify(message)));
  readonly #deadline: ReturnType<typeof setTimeout>;
  #heartbeat: Heartbeat | undefined; // Set once the server has said `connected`.
  #asking = false; // While a command about rooms waits for its answer, or for its next time.
  #retry: ReturnType<typeof setTimeout> | undefined;
  #hintMs: number | undefined;
  #over = false;

  /** Raises what the socket's constructor raises, such as SyntaxError for a bad URL. */
  constructor(
    private readonly options: SessionOptions,
    private readonly rooms: Rooms,
    private readonly host: SessionHost,
  ) {
    this.#socket = new options.Socket(this.#url(), ["bridge.v1"]);
    this.#deadline = setTimeout(() => this.#end(1006, "no answer in time"), CONNECT_MS_MAX);
    this.#socket.onopen = () => this.#hello();
    this.#socket.onmessage = ({ data }: { data: unknown }) => this.#heard(data);
    this.#socket.onclose = ({ code, reason }: End) => this.#end(code, reason);
    this.#socket.onerror = () => {}; // A close follows. Without a listener `ws` would raise.
    refusedUpgrade(this.#socket, (status, hintMs) => {
      this.#hintMs = hintMs;
      this.#end(1006, `refused with HTTP status ${status}`);
    });
  }

  /** Send a command; `done` is called once. Only after `connected`. */
  ask(command: Command, done: (answer: Answer | undefined, error: BridgeError | undefined) => void): void {
    this.#requests.ask(command, done);
  }

  /** Find out soon whether the link still carries something. */
  probe(): void {
    this.#heartbeat?.probe();
  }

  /** Bring the rooms that the socket is in to those that are wanted. */
  syncRooms(): void {
    if (!this.#heartbeat || this.#asking || this.#over) return;
    const leave = this.rooms.toLeave(COMMAND_ROOMS_MAX);
    const join = this.rooms.toJoin(COMMAND_ROOMS_MAX);
    if (leave.length) this.#leave(leave);
    else if (join.length) this.#join(join);
  }

  /** Say goodbye, and tell the host nothing more. Called twice it does nothing. */
  drop(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#retry);
    this.#heartbeat?.stop();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    guarded(() => this.#socket.close(1000));
    this.#requests.abandon();
  }

  #end(code: number, reason: string): void {
    if (this.#over) return;
    const hintMs = this.#hintMs ?? hintOfReason(reason);
    this.drop();
    this.host.ended({ code, reason, hintMs });
  }

  #url(): string {
    const { url, token, since } = this.options;
    if (token !== undefined) return url;
    const whole = new URL(url);
    const rooms = this.rooms.begin(HELLO_ROOMS_MAX, QUERY_CHARACTERS_MAX);
    if (rooms.length) whole.searchParams.set("rooms", rooms.join());
    if (since) {
      whole.searchParams.set("epoch", since.epoch);
      whole.searchParams.set("offset", String(since.offset));
    }
    return whole.href;
  }

  #hello(): void {
    const { token, since } = this.options;
    if (token === undefined) return;
    const rooms = this.rooms.begin(HELLO_ROOMS_MAX);
    this.#requests.ask({ op: "hello", token, rooms, since }, (_answer, error) => {
      // There was a cookie too, which counts: the server has said `connected` already.
      if (!error || error.code === "already_connected") return;
      if (error.code === "bad_position") this.host.passed(undefined);
      this.#end(1006, `${error.code}: ${error.message}`);
    });
  }

  #heard(text: unknown): void {
    this.#heartbeat?.heard();
    guarded(() => this.#take(JSON.parse(String(text)) as Message));
  }

  #take(message: Message): void {
    if ("offset" in message) {
      this.host.event(message);
      return;
    }
    switch (message.type) {
      case "connected":
        this.#connected(message.data);
        break;
      case "pong":
        if (message.data) this.host.passed(message.data.position);
        break;
      case "authenticated":
        this.rooms.left(message.data.left, "forbidden");
        this.host.roomsChanged(this.rooms.joined(message.data.rooms));
        break;
      case "revoked":
        this.rooms.left(message.data.rooms, "revoked");
        this.host.roomsChanged([]);
        this.host.notice(message);
        break;
      case "draining":
        this.#hintMs = limited(message.data.retryAfterMs);
        this.host.notice(message);
        break;
      case "error":
        if (!this.#requests.answered(message.id, undefined, message.data)) this.host.notice(message);
        return;
      case "gap":
      case "expiring":
      case "unread":
        this.host.notice(message);
    }
    if ("id" in message) this.#requests.answered(message.id, message);
  }

  #connected(data: Connected): void {
    if (this.#heartbeat) return;
    clearTimeout(this.#deadline);
    const pingMs = Math.min(PING_MS_MAX, Math.max(PING_MS_MIN, data.pingInterval * 1_000));
    this.#heartbeat = new Heartbeat(
      pingMs,
      () => this.#requests.ask({ op: "ping" }, () => {}),
      () => this.#end(1006, "the link is dead"),
    );
    const fresh = this.rooms.joined(data.rooms);
    const passing = this.rooms.refused(data.refused);
    this.host.connected(data, fresh);
    if (passing) this.#askLater();
    else this.syncRooms();
  }

  #leave(rooms: readonly string[]): void {
    this.#asking = true;
    this.ask({ op: "unsubscribe", rooms }, (_answer, error) => {
      if (!error) this.rooms.left(rooms);
      this.#asked(error !== undefined, []);
    });
  }

  #join(rooms: readonly string[]): void {
    this.#asking = true;
    this.rooms.ask(rooms);
    this.ask({ op: "subscribe", rooms }, (answer, error) => {
      if (answer?.type === "subscribed") {
        // A room of the last socket too: it was not asked for with the position of then.
        this.rooms.joined(answer.data.rooms);
        this.#asked(this.rooms.refused(answer.data.refused), answer.data.rooms);
      } else if (error) {
        // If every room is refused, the error has the code of the first.
        const passing = this.rooms.refused(rooms.map((room) => ({ room, code: error.code })));
        this.#asked(passing, []);
      }
    });
  }

  #asked(again: boolean, fresh: readonly string[]): void {
    this.#asking = false;
    if (this.#over) return;
    this.host.roomsChanged(fresh);
    if (again) this.#askLater();
    else this.syncRooms();
  }

  #askLater(): void {
    this.#asking = true;
    const ms = ROOMS_RETRY_MS * (1 + Math.random());
    this.#retry = setTimeout(() => {
      this.#asking = false;
      this.syncRooms();
    }, ms);
  }
}

interface Refusable {
  on?(
    name: "unexpected-response",
    listener: (
      request: { destroy(): void },
      response: { statusCode?: number; headers: { "retry-after"?: string } },
    ) => void,
  ): void;
}

/** Tell of an upgrade that was refused, where the socket shows it: `ws` does, a browser does not. */
function refusedUpgrade(
  socket: SocketLike & Refusable,
  refused: (status: number, hintMs: number | undefined) => void,
): void {
  socket.on?.("unexpected-response", (request, response) => {
    request.destroy();
    refused(response.statusCode ?? 0, hintOfHeader(response.headers["retry-after"]));
  });
}
