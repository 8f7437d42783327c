/** Who wants to hear of what. A listener that throws harms no other. */

export class Listeners<T> {
  readonly #listeners = new Set<{ call: (value: T) => void }>();

  /** Returns what ends it. The same function added twice is called twice. */
  add(call: (value: T) => void): () => void {
    const listener = { call };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  tell(value: T): void {
    for (const listener of [...this.#listeners]) guarded(() => listener.call(value));
  }

  get size(): number {
    return this.#listeners.size;
  }
}

/** Listeners by pattern: `device.started`, `device.*` or `*`. */
export class Patterns<T extends { type: string }> {
  readonly #byPattern = new Map<string, Listeners<T>>();

  add(pattern: string, call: (value: T) => void): () => void {
    let listeners = this.#byPattern.get(pattern);
    if (!listeners) this.#byPattern.set(pattern, (listeners = new Listeners<T>()));
    const remove = listeners.add(call);
    return () => {
      remove();
      if (!listeners.size && this.#byPattern.get(pattern) === listeners) this.#byPattern.delete(pattern);
    };
  }

  tell(value: T): void {
    const { type } = value;
    for (const pattern of [type, `${type.slice(0, type.indexOf("."))}.*`, "*"]) {
      this.#byPattern.get(pattern)?.tell(value);
    }
  }
}

/** Call; what is thrown is reported as if nobody had called from here. */
export function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}
