/** The client: one socket at a time, a token for it, when to come back, and the page's sleep. */

import { DELAY_MS_MAX, delayMs, LATER_FAILURES_MIN, verdictOf } from "./closing.js";
import { guarded, Listeners, Patterns } from "./listeners.js";
import { type Input, next } from "./machine.js";
import type { BridgeOptions, Stale, Status, TokenReason } from "./options.js";
import { isOffline, watchPage } from "./page.js";
import type {
  Answer,
  Command,
  Connected,
  InboxPage,
  Matching,
  Notice,
  Pattern,
  Position,
  UnknownEvent,
} from "./protocol.js";
import { BridgeError } from "./requests.js";
import { Rooms } from "./rooms.js";
import { type End, Session, type SocketClass } from "./session.js";

/** How long `getToken` may take. */
export const TOKEN_MS_MAX = 15_000;
/** So many times a live socket's token is renewed in vain before the server ends the socket. */
export const REFRESHES_MAX = 5;
/** A socket that was open for so long is a success: delays begin anew. */
export const STEADY_MS = 10_000;
/** How far apart the pages of one network come back when it does. */
export const ONLINE_MS_MAX = 1_000;
/** By default a page that is hidden for so long puts its socket away: as long as the log reaches back. */
export const SLEEP_MS = 300_000;

type Change = { [K in keyof Status]?: Status[K] | undefined };

const NOTHING: Status = { state: "idle", rooms: [], refused: {} };

/** A connection to the bridge. Making one does nothing yet, so it may be made anywhere; `connect` begins. */
export class Bridge {
  readonly #options: BridgeOptions;
  readonly #rooms = new Rooms();
  readonly #events = new Patterns<UnknownEvent>();
  readonly #statuses = new Listeners<Status>();
  readonly #stales = new Listeners<Stale>();
  readonly #notices = new Listeners<Notice>();
  #status = NOTHING;
  #position: Position | undefined;
  #session: Session | undefined;
  #attempt = 0; // Tells a late token from the one that is waited for.
  #failures = 0;
  #notBefore = 0; // The server asked to stay away until then.
  #tokenRefused = false;
  #syncing = false;
  #unwatch: (() => void) | undefined; // Set while the page is watched.
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #steadyTimer: ReturnType<typeof setTimeout> | undefined;
  #sleepTimer: ReturnType<typeof setTimeout> | undefined;
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;

  /** Raises TypeError for a room that cannot be one. */
  constructor(options: BridgeOptions) {
    this.#options = options;
    for (const room of options.rooms ?? []) this.#rooms.want(room);
  }

  /** How things are now. The same object until something changes. */
  get status(): Status {
    return this.#status;
  }

  /** The newest position in the log; handlers see that of the event they are called with. */
  get position(): Position | undefined {
    return this.#position;
  }

  /** Connect and stay connected. While it waits, do not wait longer. Otherwise, called twice it does nothing. */
  connect(): void {
    this.#hurry(0);
    if (!this.#move("start", { end: undefined })) return;
    this.#failures = 0;
    this.#notBefore = 0;
    this.#unwatch ??= watchPage({
      shown: () => this.#shown(),
      hidden: () => this.#hidden(),
      away: () => this.#sleep(),
      online: () => this.#online(),
      offline: () => this.#session?.probe(),
    });
    void this.#open();
  }

  /** Say goodbye. Handlers and rooms stay for another `connect`, which resumes. */
  close(): void {
    this.#drop();
    this.#rest();
    this.#move("stop", { retryAt: undefined });
  }

  /** Call for each event that the pattern matches, in log order. Returns what ends it. */
  on<P extends Pattern>(pattern: P, handler: (event: Matching<P>) => void): () => void {
    return this.#events.add(pattern, handler as unknown as (event: UnknownEvent) => void);
  }

  /** Call whenever `status` changes. Returns what ends it. */
  onStatus(listener: (status: Status) => void): () => void {
    return this.#statuses.add(listener);
  }

  /** Call whenever the page has to read its state anew. Returns what ends it. */
  onStale(listener: (stale: Stale) => void): () => void {
    return this.#stales.add(listener);
  }

  /** Call for what the server says unasked, and for errors that answer nothing. Returns what ends it. */
  onNotice(listener: (notice: Notice) => void): () => void {
    return this.#notices.add(listener);
  }

  /**
   * Be in a room until the returned function is called, over all reconnections. Whoever else wants the
   * room keeps it. Raises TypeError for what cannot be a room.
   */
  join(room: string): () => void {
    this.#rooms.want(room);
    this.#syncSoon();
    let held = true;
    return () => {
      if (held) this.#rooms.drop(room);
      held = false;
      this.#syncSoon();
    };
  }

  /** Read a page of the inbox, oldest first: items above `after`, at most `limit`. Raises BridgeError. */
  async inbox({ after, limit }: { after?: number; limit?: number } = {}): Promise<InboxPage> {
    return (await this.#ask({ op: "inbox", after, limit })).data as InboxPage;
  }

  /** Mark up to 100 items of the inbox as read. Raises BridgeError. */
  async markRead(ids: readonly number[]): Promise<void> {
    const { unread } = (await this.#ask({ op: "read", ids })).data as { unread: number };
    this.#publish({ unread });
  }

  #ask(command: Command): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (!this.#session || this.#status.state !== "open") {
        reject(new BridgeError("disconnected", "there is no connection"));
        return;
      }
      this.#session.ask(command, (answer, error) => (answer ? resolve(answer) : reject(error)));
    });
  }

  async #open(): Promise<void> {
    if (this.#status.state !== "connecting") return; // A listener has closed it.
    const attempt = ++this.#attempt;
    let token: string | null | undefined;
    try {
      token = await this.#token(this.#tokenRefused ? "refused" : "connect");
    } catch (error) {
      if (attempt === this.#attempt) this.#ended({ code: 1006, reason: `no token: ${error}` });
      return;
    }
    if (attempt !== this.#attempt) return;
    if (token === null) {
      this.#finish({ code: 4401, reason: "nobody is signed in" });
      return;
    }
    try {
      this.#session = new Session(
        {
          url: absolute(this.#options.url),
          Socket: this.#options.WebSocket ?? (globalThis.WebSocket as unknown as SocketClass),
          token,
          since: this.#position,
        },
        this.#rooms,
        {
          connected: (data, fresh) => this.#connected(data, fresh),
          event: (event) => this.#event(event),
          notice: (notice) => this.#notice(notice),
          passed: (position) => {
            this.#position = position;
          },
          roomsChanged: (fresh) => {
            this.#publish({});
            if (fresh.length) this.#stales.tell({ cause: "rooms", rooms: fresh });
          },
          ended: (end) => this.#ended(end),
        },
      );
    } catch (error) {
      this.#finish({ code: 1006, reason: String(error) });
    }
  }

  async #token(reason: TokenReason): Promise<string | null | undefined> {
    const { getToken } = this.#options;
    if (!getToken) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("getToken takes too long")), TOKEN_MS_MAX);
    });
    try {
      const token = await Promise.race([getToken(reason), late]);
      // Such as a variable that is not set: it must not look like a page that uses a cookie.
      if (token !== null && typeof token !== "string") throw new Error(`getToken returned ${typeof token}`);
      return token;
    } finally {
      clearTimeout(timer);
    }
  }

  #connected(data: Connected, fresh: readonly string[]): void {
    const before = this.#status.userId;
    this.#position = data.position;
    this.#tokenRefused = false;
    this.#steadyTimer = setTimeout(() => {
      this.#failures = 0;
    }, STEADY_MS);
    const { userId, expiresAt, unread } = data;
    this.#move("opened", { userId, expiresAt, unread });
    if (!data.recovered || (before !== undefined && before !== userId)) {
      this.#stales.tell({ cause: before === undefined ? "first" : "lost", rooms: [] });
    } else if (fresh.length) {
      // Asked for before the position, so that something may have happened in between.
      this.#stales.tell({ cause: "rooms", rooms: fresh });
    }
  }

  #event(event: UnknownEvent): void {
    // First: a handler that throws, or closes, must not have the event come again.
    if (this.#position) this.#position = { epoch: this.#position.epoch, offset: event.offset };
    this.#events.tell(event);
  }

  #notice(notice: Notice): void {
    if (notice.type === "unread") this.#publish({ unread: notice.data.unread });
    if (notice.type === "gap") this.#stales.tell({ cause: "gap", rooms: [] });
    if (notice.type === "expiring") void this.#refresh(0);
    this.#notices.tell(notice);
  }

  /** Renew the token on the live socket. In vain: the server ends the socket, and a new one is fetched then. */
  async #refresh(failures: number): Promise<void> {
    const session = this.#session;
    const again = () => {
      if (session !== this.#session || failures + 1 >= REFRESHES_MAX) return;
      this.#refreshTimer = setTimeout(
        () => void this.#refresh(failures + 1),
        delayMs(failures, Math.random()),
      );
    };
    const token = await this.#token("expiring").catch(() => null);
    if (session !== this.#session || !session || token === undefined) return;
    if (token === null) {
      again();
      return;
    }
    session.ask({ op: "auth", token }, (answer, error) => {
      if (answer?.type === "authenticated") this.#publish({ expiresAt: answer.data.expiresAt });
      else if (error?.code === "wrong_user") {
        session.drop();
        this.#ended({ code: 1000, reason: "another user signed in" });
      } else again();
    });
  }

  #ended(end: End): void {
    const verdict = verdictOf(end.code);
    // A cookie that was refused at once is not replaced by itself.
    const hopeless = verdict === "token" && !this.#options.getToken && this.#status.state !== "open";
    if (verdict === "final" || hopeless) {
      this.#finish(end);
      return;
    }
    this.#drop();
    this.#tokenRefused = verdict === "token";
    if (verdict === "later") this.#failures = Math.max(this.#failures, LATER_FAILURES_MIN);
    const ms = end.hintMs ?? (isOffline() ? DELAY_MS_MAX : delayMs(this.#failures, Math.random()));
    this.#failures += 1;
    const ordered = end.hintMs !== undefined || verdict === "later";
    this.#notBefore = ordered ? Date.now() + ms : 0;
    this.#retryIn(ms);
    this.#move("lost", { end: { code: end.code, reason: end.reason }, retryAt: Date.now() + ms });
  }

  /** Come back no more by itself. */
  #finish({ code, reason }: End): void {
    this.#drop();
    this.#rest();
    this.#tokenRefused = true; // Whatever ended it, a token of before did not help.
    if (code === 4400) this.#position = undefined; // It may be what was not understood.
    this.#move("ended", { end: { code, reason } });
  }

  #retryIn(ms: number): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      if (this.#move("due", { retryAt: undefined })) void this.#open();
    }, ms);
  }

  /** Wait no longer than so many milliseconds, unless the server asked to stay away for longer. */
  #hurry(ms: number): void {
    const retryAt = Math.max(this.#notBefore, Date.now() + ms);
    const { state, retryAt: before = 0 } = this.#status;
    if (state === "waiting" && retryAt < before) this.#publish({ retryAt });
    else if (!this.#move("wake", { retryAt })) return;
    this.#retryIn(retryAt - Date.now());
  }

  #shown(): void {
    clearTimeout(this.#sleepTimer);
    this.#hurry(0);
    this.#session?.probe();
  }

  #online(): void {
    if (this.#status.state !== "asleep") this.#hurry(Math.random() * ONLINE_MS_MAX);
    this.#session?.probe();
  }

  #hidden(): void {
    const { sleepAfterMs = SLEEP_MS } = this.#options;
    clearTimeout(this.#sleepTimer);
    if (sleepAfterMs < 2 ** 31) this.#sleepTimer = setTimeout(() => this.#sleep(), sleepAfterMs);
  }

  #sleep(): void {
    if (next(this.#status.state, "sleep") !== "asleep") return;
    this.#drop();
    this.#move("sleep", { retryAt: undefined });
  }

  /** End the socket or the attempt, whatever it has come to. */
  #drop(): void {
    this.#attempt += 1;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#steadyTimer);
    clearTimeout(this.#refreshTimer);
    const session = this.#session;
    this.#session = undefined;
    session?.drop();
    this.#rooms.end();
  }

  /** No longer watch the page. */
  #rest(): void {
    clearTimeout(this.#sleepTimer);
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** What joins and leaves in one go, as components that are drawn anew do, costs no command. */
  #syncSoon(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    queueMicrotask(() => {
      this.#syncing = false;
      guarded(() => this.#session?.syncRooms());
    });
  }

  /** Take an input; if it changes the state, tell so with what goes with it, and return true. */
  #move(input: Input, change: Change): boolean {
    const state = next(this.#status.state, input);
    if (state === this.#status.state) return false;
    this.#publish({ ...change, state });
    return true;
  }

  #publish(change: Change): void {
    this.#status = { ...this.#status, ...this.#rooms.view, ...change } as Status;
    this.#statuses.tell(this.#status);
  }
}

/** Make a connection to the bridge, which begins with `connect`. */
export function createBridge(options: BridgeOptions): Bridge {
  return new Bridge(options);
}

/** Return a URL for a socket: relative ones are the page's, http is ws and https wss. */
function absolute(url: string): string {
  const whole = new URL(url, typeof location === "undefined" ? undefined : location.href);
  whole.protocol = whole.protocol.replace(/^http/, "ws");
  return whole.href;
}
