// The samples of the last 15 minutes, kept for as long as the page is open, and whether the bridge is there.

import { stream } from "./api.js";

export const SAMPLES_MAX = 900;
const HIDDEN_MILLISECONDS_MAX = 30_000; // Then a page that nobody sees gives its stream back.

/** Tells "samples" when there are new ones, and "state". */
class Live extends EventTarget {
  samples = [];
  state = "connecting"; // connecting, open, lost or resting
  retryAt = 0;
  refusal = ""; // Why there is no stream, if the bridge has said so.
  #reading = null;

  get latest() {
    return this.samples.at(-1) ?? null;
  }

  start() {
    if (this.#reading) return;
    const reading = (this.#reading = new AbortController());
    stream("samples", {
      signal: reading.signal,
      wake: this,
      onEvent: (name, data) => this.#take(name, data),
      onState: (state, more) => {
        this.retryAt = more ? Date.now() + more.seconds * 1000 : 0;
        this.refusal = more?.error.status ? more.error.message : "";
        this.#set(state);
      },
    });
  }

  stop() {
    this.#reading?.abort();
    this.#reading = null;
    this.#set("resting");
  }

  retry() {
    this.dispatchEvent(new Event("wake"));
  }

  #set(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #take(name, data) {
    if (name === "history") this.samples = data.slice(-SAMPLES_MAX);
    else if (name === "sample") this.samples = [...this.samples.slice(1 - SAMPLES_MAX), data];
    else return;
    this.dispatchEvent(new Event("samples"));
  }
}

export const live = new Live();

let hiding = 0;

/** Read samples, except while the page has long been hidden. */
export function keepLive() {
  live.start();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => live.stop(), HIDDEN_MILLISECONDS_MAX);
    else live.start();
  });
}
