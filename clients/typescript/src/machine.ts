/** What a connection goes through, as a table. Pure: the client acts on it (`client.ts`). */

/**
 * - `idle`: not started, or closed by the page
 * - `connecting`: from fetching a token to the server's `connected`
 * - `open`: events come
 * - `waiting`: until the next attempt
 * - `asleep`: the page has been hidden for long, or put away by the browser
 * - `closed`: by the server, for a reason that coming back would not change; `connect()` tries anyway
 */
export type State = "idle" | "connecting" | "open" | "waiting" | "asleep" | "closed";

/**
 * - `start`, `stop`: the page says so
 * - `opened`: the server has said `connected`
 * - `lost`: the attempt or the socket ended, and coming back may help
 * - `ended`: coming back would not help
 * - `due`: the wait is over
 * - `sleep`, `wake`: with the page
 */
export type Input = "start" | "stop" | "opened" | "lost" | "ended" | "due" | "sleep" | "wake";

export const TABLE: Readonly<Record<State, Readonly<Partial<Record<Input, State>>>>> = {
  idle: { start: "connecting" },
  connecting: { opened: "open", lost: "waiting", ended: "closed", stop: "idle", sleep: "asleep" },
  open: { lost: "waiting", ended: "closed", stop: "idle", sleep: "asleep" },
  waiting: { due: "connecting", stop: "idle", sleep: "asleep" },
  asleep: { wake: "waiting", stop: "idle" },
  closed: { start: "connecting", stop: "idle" },
};

/** Return the state after an input. One that is not in the state's row changes nothing. */
export function next(state: State, input: Input): State {
  return TABLE[state][input] ?? state;
}
