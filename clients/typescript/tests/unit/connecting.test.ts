import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ANSWER_MS_MAX } from "../../src/requests.js";
import { CONNECT_MS_MAX } from "../../src/session.js";
import { EPOCH, FakeSocket, fakeBridge, greeting, openBridge, settle, URL } from "./fakes.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("hello", () => {
  test("making a bridge does nothing; connect opens one socket, however often it is called", async () => {
    const bridge = fakeBridge();
    await settle();
    expect(FakeSocket.made).toHaveLength(0);

    bridge.connect();
    bridge.connect();
    await settle();

    expect(FakeSocket.made).toHaveLength(1);
    expect(FakeSocket.last.url).toBe(URL);
    expect(FakeSocket.last.protocols).toEqual(["bridge.v1"]);
  });

  test("the token and the wanted rooms are in the first message, and no position on a first visit", async () => {
    const bridge = fakeBridge({ rooms: ["device:d7"] });
    bridge.join("device:d8");
    bridge.connect();
    await settle();

    FakeSocket.last.open();

    expect(FakeSocket.last.sent).toEqual([
      { op: "hello", id: 1, token: "t1", rooms: ["device:d7", "device:d8"] },
    ]);
  });

  test("the status tells who is connected, where, and until when", async () => {
    const bridge = await openBridge(
      { rooms: ["company:c9"] },
      {
        refused: [{ room: "company:c9", code: "forbidden" }],
        unread: 3,
      },
    );

    expect(bridge.status).toEqual({
      state: "open",
      userId: "u1",
      rooms: ["user:u1", "all"],
      refused: { "company:c9": "forbidden" },
      expiresAt: "2026-11-21T11:00:00.000Z",
      unread: 3,
    });
  });

  test("without getToken the handshake is the hello: rooms and position are in the URL", async () => {
    const cookie = fakeBridge({ rooms: ["device:d7", "device:d8"], getToken: undefined as never });
    cookie.connect();
    await settle();
    expect(FakeSocket.last.url).toBe(`${URL}?rooms=device%3Ad7%2Cdevice%3Ad8`);

    FakeSocket.last.greet({ rooms: ["user:u1", "all", "device:d7", "device:d8"] });
    FakeSocket.last.event(41);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);

    expect(FakeSocket.made[0]?.sent).toEqual([]);
    expect(FakeSocket.last.url).toBe(`${URL}?rooms=device%3Ad7%2Cdevice%3Ad8&epoch=${EPOCH}&offset=41`);
  });

  test("rooms that do not fit into the URL are asked for afterwards", async () => {
    const rooms = Array.from({ length: 60 }, (_, number) => `device:${number}-${"x".repeat(100)}`);
    const cookie = fakeBridge({ rooms, getToken: undefined as never });
    cookie.connect();
    await settle();
    const inUrl = new globalThis.URL(FakeSocket.last.url).searchParams.get("rooms")?.split(",") ?? [];

    FakeSocket.last.greet({ rooms: ["user:u1", ...inUrl] });

    expect(FakeSocket.last.url.length).toBeLessThan(4_200);
    expect(FakeSocket.last.commands("subscribe")[0].rooms).toEqual(rooms.slice(inUrl.length));
  });

  test("a cookie beside a token counts: its greeting is taken, and the rooms are asked for", async () => {
    const bridge = fakeBridge({ rooms: ["device:d7"] });
    bridge.connect();
    await settle();
    const socket = FakeSocket.last;

    socket.open();
    socket.say({ type: "connected", data: greeting() });
    socket.say({ type: "error", id: 1, data: { code: "already_connected", message: "it is connected" } });

    expect(bridge.status.state).toBe("open");
    expect(socket.commands("subscribe")).toEqual([{ op: "subscribe", id: 2, rooms: ["device:d7"] }]);
  });

  test.each([
    ["a socket that does not open", () => {}],
    ["a server that does not answer", () => FakeSocket.last.open()],
  ])("%s is given up in time", async (_what, act) => {
    const bridge = fakeBridge();
    bridge.connect();
    await settle();
    act();

    await vi.advanceTimersByTimeAsync(Math.min(CONNECT_MS_MAX, ANSWER_MS_MAX));

    expect(FakeSocket.made[0]?.closed).toBe(1000);
    expect(bridge.status.state).toBe("waiting");
  });

  test("a socket that cannot be made ends it, with the reason", async () => {
    const bridge = fakeBridge({ url: "no url" });
    bridge.connect();
    await settle();

    expect(bridge.status.state).toBe("closed");
    expect(bridge.status.end?.reason).toBe("TypeError: Invalid URL");
  });
});

describe("coming back", () => {
  test("it comes back with its newest position, and is whole", async () => {
    const stale = vi.fn();
    const bridge = await openBridge();
    bridge.onStale(stale);
    FakeSocket.last.event(41);
    FakeSocket.last.event(45);
    FakeSocket.last.end();

    expect(bridge.status).toMatchObject({ state: "waiting", rooms: [], end: { code: 1006, reason: "" } });
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.greet({ recovered: true, position: { epoch: EPOCH, offset: 45 } });

    expect(FakeSocket.last.commands("hello")[0].since).toEqual({ epoch: EPOCH, offset: 45 });
    expect(bridge.status.state).toBe("open");
    expect(stale).not.toHaveBeenCalled();
  });

  test("the page learns when not all can be sent again, and counts on from where the log is now", async () => {
    const stale = vi.fn();
    const bridge = fakeBridge();
    bridge.onStale(stale);
    bridge.connect();
    await settle();
    FakeSocket.last.greet();
    expect(stale.mock.calls).toEqual([[{ cause: "first", rooms: [] }]]);

    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.greet({ recovered: false, position: { epoch: "e2", offset: 7 } });
    FakeSocket.last.event(8);

    expect(stale.mock.lastCall).toEqual([{ cause: "lost", rooms: [] }]);
    expect(bridge.position).toEqual({ epoch: "e2", offset: 8 });
  });

  test("another user's connection is never taken for the same one resumed", async () => {
    const stale = vi.fn();
    const bridge = await openBridge();
    bridge.onStale(stale);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);

    FakeSocket.last.greet({ userId: "u2", recovered: true });

    expect(stale).toHaveBeenCalledWith({ cause: "lost", rooms: [] });
  });

  test("delays double with every failure, up to 30 s, with full jitter", async () => {
    const bridge = fakeBridge();
    bridge.connect();
    await settle();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      FakeSocket.last.end();
      waits.push((bridge.status.retryAt ?? 0) - Date.now());
      await vi.advanceTimersByTimeAsync(waits.at(-1) ?? 0);
      expect(FakeSocket.made).toHaveLength(attempt + 2);
    }

    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  test("delays begin anew only after a socket has been open for a while", async () => {
    const bridge = await openBridge();
    const wait = () => (bridge.status.retryAt ?? 0) - Date.now();
    for (const expected of [500, 1_000]) {
      FakeSocket.last.end();
      expect(wait()).toBe(expected);
      await vi.advanceTimersByTimeAsync(expected);
      FakeSocket.last.greet();
    }

    await vi.advanceTimersByTimeAsync(10_000);
    FakeSocket.last.end();

    expect(wait()).toBe(500);
  });

  test("the steadiness of one socket is not that of the next", async () => {
    const bridge = await openBridge();
    await vi.advanceTimersByTimeAsync(9_000);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.greet();
    await vi.advanceTimersByTimeAsync(9_000);

    FakeSocket.last.end();

    expect((bridge.status.retryAt ?? 0) - Date.now()).toBe(1_000);
  });

  test.each([
    ["the notice says", () => FakeSocket.last.say({ type: "draining", data: { retryAfterMs: 1_493 } })],
    ["the close reason says", () => {}],
  ])("it stays away for as long as %s, even if the page asks", async (_what, notice) => {
    const bridge = await openBridge();
    notice();
    FakeSocket.last.end(1012, "draining; come back after 1493 ms");

    bridge.connect();
    await vi.advanceTimersByTimeAsync(1_492);
    expect(FakeSocket.made).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);

    expect(FakeSocket.made).toHaveLength(2);
  });

  test("after a limit it does not come back soon", async () => {
    const bridge = await openBridge();

    FakeSocket.last.end(4009, "limit reached: 50 sockets of one user");

    expect((bridge.status.retryAt ?? 0) - Date.now()).toBe(4_000);
  });

  test.each([1007, 4400, 4403])("%i ends it; the page may try again", async (code) => {
    const bridge = await openBridge();

    FakeSocket.last.end(code, "for good");
    await vi.advanceTimersByTimeAsync(600_000);

    expect(FakeSocket.made).toHaveLength(1);
    expect(bridge.status).toMatchObject({ state: "closed", end: { code, reason: "for good" } });
    bridge.connect();
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    expect(bridge.status.end).toBeUndefined();
  });

  test("close says goodbye, and nothing happens afterwards; connect resumes", async () => {
    const bridge = await openBridge();
    const handler = vi.fn();
    bridge.on("quota.updated", handler);
    const socket = FakeSocket.last;

    bridge.close();
    socket.event(41);
    socket.end(1000);
    await vi.advanceTimersByTimeAsync(600_000);

    expect(socket.closed).toBe(1000);
    expect(handler).not.toHaveBeenCalled();
    expect(bridge.status.state).toBe("idle");
    expect(vi.getTimerCount()).toBe(0);
    bridge.connect();
    await settle();
    FakeSocket.last.open();
    expect(FakeSocket.last.commands("hello")[0].since).toEqual({ epoch: EPOCH, offset: 40 });
  });

  test("a listener that closes while it is told of the connection is obeyed", async () => {
    const bridge = fakeBridge();
    bridge.onStatus(({ state }) => {
      if (state === "connecting") bridge.close();
    });

    bridge.connect();
    await settle();

    expect(FakeSocket.made).toHaveLength(0);
    expect(bridge.status.state).toBe("idle");
  });

  test("a refused upgrade says how long to stay away, where the socket shows it", async () => {
    const destroy = vi.fn();
    class Refused extends FakeSocket {
      on(name: string, listener: (request: unknown, response: unknown) => void): void {
        expect(name).toBe("unexpected-response");
        const response = { statusCode: 429, headers: { "retry-after": "7" } };
        queueMicrotask(() => listener({ destroy }, response));
      }
    }
    const bridge = fakeBridge({ WebSocket: Refused });

    bridge.connect();
    await settle();

    expect(destroy).toHaveBeenCalled();
    expect(bridge.status.end?.reason).toBe("refused with HTTP status 429");
    expect((bridge.status.retryAt ?? 0) - Date.now()).toBe(7_000);
  });
});

describe("a position that the server does not understand", () => {
  test("is forgotten, and the page told so", async () => {
    const stale = vi.fn();
    const bridge = await openBridge();
    bridge.onStale(stale);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.open();
    FakeSocket.last.answer("error", { code: "bad_position", message: "since is no position" });
    await vi.advanceTimersByTimeAsync(1_000);

    FakeSocket.last.greet();

    expect(FakeSocket.last.commands("hello")[0].since).toBeUndefined();
    expect(stale).toHaveBeenCalledWith({ cause: "lost", rooms: [] });
  });

  test("is forgotten with a handshake that was refused for it", async () => {
    const bridge = await openBridge({ getToken: undefined as never });
    FakeSocket.last.end(4400, "bad_position");

    bridge.connect();
    await settle();

    expect(FakeSocket.last.url).toBe(URL);
  });
});

describe("a dead link", () => {
  test("is found out by a ping that nothing answers", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;

    await vi.advanceTimersByTimeAsync(25_000);
    expect(socket.commands("ping")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);

    expect(socket.closed).toBe(1000);
    expect(bridge.status).toMatchObject({ state: "waiting", end: { reason: "the link is dead" } });
  });

  test("is not suspected while anything comes, and a pong keeps the position young", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;
    for (let offset = 41; offset < 50; offset += 1) {
      await vi.advanceTimersByTimeAsync(20_000);
      socket.event(offset);
    }
    expect(socket.commands("ping")).toHaveLength(0);

    await vi.advanceTimersByTimeAsync(25_000);
    socket.answer("pong", { position: { epoch: EPOCH, offset: 900 } });
    await vi.advanceTimersByTimeAsync(24_999);

    expect(socket.commands("ping")).toHaveLength(1);
    expect(bridge.position).toEqual({ epoch: EPOCH, offset: 900 });
    expect(bridge.status.state).toBe("open");
  });

  test("a pong without a position changes none", async () => {
    const bridge = await openBridge();
    await vi.advanceTimersByTimeAsync(25_000);

    FakeSocket.last.answer("pong");

    expect(bridge.position).toEqual({ epoch: EPOCH, offset: 40 });
  });

  test.each([
    [0.001, 1_000],
    [3_600, 60_000],
  ])("an interval of %d s is taken as %i ms", async (pingInterval, ms) => {
    await openBridge({}, { pingInterval });

    await vi.advanceTimersByTimeAsync(ms - 1);
    expect(FakeSocket.last.commands("ping")).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);

    expect(FakeSocket.last.commands("ping")).toHaveLength(1);
  });
});
