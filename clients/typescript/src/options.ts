/** What the page gives and is told. */

import type { State } from "./machine.js";
import type { SocketClass } from "./session.js";

/** Why a token is wanted: for a socket; because the last one was refused; because it ends soon. */
export type TokenReason = "connect" | "refused" | "expiring";

export interface BridgeOptions {
  /** Where the sockets are, such as `wss://bridge.example/ws`, or `/ws` of the page's own origin. */
  url: string;
  /**
   * Returns a token; `null` when nobody is signed in, which ends the connection. For `refused` and
   * `expiring` fetch a new one. Left out: the browser attaches the cookie by itself.
   */
  getToken?: (reason: TokenReason) => string | null | Promise<string | null>;
  /** Rooms to be in from the beginning, beside those that need no asking. */
  rooms?: readonly string[];
  /** Milliseconds that the page may be hidden before its socket is put away; Infinity for never. */
  sleepAfterMs?: number;
  /** The WebSocket to use; by default the global one. */
  WebSocket?: SocketClass;
}

/** How things are. A new object for every change, never changed itself. */
export interface Status {
  readonly state: State;
  /** The token's user; set from the first `connected` on. */
  readonly userId?: string;
  /** The rooms that the socket is in. */
  readonly rooms: readonly string[];
  /** Rooms that are wanted and were refused, with the server's code. */
  readonly refused: Readonly<Record<string, string>>;
  /** When the token ends, ISO 8601. */
  readonly expiresAt?: string;
  /** Unread items of the inbox, where there is one. */
  readonly unread?: number;
  /** When the next attempt is due while `waiting`, in milliseconds since 1970. */
  readonly retryAt?: number;
  /** Why the last socket or attempt ended. */
  readonly end?: { readonly code: number; readonly reason: string };
}

/**
 * The page may have missed events and has to read its state anew.
 * - `first`: the first connection; what happened before it was not sent
 * - `lost`: the connection came back, but not all that was missed can be sent, or the user is another one
 * - `gap`: the page read too slowly, and some events were dropped
 * - `rooms`: these rooms were joined just now; what happened before was not sent
 */
export interface Stale {
  readonly cause: "first" | "lost" | "gap" | "rooms";
  /** The rooms of the cause `rooms`; empty for the others, which concern all. */
  readonly rooms: readonly string[];
}
