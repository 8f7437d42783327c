// @vitest-environment jsdom
import { act, cleanup, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Bridge } from "../../src/index.js";
import { ITEMS_MAX } from "../../src/react/inbox.js";
import { BridgeProvider, useInbox } from "../../src/react/index.js";
import { FakeSocket, fakeBridge, settle } from "./fakes.js";

let bridge: Bridge;
beforeEach(() => {
  vi.useFakeTimers();
  bridge = fakeBridge();
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const item = (id: number, read = false) => ({ id, read, event: { type: "order.completed" } });
const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => item(first + index));
const socket = () => FakeSocket.last;
const answer = (items: unknown[], more = false) =>
  act(async () => {
    socket().answer("inbox", { items, more });
    await settle();
  });

function Page({ children }: { children: ReactNode }): ReactNode {
  return (
    <StrictMode>
      <BridgeProvider bridge={bridge}>{children}</BridgeProvider>
    </StrictMode>
  );
}

async function inbox(unread?: number) {
  const view = renderHook(() => useInbox(), { wrapper: Page });
  await act(settle);
  await act(async () => socket().greet(unread === undefined ? {} : { unread }));
  return view;
}

test("it is read to its end when the connection is there", async () => {
  const { result } = await inbox(3);
  expect(result.current).toMatchObject({ items: [], unread: 3, loading: true });
  expect(socket().sent.at(-1)).toMatchObject({ op: "inbox", after: 0, limit: 100 });

  await answer(range(1, 2), true);
  expect(socket().sent.at(-1)).toMatchObject({ op: "inbox", after: 2 });
  await answer(range(3, 3));

  expect(result.current).toMatchObject({ loading: false, unread: 3 });
  expect(result.current.items.map(({ id }) => id)).toEqual([1, 2, 3]);
});

test("when something comes in, only that is read", async () => {
  const { result } = await inbox(1);
  await answer(range(1, 1));

  await act(async () => socket().say({ type: "unread", data: { unread: 2 } }));
  expect(socket().sent.at(-1)).toMatchObject({ op: "inbox", after: 1 });
  await answer(range(2, 2));

  expect(result.current.items.map(({ id }) => id)).toEqual([1, 2]);
  expect(socket().commands("inbox")).toHaveLength(2);
});

test("when another page has read something, all is read anew", async () => {
  const { result } = await inbox(2);
  await answer(range(1, 2));

  await act(async () => socket().say({ type: "unread", data: { unread: 1 } }));
  await answer([]);
  expect(socket().sent.at(-1)).toMatchObject({ op: "inbox", after: 0 });
  await answer([item(1, true), item(2)]);

  expect(result.current.items.map(({ read }) => read)).toEqual([true, false]);
});

test("what is marked as read here is shown so", async () => {
  const { result } = await inbox(2);
  await answer(range(1, 2));

  await act(async () => {
    const done = result.current.markRead([2]);
    socket().answer("read", { unread: 1 });
    await done;
    await settle();
  });
  // Whether it had to ask again or not, this is what the server says.
  if (result.current.loading) await answer([]);

  expect(result.current.unread).toBe(1);
  expect(result.current.items.map(({ read }) => read)).toEqual([false, true]);
});

test("of a long inbox the newest items are kept", async () => {
  const { result } = await inbox();
  for (let first = 1; first <= 700; first += 100) await answer(range(first, first + 99), first < 601);

  expect(result.current.items).toHaveLength(ITEMS_MAX);
  expect(result.current.items.at(-1)?.id).toBe(700);
});

test("where there is none, it says so", async () => {
  const { result } = await inbox();

  await act(async () => {
    socket().answer("error", { code: "not_configured", message: "there are no inboxes here" });
    await settle();
  });

  expect(result.current).toMatchObject({ items: [], loading: false, error: { code: "not_configured" } });
});

test("another user's inbox begins empty", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const { result } = await inbox(1);
  await answer(range(1, 1));

  await act(async () => {
    socket().end();
    await vi.advanceTimersByTimeAsync(1);
    socket().greet({ userId: "u2", unread: 1 });
  });
  expect(socket().sent.at(-1)).toMatchObject({ op: "inbox", after: 0 });
  await answer(range(9, 9));

  expect(result.current.items.map(({ id }) => id)).toEqual([9]);
  vi.restoreAllMocks();
});
