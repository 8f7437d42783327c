/** A socket and a server of the test's own. Times are vitest's fake ones. */

import { afterEach, vi } from "vitest";
import { type Bridge, type BridgeOptions, createBridge } from "../../src/index.js";
import type { Connected } from "../../src/protocol.js";
import type { SocketLike } from "../../src/session.js";

export const EPOCH = "e1";

// biome-ignore lint/suspicious/noExplicitAny: what was sent is looked at as it is
type Json = any;

export class FakeSocket implements SocketLike {
  static readonly made: FakeSocket[] = [];

  /** The newest; there has to be one. */
  static get last(): FakeSocket {
    const last = FakeSocket.made.at(-1);
    if (!last) throw new Error("no socket was made");
    return last;
  }

  onopen: ((event: never) => unknown) | null = null;
  onmessage: ((event: never) => unknown) | null = null;
  onclose: ((event: never) => unknown) | null = null;
  onerror: ((event: never) => unknown) | null = null;
  readonly sent: Json[] = [];
  /** The code that the client closed with. */
  closed: number | undefined;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.made.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(code?: number): void {
    this.closed = code;
  }

  open(): void {
    this.onopen?.({} as never);
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) } as never);
  }

  /** Answer the last command. */
  answer(type: string, data?: unknown): void {
    this.say({ type, id: this.sent.at(-1).id, data });
  }

  /** The server closes, or (1006) the connection breaks. */
  end(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason } as never);
  }

  /** Open, and be greeted. */
  greet(changes: Partial<Connected> = {}): void {
    this.open();
    this.say({ type: "connected", id: this.sent.at(-1)?.id, data: greeting(changes) });
  }

  event(offset: number, type = "quota.updated", data: Json = { userId: "u1", quotaId: "q1" }): void {
    this.say({ offset, room: "user:u1", type, version: 1, id: `evt-${offset}`, timestamp: TIME, data });
  }

  /** The commands of one kind that were sent. */
  commands(op: string): Json[] {
    return this.sent.filter((command) => command.op === op);
  }
}

export const TIME = "2026-11-21T10:00:00.000Z";

export function greeting(changes: Partial<Connected> = {}): Connected {
  return {
    userId: "u1",
    clientId: "c1",
    rooms: ["user:u1", "all"],
    refused: [],
    position: { epoch: EPOCH, offset: 40 },
    recovered: false,
    expiresAt: "2026-11-21T11:00:00.000Z",
    pingInterval: 25,
    ...changes,
  };
}

export const URL = "ws://bridge.test/ws";

const made: Bridge[] = [];
afterEach(() => {
  for (const bridge of made.splice(0)) bridge.close();
});

/** A bridge on fake sockets, not yet connected; closed after the test. */
export function fakeBridge(options: Partial<BridgeOptions> = {}): Bridge {
  FakeSocket.made.length = 0;
  const bridge = createBridge({ url: URL, getToken: () => "t1", WebSocket: FakeSocket, ...options });
  made.push(bridge);
  return bridge;
}

/** Let promises that are due go on; no time passes. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

/** A bridge on fake sockets that is open. */
export async function openBridge(
  options: Partial<BridgeOptions> = {},
  changes: Partial<Connected> = {},
): Promise<Bridge> {
  const bridge = fakeBridge(options);
  bridge.connect();
  await settle();
  FakeSocket.last.greet(changes);
  return bridge;
}
