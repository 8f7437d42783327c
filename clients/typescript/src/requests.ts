/** Commands that wait for their answers. */

import type { Answer, Command, CommandError } from "./protocol.js";

/** So many may wait. */
export const REQUESTS_MAX = 64;
export const ANSWER_MS_MAX = 15_000;

/** A command was refused, or not answered. `code` is the server's, or `disconnected`, `timeout`, `busy`. */
export class BridgeError extends Error {
  override readonly name = "BridgeError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

type Done = (answer: Answer | undefined, error: BridgeError | undefined) => void;

export class Requests {
  readonly #waiting = new Map<number, { done: Done; timer: ReturnType<typeof setTimeout> }>();
  #lastId = 0;

  constructor(private readonly send: (message: Command & { id: number }) => void) {}

  /** Send a command. `done` is called once: with the answer, or with why there is none. */
  ask(command: Command, done: Done): void {
    if (this.#waiting.size >= REQUESTS_MAX) {
      done(undefined, new BridgeError("busy", `${REQUESTS_MAX} commands wait for an answer`));
      return;
    }
    const id = ++this.#lastId;
    const timer = setTimeout(
      () => this.#finish(id, undefined, new BridgeError("timeout", `no answer to ${command.op}`)),
      ANSWER_MS_MAX,
    );
    this.#waiting.set(id, { done, timer });
    this.send({ ...command, id });
  }

  /** Hand an answer to whom it belongs; return whether there was somebody. */
  answered(id: number | undefined, answer: Answer | undefined, error?: CommandError): boolean {
    return id !== undefined && this.#finish(id, answer, error && new BridgeError(error.code, error.message));
  }

  /** Tell everybody that no answer will come. */
  abandon(): void {
    const error = new BridgeError("disconnected", "the connection ended before the answer came");
    for (const id of [...this.#waiting.keys()]) this.#finish(id, undefined, error);
  }

  #finish(id: number, answer: Answer | undefined, error: BridgeError | undefined): boolean {
    const request = this.#waiting.get(id);
    if (!request) return false;
    this.#waiting.delete(id);
    clearTimeout(request.timer);
    request.done(answer, error);
    return true;
  }
}
