/** The dialect bridge.v1 as types: what is said and heard on the wire (docs/protocol.md). */

import type { Events, JsonValue } from "./events.js";

export type EventName = keyof Events;

/** An event as it arrives. Narrow it by `type`; where a type has several versions, by `version` too. */
export type BridgeEvent<N extends EventName = EventName> = N extends EventName
  ? Envelope<N> & Events[N]
  : never;

interface Envelope<N extends string> {
  /** The publisher's id of the event; events that derive from one share it. */
  readonly id: string;
  readonly type: N;
  /** When it happened, in UTC, ISO 8601. */
  readonly timestamp: string;
  /** Its place in the log. */
  readonly offset: number;
  /** The room by which this socket gets it. */
  readonly room: string;
  /** The publisher's W3C traceparent, if the event has one and the operator shows it. */
  readonly trace?: string;
}

/** An event of a type that was declared after this package was made, or in the settings of a bridge. */
export interface UnknownEvent extends Envelope<string> {
  readonly version: number;
  readonly data: { readonly [key: string]: JsonValue };
}

type FirstPart<N> = N extends `${infer Part}.${string}` ? Part : never;

/** An event type; all of an entity, such as `device.*`; or `*` for everything. */
export type Pattern = EventName | `${FirstPart<EventName>}.*` | "*";

/** The events that a pattern matches. */
export type Matching<P extends string> = P extends "*"
  ? BridgeEvent
  : P extends `${infer Part}.*`
    ? BridgeEvent<Extract<EventName, `${Part}.${string}`>>
    : P extends EventName
      ? BridgeEvent<P>
      : UnknownEvent;

/** A place in the log. The epoch names one life of it. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

export interface RefusedRoom {
  readonly room: string;
  readonly code: string;
}

export interface InboxItem {
  readonly id: number;
  readonly read: boolean;
  /** The event as its sockets got it. */
  readonly event: Unplaced<BridgeEvent>;
}

type Unplaced<E> = E extends unknown ? Omit<E, "offset" | "room" | "trace"> : never;

export interface InboxPage {
  readonly items: readonly InboxItem[];
  /** Whether it is worth asking again, with the last item's id as `after`. */
  readonly more: boolean;
}

export type Command =
  | { op: "hello"; token: string; rooms: readonly string[]; since: Position | undefined }
  | { op: "subscribe" | "unsubscribe"; rooms: readonly string[] }
  | { op: "auth"; token: string }
  | { op: "ping" }
  | { op: "inbox"; after: number | undefined; limit: number | undefined }
  | { op: "read"; ids: readonly number[] };

export interface Connected {
  userId: string;
  clientId: string;
  rooms: string[];
  refused: RefusedRoom[];
  position: Position;
  recovered: boolean;
  expiresAt: string;
  /** Seconds. */
  pingInterval: number;
  unread?: number;
}

/** What the server says unasked, or instead of an answer. */
export type Notice =
  | { type: "gap"; data: { events: number; firstOffset: number; lastOffset: number } }
  | { type: "expiring"; data: { expiresAt: string } }
  | { type: "draining"; data: { retryAfterMs: number } }
  | { type: "revoked"; data: { rooms: string[] } }
  | { type: "unread"; data: { unread: number } }
  | { type: "error"; id?: number; data: CommandError };

export interface CommandError {
  code: string;
  message: string;
  room?: string;
}

/** What answers a command, by its `type`. */
export interface Answers {
  connected: Connected;
  subscribed: { rooms: string[]; refused: RefusedRoom[]; position: Position; recovered: boolean };
  unsubscribed: { rooms: string[] };
  authenticated: { expiresAt: string; rooms: string[]; left: string[] };
  pong: { position: Position } | undefined;
  inbox: InboxPage;
  read: { unread: number };
}

export type Answer = {
  [T in keyof Answers]: { type: T; id?: number; data: Answers[T] };
}[keyof Answers];

/** Only events have an offset. */
export type Message = (UnknownEvent & { id: string }) | Answer | Notice;
