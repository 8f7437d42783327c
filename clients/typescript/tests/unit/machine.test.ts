import { expect, test } from "vitest";
import { type Input, next, type State, TABLE } from "../../src/machine.js";

const INPUTS: Input[] = ["start", "stop", "opened", "lost", "ended", "due", "sleep", "wake"];
const STATES = Object.keys(TABLE) as State[];

// One row for each state, one column for each input; "." stays where it is.
const EXPECTED = `
            start       stop  opened  lost     ended   due         sleep   wake
idle        connecting  .     .       .        .       .           .       .
connecting  .           idle  open    waiting  closed  .           asleep  .
open        .           idle  .       waiting  closed  .           asleep  .
waiting     .           idle  .       .        .       connecting  asleep  .
asleep      .           idle  .       .        .       .           .       waiting
closed      connecting  idle  .       .        .       .           .       .
`;

const rows = EXPECTED.trim()
  .split("\n")
  .map((line) => line.trim().split(/\s+/));

test("the states go over into each other as the table says, and in no other way", () => {
  const [inputs, ...states] = rows;
  const found = STATES.map((state) => [
    state,
    ...INPUTS.map((input) => (next(state, input) === state ? "." : next(state, input))),
  ]);

  expect(inputs).toEqual(INPUTS);
  expect(found).toEqual(states);
});

test("every state can be reached from the beginning, and be stopped", () => {
  const reached = new Set<State>(["idle"]);
  for (const state of reached) for (const input of INPUTS) reached.add(next(state, input));

  expect([...reached].sort()).toEqual([...STATES].sort());
  expect(STATES.map((state) => next(state, "stop"))).toEqual(STATES.map(() => "idle"));
});
