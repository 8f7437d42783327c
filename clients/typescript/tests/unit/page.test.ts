// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SLEEP_MS } from "../../src/client.js";
import { EPOCH, FakeSocket, fakeBridge, openBridge, settle } from "./fakes.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  show();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function visibility(state: "visible" | "hidden"): void {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(state);
  document.dispatchEvent(new Event("visibilitychange"));
}
const show = () => visibility("visible");
const hide = () => visibility("hidden");
function network(onLine: boolean): void {
  vi.spyOn(navigator, "onLine", "get").mockReturnValue(onLine);
  window.dispatchEvent(new Event(onLine ? "online" : "offline"));
}

describe("hidden and shown", () => {
  test("a page that was hidden for long puts its socket away, and wakes with its position", async () => {
    const bridge = await openBridge();
    FakeSocket.last.event(41);
    hide();
    for (let hiddenMs = 0; hiddenMs < SLEEP_MS; hiddenMs += 20_000) {
      expect(bridge.status.state).toBe("open");
      FakeSocket.last.event(42);
      await vi.advanceTimersByTimeAsync(20_000);
    }
    expect(bridge.status.state).toBe("asleep");
    expect(FakeSocket.last.closed).toBe(1000);

    await vi.advanceTimersByTimeAsync(SLEEP_MS);
    expect(FakeSocket.made).toHaveLength(1);
    show();
    await settle();
    FakeSocket.last.open();

    expect(FakeSocket.made).toHaveLength(2);
    expect(FakeSocket.last.commands("hello")[0].since).toEqual({ epoch: EPOCH, offset: 42 });
  });

  test("a page that is shown again soon keeps its socket, but makes sure of it", async () => {
    const bridge = await openBridge({ sleepAfterMs: 5_000 });
    const socket = FakeSocket.last;
    hide();
    await vi.advanceTimersByTimeAsync(4_000);

    show();
    expect(socket.commands("ping")).toHaveLength(1);
    socket.answer("pong", { position: { epoch: EPOCH, offset: 40 } });
    await vi.advanceTimersByTimeAsync(6_000);

    expect(bridge.status.state).toBe("open");
  });

  test("a link that died while the page was hidden is found out within 5 s", async () => {
    const bridge = await openBridge();
    hide();

    show();
    await vi.advanceTimersByTimeAsync(5_000);

    expect(bridge.status.state).toBe("waiting");
  });

  test("a page that is hidden and shown all the time does not put that off", async () => {
    const bridge = await openBridge();
    for (let second = 0; second < 5; second += 1) {
      hide();
      show();
      await vi.advanceTimersByTimeAsync(1_000);
    }

    expect(bridge.status.state).toBe("waiting");
    expect(FakeSocket.last.commands("ping")).toHaveLength(1);
  });

  test("a page that is shown does not wait for its next attempt", async () => {
    const bridge = await openBridge();
    FakeSocket.last.end();
    expect(bridge.status.state).toBe("waiting");

    show();
    await settle();

    expect(bridge.status.state).toBe("connecting");
  });

  test("with Infinity a hidden page stays awake", async () => {
    await openBridge({ sleepAfterMs: Number.POSITIVE_INFINITY });
    hide();

    expect(vi.getTimerCount()).toBe(2); // The heartbeat's, and the one that makes delays begin anew.
  });

  test("a page that is opened in the background sleeps too, and does not wake with the network", async () => {
    hide();
    const bridge = await openBridge({ sleepAfterMs: 5_000 });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(bridge.status.state).toBe("asleep");

    network(true);
    await vi.advanceTimersByTimeAsync(5_000);

    expect(bridge.status.state).toBe("asleep");
  });

  test("a page that the browser puts away lets its socket go, and comes back when it does", async () => {
    const bridge = await openBridge();

    window.dispatchEvent(new Event("pagehide"));
    expect(bridge.status.state).toBe("asleep");
    window.dispatchEvent(new Event("pageshow"));
    await settle();

    expect(bridge.status.state).toBe("connecting");
  });
});

describe("off and on the network", () => {
  test("a socket is doubted when the network goes, and kept if it answers", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;

    network(false);
    socket.answer("pong");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(bridge.status.state).toBe("open");
    network(true);
    await vi.advanceTimersByTimeAsync(5_000);

    expect(socket.commands("ping")).toHaveLength(2);
    expect(bridge.status.state).toBe("waiting");
  });

  test("without a network attempts are rare; when it is back, the next comes within a second", async () => {
    const bridge = await openBridge();
    network(false);
    FakeSocket.last.end();
    expect((bridge.status.retryAt ?? 0) - Date.now()).toBe(30_000);

    network(true);
    await vi.advanceTimersByTimeAsync(500);

    expect(FakeSocket.made).toHaveLength(2);
  });
});

test("a relative URL is the page's own, as a socket", async () => {
  const bridge = fakeBridge({ url: "/ws" });
  bridge.connect();
  await settle();

  expect(FakeSocket.last.url).toBe(`${location.origin.replace("http", "ws")}/ws`);
});

test("a closed connection listens to nothing", async () => {
  const removed = vi.spyOn(window, "removeEventListener");
  const bridge = await openBridge();

  bridge.close();
  hide();
  show();
  network(true);
  await vi.advanceTimersByTimeAsync(SLEEP_MS);

  expect(removed.mock.calls.map(([name]) => name)).toEqual(
    expect.arrayContaining(["pagehide", "pageshow", "online", "offline"]),
  );
  expect(bridge.status.state).toBe("idle");
  expect(FakeSocket.made).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
});
