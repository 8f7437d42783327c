import { describe, expect, test } from "vitest";
import { delayMs, hintOfHeader, hintOfReason, verdictOf } from "../../src/closing.js";

describe("what a close code tells", () => {
  test.each([
    [1000, "retry"],
    [1006, "retry"],
    [1007, "final"],
    [1009, "retry"],
    [1011, "retry"],
    [1012, "retry"],
    [4008, "retry"],
    [4009, "later"],
    [4400, "final"],
    [4401, "token"],
    [4403, "final"],
    [4999, "retry"],
  ])("%i is %s", (code, verdict) => {
    expect(verdictOf(code)).toBe(verdict);
  });
});

describe("how long to wait", () => {
  test.each([
    [0, 1_000],
    [1, 2_000],
    [4, 16_000],
    [5, 30_000],
    [60, 30_000],
    [5_000, 30_000],
  ])("after %i failures, anything up to %i ms", (failures, most) => {
    expect(delayMs(failures, 0)).toBe(0);
    expect(delayMs(failures, 0.5)).toBe(most / 2);
    expect(delayMs(failures, 1)).toBe(most);
  });

  test.each([
    ["draining; come back after 1493 ms", 1_493],
    ["draining: the database is away at the moment; come back after 20 ms", 20],
    ["draining; come back after 99999999 ms", 300_000],
    ["draining", undefined],
    ["", undefined],
  ])("the reason %j asks for %s ms", (reason, ms) => {
    expect(hintOfReason(reason)).toBe(ms);
  });

  test.each([
    ["2", 2_000],
    ["0", 0],
    ["86400", 300_000],
    ["-1", undefined],
    ["Sat, 21 Nov 2026 10:00:00 GMT", undefined],
    [undefined, undefined],
  ])("the header Retry-After: %s asks for %s ms", (header, ms) => {
    expect(hintOfHeader(header)).toBe(ms);
  });
});
