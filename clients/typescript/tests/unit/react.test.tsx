// @vitest-environment jsdom
import { act, cleanup, render, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Bridge } from "../../src/index.js";
import {
  BridgeProvider,
  useBridge,
  useDepositListener,
  useEvent,
  useRealtimeApp,
  useRealtimeBilling,
  useRealtimeDevice,
  useRealtimeQuota,
  useRoom,
  useStale,
} from "../../src/react/index.js";
import { FakeSocket, fakeBridge, settle, URL } from "./fakes.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

let bridge: Bridge;
/** Everything is tested as StrictMode mounts it: twice. */
function Page({ children }: { children: ReactNode }): ReactNode {
  return (
    <StrictMode>
      <BridgeProvider bridge={bridge}>{children}</BridgeProvider>
    </StrictMode>
  );
}
beforeEach(() => {
  bridge = fakeBridge();
});

async function hook<T, P>(use: (props: P) => T, initialProps?: P) {
  const options = initialProps === undefined ? {} : { initialProps };
  const view = renderHook(use, { wrapper: Page, reactStrictMode: true, ...options });
  await act(settle);
  return view;
}

const socket = () => FakeSocket.last;
const say = (call: () => void) => act(async () => call());

describe("the provider", () => {
  test("opens one socket for all hooks, also in StrictMode, and closes it with the page", async () => {
    const view = await hook(() => [useRoom("device:d1"), useRoom("device:d2"), useBridge(), useBridge()]);
    socket().open();

    expect(FakeSocket.made).toHaveLength(1);
    expect(socket().sent[0].rooms).toEqual(["device:d1", "device:d2"]);
    view.unmount();
    await settle();
    await vi.advanceTimersByTimeAsync(1);
    expect(socket().closed).toBe(1000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("makes a connection of its own from options, and calls the newest getToken", async () => {
    FakeSocket.made.length = 0;
    const page = (token: string, url = URL) => (
      <StrictMode>
        <BridgeProvider url={url} getToken={() => token} WebSocket={FakeSocket} />
      </StrictMode>
    );
    const view = render(page("first"));
    await act(settle);
    socket().open();
    view.rerender(page("second"));
    socket().end();
    await act(() => vi.advanceTimersByTimeAsync(500));
    socket().open();

    expect(FakeSocket.made.map((each) => each.sent[0].token)).toEqual(["first", "second"]);
    view.rerender(page("third", "ws://other.test/ws"));
    await act(() => vi.advanceTimersByTimeAsync(1));
    expect(FakeSocket.made).toHaveLength(3);
    expect(FakeSocket.made[1]?.closed).toBe(1000);
    expect(socket().url).toBe("ws://other.test/ws");
  });

  test("keeps a connection that another root of the page still uses", async () => {
    const first = await hook(() => useBridge());
    await hook(() => useBridge());

    first.unmount();
    await act(() => vi.advanceTimersByTimeAsync(1));

    expect(FakeSocket.made).toHaveLength(1);
    expect(bridge.status.state).toBe("connecting");
  });

  test("a hook outside of one says what is missing", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});

    expect(() => renderHook(() => useBridge())).toThrow("<BridgeProvider>");
  });
});

test("useBridge is drawn anew with every change of the status", async () => {
  const view = await hook(() => useBridge());
  expect(view.result.current.state).toBe("connecting");

  await say(() => socket().greet());

  expect(view.result.current).toMatchObject({ state: "open", userId: "u1", bridge });
});

describe("useRoom", () => {
  test("joins while mounted, and tells whether it is in", async () => {
    const view = await hook((room: string | null) => useRoom(room), "device:d1" as string | null);
    await say(() => socket().greet({ rooms: ["user:u1", "device:d1"] }));
    expect(view.result.current).toEqual({ joined: true, refused: undefined });

    view.rerender("device:d2");
    await act(settle);
    expect(socket().sent.at(-1)).toMatchObject({ op: "unsubscribe", rooms: ["device:d1"] });
    await say(() => socket().answer("unsubscribed", { rooms: ["device:d1"] }));
    await say(() => socket().answer("error", { code: "forbidden", message: "no" }));

    expect(view.result.current).toEqual({ joined: false, refused: "forbidden" });
    view.rerender(null);
    expect(view.result.current).toEqual({ joined: false, refused: undefined });
  });
});

describe("useEvent and useStale", () => {
  test("call the newest handler, once for each event, while mounted", async () => {
    const seen: string[] = [];
    const view = await hook((name: string) => {
      useEvent("quota.*", ({ offset }) => void seen.push(`${name} ${offset}`));
      useStale(({ cause }) => void seen.push(`${name} ${cause}`));
    }, "a" as string);
    await say(() => socket().greet());
    await say(() => socket().event(41));
    view.rerender("b");
    await say(() => socket().event(42));
    view.unmount();
    socket().event(43);

    expect(seen).toEqual(["a first", "a 41", "b 42"]);
  });
});

describe("the hooks of the domains", () => {
  test.each([
    ["useRealtimeQuota", ["quota.updated"], useRealtimeQuota],
    ["useRealtimeDevice", ["device.started"], useRealtimeDevice],
    ["useRealtimeBilling", ["order.completed", "billing.payment_success"], useRealtimeBilling],
    ["useRealtimeApp", ["app.installed"], useRealtimeApp],
  ] as const)("%s hears %j and nothing else", async (_name, expected, use) => {
    const onEvent = vi.fn();
    const view = await hook(() => use({ onEvent }));
    await say(() => socket().greet());
    const types = [
      "quota.updated",
      "device.started",
      "order.completed",
      "billing.payment_success",
      "app.installed",
    ];

    await say(() => types.forEach((type, index) => void socket().event(41 + index, type)));

    expect(onEvent.mock.calls.map(([event]) => event.type)).toEqual(expected);
    expect(view.result.current).toMatchObject({ live: true, last: { type: expected.at(-1) } });
  });

  test("refresh follows a storm of events at once and then once in a while", async () => {
    const refresh = vi.fn();
    await hook(() => useRealtimeQuota({ refresh }));
    await say(() => socket().greet({ recovered: true }));

    for (let ms = 0; ms < 2_000; ms += 10) {
      await act(() => vi.advanceTimersByTimeAsync(10));
      socket().event(41 + ms);
    }
    await act(() => vi.advanceTimersByTimeAsync(5_000));

    expect(refresh.mock.calls.length).toBeGreaterThanOrEqual(5);
    expect(refresh.mock.calls.length).toBeLessThanOrEqual(6);
  });

  test("refresh is called when events may have been missed, but not for rooms of others", async () => {
    const refresh = vi.fn();
    const view = await hook(
      (deviceId: string | null) => {
        useRoom("company:c1");
        return useRealtimeDevice({ deviceId, refresh, refreshMsMin: 0 });
      },
      null as string | null,
    );
    await say(() => socket().greet({ recovered: true, rooms: ["user:u1"] }));
    const joined = () =>
      say(() =>
        socket().answer("subscribed", { rooms: socket().sent.at(-1).rooms, refused: [], recovered: false }),
      );
    await joined();
    expect(refresh).toHaveBeenCalledTimes(0);

    view.rerender("d7");
    await act(settle);
    await joined();
    await act(() => vi.advanceTimersByTimeAsync(1));
    expect(refresh).toHaveBeenCalledTimes(1);
    await say(() => socket().say({ type: "gap", data: { events: 1, firstOffset: 41, lastOffset: 41 } }));
    expect(refresh).toHaveBeenCalledTimes(2);
  });

  test("with a device only its events count, and its room is joined", async () => {
    const onEvent = vi.fn();
    await hook(() => useRealtimeDevice({ deviceId: "d7", onEvent }));
    await say(() => socket().greet());

    expect(socket().sent[0].rooms).toEqual(["device:d7"]);
    await say(() => {
      socket().event(41, "device.started", { userId: "u1", deviceId: "d8" });
      socket().event(42, "device.started", { userId: "u1", deviceId: "d7" });
    });
    expect(onEvent.mock.calls.map(([event]) => event.offset)).toEqual([42]);
  });

  test("of a device that is no longer asked for nothing is shown", async () => {
    const view = await hook((deviceId: string) => useRealtimeDevice({ deviceId }), "d7" as string);
    await say(() => socket().greet());
    await say(() => socket().event(41, "device.started", { userId: "u1", deviceId: "d7" }));
    expect(view.result.current.last?.offset).toBe(41);

    view.rerender("d8");

    expect(view.result.current.last).toBeUndefined();
  });
});

describe("useDepositListener", () => {
  const deposit = (offset: number, transactionId: string, userId = "u1") =>
    socket().event(offset, "wallet.deposit_completed", {
      userId,
      transactionId,
      amount: "5",
      newBalance: "9",
    });

  test("tells of the one deposit, once", async () => {
    const onCompleted = vi.fn();
    const onStatus = vi.fn();
    const view = await hook(() => useDepositListener("u1", "tx1", onCompleted, { onStatus }));
    await say(() => socket().greet());

    await say(() => {
      socket().event(41, "wallet.payment_status_updated", { userId: "u1", transactionId: "tx1" });
      deposit(42, "tx2");
      deposit(43, "tx1", "u2");
    });
    expect(view.result.current).toEqual({ live: true, completed: false });
    await say(() => {
      deposit(44, "tx1");
      deposit(45, "tx1");
    });

    expect(onStatus.mock.calls.map(([event]) => event.offset)).toEqual([41]);
    expect(onCompleted.mock.calls.map(([event]) => event.offset)).toEqual([44]);
    expect(view.result.current.completed).toBe(true);
  });

  test("asks the page to look itself when events may have been missed, until the deposit is there", async () => {
    const onStale = vi.fn();
    const view = await hook(
      (transactionId: string | null) => useDepositListener("u1", transactionId, () => {}, { onStale }),
      "tx1" as string | null,
    );
    await say(() => socket().greet());
    expect(onStale).toHaveBeenCalledTimes(1);

    await say(() => deposit(41, "tx1"));
    await say(() => socket().say({ type: "gap", data: { events: 1, firstOffset: 42, lastOffset: 42 } }));
    expect(onStale).toHaveBeenCalledTimes(1);

    view.rerender("tx2");
    expect(view.result.current.completed).toBe(false);
  });
});

function Room(): ReactNode {
  useRoom("device:d1");
  return null;
}

test("a component that joins a room again in the same drawing sends nothing", async () => {
  const view = render(
    <Page>
      <Room key="first" />
    </Page>,
  );
  await act(settle);
  await say(() => socket().greet({ rooms: ["user:u1", "device:d1"] }));

  view.rerender(
    <Page>
      <Room key="second" />
    </Page>,
  );
  await act(settle);

  expect(socket().sent).toHaveLength(1);
});
