/** Tells a dead link from a quiet one: a browser does not show the server's pings to a page. */

/** How long an answer may take. */
export const PONG_MS_MAX = 10_000;
/** The same when there is a reason to doubt the link: the page was hidden, or the network changed. */
export const PROBE_MS_MAX = 5_000;

export class Heartbeat {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heardAt = 0;
  #dueAt = 0;
  /** Set while a ping waits for an answer. */
  #awaiting = false;

  /** After so much silence `ping` is called; without an answer to it, `dead`, once. */
  constructor(
    private readonly intervalMs: number,
    private readonly ping: () => void,
    private readonly dead: () => void,
  ) {
    this.heard();
    this.#arm(intervalMs);
  }

  /** Something came, whatever it was. */
  heard(): void {
    this.#heardAt = Date.now();
    if (this.#awaiting) {
      this.#awaiting = false;
      this.#arm(this.intervalMs);
    }
  }

  /** Ask now, and be answered within `ms`. An earlier question is not given more time. */
  probe(ms = PROBE_MS_MAX): void {
    if (this.#awaiting && this.#dueAt <= Date.now() + ms) return;
    this.#awaiting = true;
    this.ping();
    this.#arm(ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#dueAt = Date.now() + ms;
    this.#timer = setTimeout(() => this.#tick(), ms);
  }

  #tick(): void {
    const silenceMs = Date.now() - this.#heardAt;
    if (this.#awaiting) this.dead();
    else if (silenceMs >= this.intervalMs) this.probe(PONG_MS_MAX);
    // A clock that was set back must not make the wait longer than an interval.
    else this.#arm(Math.min(this.intervalMs, this.intervalMs - silenceMs));
  }
}
