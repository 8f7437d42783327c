/** What a close code tells a client to do (docs/protocol.md, Close codes), and how long to wait. */

/**
 * - `retry`: come back
 * - `later`: come back, but not soon
 * - `token`: come back with a new token
 * - `final`: do not come back; it would change nothing, or a person is needed
 */
export type Verdict = "retry" | "later" | "token" | "final";

/** Codes that are not here, such as 1006 of a broken connection, are `retry`. */
export const VERDICTS: Readonly<Record<number, Verdict>> = {
  1007: "final",
  4009: "later",
  4400: "final",
  4401: "token",
  4403: "final",
};

/** Delays double from the first to the last: 0–1 s, 0–2 s, … 0–30 s. */
export const BASE_MS = 1_000;
export const DELAY_MS_MAX = 30_000;
/** No hint is trusted for longer. */
export const HINT_MS_MAX = 300_000;
/** `later` waits as if so many attempts had failed before: up to 8 s and more. */
export const LATER_FAILURES_MIN = 3;

export function verdictOf(code: number): Verdict {
  return VERDICTS[code] ?? "retry";
}

/** Return a random delay below a limit that doubles with each failure ("full jitter"). */
export function delayMs(failures: number, random: number): number {
  return random * Math.min(DELAY_MS_MAX, BASE_MS * 2 ** failures);
}

/** Return how long a close reason asks to wait (`come back after 1493 ms`), if it does. */
export function hintOfReason(reason: string): number | undefined {
  return limited(Number(/come back after (\d+) ms/.exec(reason)?.[1]));
}

/** Return how long an HTTP `Retry-After` in seconds asks to wait (RFC 9110 section 10.2.3), if it does. */
export function hintOfHeader(seconds: string | undefined): number | undefined {
  return limited(Number(seconds ?? Number.NaN) * 1_000);
}

/** Return a hint in milliseconds within its limits, undefined for what is none. */
export function limited(ms: number): number | undefined {
  return ms >= 0 ? Math.min(ms, HINT_MS_MAX) : undefined;
}
