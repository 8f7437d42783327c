/** Which rooms the page wants, and which of them the socket is in. Pure. */

import type { RefusedRoom } from "./protocol.js";

/** `kind:id` or `all` (docs/protocol.md, Rooms). */
const ROOM = /^(?:all|[a-z][a-z0-9_]{0,31}:[^\s,*\p{Cc}]{1,128})$/u;
/** Refusals that asking again later may change. */
const PASSING = new Set(["rate_limited", "unavailable", "not_ready", "busy", "timeout", "disconnected"]);

export class Rooms {
  /** How many holders want each room. */
  readonly #wanted = new Map<string, number>();
  /** Asked for on this socket; the others it is in, it is in without asking. */
  readonly #asked = new Set<string>();
  readonly #joined = new Set<string>();
  /** Where the last socket was in when it ended: only there a position tells what was missed. */
  #before: ReadonlySet<string> = new Set();
  readonly #refused = new Map<string, string>();

  /** Want a room once more. Raises TypeError for what cannot be one. */
  want(room: string): void {
    if (!ROOM.test(room)) throw new TypeError(`${JSON.stringify(room)} is not a room; write kind:id`);
    const holders = this.#wanted.get(room) ?? 0;
    this.#wanted.set(room, holders + 1);
    // Somebody new asks: what was refused before may be granted by now.
    if (!holders) this.#refused.delete(room);
  }

  /** Want a room once less. */
  drop(room: string): void {
    const holders = (this.#wanted.get(room) ?? 0) - 1;
    if (holders > 0) this.#wanted.set(room, holders);
    else this.#wanted.delete(room);
  }

  /** Begin with a new socket; return what it is to ask for. */
  begin(countMax: number, charactersMax = Number.POSITIVE_INFINITY): string[] {
    this.end();
    this.#refused.clear();
    let characters = 0;
    const rooms = [...this.#wanted.keys()].slice(0, countMax).filter((room) => {
      characters += encodeURIComponent(room).length + 3;
      return characters <= charactersMax;
    });
    for (const room of rooms) this.#asked.add(room);
    return rooms;
  }

  /** The socket is gone. */
  end(): void {
    if (this.#joined.size) this.#before = new Set(this.#joined);
    this.#asked.clear();
    this.#joined.clear();
  }

  /** The wanted rooms to ask for on this socket, at most so many. */
  toJoin(countMax: number): string[] {
    const missing = [...this.#wanted.keys()].filter(
      (room) => !this.#joined.has(room) && !this.#refused.has(room),
    );
    return missing.slice(0, countMax);
  }

  /** The rooms to leave: asked for, and no longer wanted. */
  toLeave(countMax: number): string[] {
    return [...this.#asked]
      .filter((room) => this.#joined.has(room) && !this.#wanted.has(room))
      .slice(0, countMax);
  }

  ask(rooms: readonly string[]): void {
    for (const room of rooms) this.#asked.add(room);
  }

  /** Note rooms that the socket is in; return those that are new, on it and since the last one. */
  joined(rooms: readonly string[]): string[] {
    const fresh = rooms.filter((room) => !this.#joined.has(room) && !this.#before.has(room));
    for (const room of rooms) {
      this.#joined.add(room);
      this.#refused.delete(room);
    }
    return fresh;
  }

  /** Note refusals; return whether asking again later may change one. */
  refused(rooms: readonly RefusedRoom[]): boolean {
    let passing = false;
    for (const { room, code } of rooms) {
      if (PASSING.has(code)) passing = true;
      else this.#refused.set(room, code);
    }
    return passing;
  }

  /** Note rooms that the socket is no longer in; they are asked for again only if somebody new wants them. */
  left(rooms: readonly string[], code?: string): void {
    for (const room of rooms) {
      this.#joined.delete(room);
      this.#asked.delete(room);
      if (code && this.#wanted.has(room)) this.#refused.set(room, code);
    }
  }

  /** For the status: the rooms that the socket is in, and what was refused of those that are wanted. */
  get view(): { rooms: readonly string[]; refused: Readonly<Record<string, string>> } {
    const refused = [...this.#refused].filter(([room]) => this.#wanted.has(room));
    return { rooms: [...this.#joined], refused: Object.fromEntries(refused) };
  }
}
