/** Calls at once, then at most once per `ms`: a storm of events must not become a storm of requests. */
export class Coalesced {
  #timer: ReturnType<typeof setTimeout> | undefined; // Set for `ms` after a call.
  #again = false;

  constructor(
    private readonly call: () => void,
    private readonly ms: number,
  ) {}

  ask(): void {
    if (this.#timer !== undefined) {
      this.#again = true;
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#again) this.ask();
    }, this.ms);
    this.#again = false;
    this.call();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#again = false;
  }
}
