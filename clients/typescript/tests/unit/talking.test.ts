import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ANSWER_MS_MAX, REQUESTS_MAX } from "../../src/requests.js";
import { EPOCH, FakeSocket, fakeBridge, openBridge, settle } from "./fakes.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const TYPES = ["device.started", "device.status.changed", "quota.updated", "match.scored"];

describe("events", () => {
  test.each([
    ["device.started", ["device.started"]],
    ["device.*", ["device.started", "device.status.changed"]],
    ["quota.*", ["quota.updated"]],
    ["*", TYPES],
  ] as const)("%s matches %j", async (pattern, expected) => {
    const bridge = await openBridge();
    const seen: string[] = [];
    bridge.on(pattern, (event) => void seen.push(event.type));

    for (const [index, type] of TYPES.entries()) FakeSocket.last.event(41 + index, type);

    expect(seen).toEqual(expected);
  });

  test("the position is that of the event before its handler is called, so a handler that fails loses nothing", async () => {
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const bridge = await openBridge();
    const positions: unknown[] = [];
    const failure = new Error("the page's mistake");
    bridge.on("*", () => {
      positions.push(bridge.position);
      throw failure;
    });
    const other = vi.fn();
    bridge.on("*", other);

    FakeSocket.last.event(41);
    FakeSocket.last.event(44);

    expect(positions).toEqual([
      { epoch: EPOCH, offset: 41 },
      { epoch: EPOCH, offset: 44 },
    ]);
    expect(other).toHaveBeenCalledTimes(2);
    expect(reported).toHaveBeenCalledWith(failure);
    vi.unstubAllGlobals();
  });

  test("a handler that has ended is not called, and the same function twice is two handlers", async () => {
    const bridge = await openBridge();
    const handler = vi.fn();
    const end = bridge.on("quota.updated", handler);
    bridge.on("quota.updated", handler);

    FakeSocket.last.event(41);
    end();
    end();
    FakeSocket.last.event(42);

    expect(handler).toHaveBeenCalledTimes(3);
  });

  test("a handler that is added by another is called from the next event on", async () => {
    const bridge = await openBridge();
    const added = vi.fn();
    bridge.on("*", ({ offset }) => {
      if (offset === 41) bridge.on("*", added);
    });

    FakeSocket.last.event(41);
    FakeSocket.last.event(42);

    expect(added.mock.calls.map(([event]) => event.offset)).toEqual([42]);
  });

  test("what cannot be read, and what is not known, disturbs nothing", async () => {
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const bridge = await openBridge();

    FakeSocket.last.onmessage?.({ data: "{" } as never);
    FakeSocket.last.say({ type: "something new", data: {} });
    FakeSocket.last.event(41);

    expect(bridge.position?.offset).toBe(41);
    expect(reported).toHaveBeenCalledTimes(1);
    vi.unstubAllGlobals();
  });

  test("a gap makes the page read its state anew", async () => {
    const bridge = await openBridge();
    const stale = vi.fn();
    const notice = vi.fn();
    bridge.onStale(stale);
    bridge.onNotice(notice);
    const gap = { type: "gap", data: { events: 9, firstOffset: 41, lastOffset: 60 } };

    FakeSocket.last.say(gap);

    expect(stale).toHaveBeenCalledWith({ cause: "gap", rooms: [] });
    expect(notice).toHaveBeenCalledWith(gap);
  });
});

describe("rooms", () => {
  test("what is joined and left in one go costs one command", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;

    bridge.join("device:d1")();
    bridge.join("device:d2");
    bridge.join("device:d3");
    bridge.join("device:d3");
    await settle();

    expect(socket.sent.slice(1)).toEqual([{ op: "subscribe", id: 2, rooms: ["device:d2", "device:d3"] }]);
  });

  test("a room joined later is told as stale, since nothing from before is sent", async () => {
    const bridge = await openBridge();
    const stale = vi.fn();
    bridge.onStale(stale);

    bridge.join("device:d1");
    await settle();
    const position = { epoch: EPOCH, offset: 99 };
    FakeSocket.last.answer("subscribed", { rooms: ["device:d1"], refused: [], position, recovered: false });

    expect(bridge.status.rooms).toContain("device:d1");
    expect(stale).toHaveBeenCalledWith({ cause: "rooms", rooms: ["device:d1"] });
    expect(bridge.position?.offset).toBe(40);
  });

  test("a room that was not joined before the break is told as stale when it is joined after", async () => {
    const bridge = await openBridge({ rooms: ["device:d1"] }, { rooms: ["user:u1", "device:d1"] });
    const stale = vi.fn();
    bridge.onStale(stale);
    bridge.join("device:d2");
    await settle();
    FakeSocket.last.event(41);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);

    const rooms = ["user:u1", "device:d1", "device:d2"];
    FakeSocket.last.greet({ recovered: true, rooms });
    expect(stale.mock.calls).toEqual([[{ cause: "rooms", rooms: ["device:d2"] }]]);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(1_000);
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(2_000);
    FakeSocket.last.greet({ recovered: true, rooms });

    expect(stale).toHaveBeenCalledTimes(1);
  });

  test("joined rooms are asked for with the next hello, and left ones are not", async () => {
    const bridge = await openBridge();
    bridge.join("device:d1");
    const leave = bridge.join("device:d2");
    await settle();
    FakeSocket.last.answer("subscribed", {
      rooms: ["device:d1", "device:d2"],
      refused: [],
      recovered: false,
    });
    leave();
    leave();
    await settle();
    expect(FakeSocket.last.sent.at(-1)).toEqual({ op: "unsubscribe", id: 3, rooms: ["device:d2"] });
    FakeSocket.last.answer("unsubscribed", { rooms: ["device:d2"] });
    expect(bridge.status.rooms).toEqual(["user:u1", "all", "device:d1"]);

    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.open();

    expect(FakeSocket.last.commands("hello")[0].rooms).toEqual(["device:d1"]);
  });

  test("one command about rooms is on its way at a time, and each has at most 100", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;
    for (let number = 0; number < 120; number += 1) bridge.join(`device:${number}`);
    await settle();
    expect(socket.commands("subscribe")).toHaveLength(1);
    expect(socket.sent.at(-1).rooms).toHaveLength(100);
    bridge.join("device:late");
    await settle();
    expect(socket.commands("subscribe")).toHaveLength(1);

    socket.answer("subscribed", { rooms: socket.sent.at(-1).rooms, refused: [], recovered: false });

    expect(socket.sent.at(-1).rooms).toHaveLength(21);
  });

  test.each([
    [
      "an error, as all were refused",
      () => FakeSocket.last.answer("error", { code: "forbidden", message: "no" }),
    ],
    [
      "a list",
      () =>
        FakeSocket.last.answer("subscribed", {
          rooms: [],
          refused: [{ room: "device:d1", code: "forbidden" }],
          recovered: false,
        }),
    ],
  ])("a refusal by %s is in the status, and is not asked for again", async (_what, refuse) => {
    const bridge = await openBridge();
    bridge.join("device:d1");
    await settle();

    refuse();
    await vi.advanceTimersByTimeAsync(20_000);

    expect(bridge.status.refused).toEqual({ "device:d1": "forbidden" });
    expect(FakeSocket.last.commands("subscribe")).toHaveLength(1);
  });

  test("rooms that cannot be looked up at the moment are asked for again later", async () => {
    const bridge = await openBridge(
      { rooms: ["device:d1"] },
      {
        refused: [{ room: "device:d1", code: "unavailable" }],
      },
    );
    const socket = FakeSocket.last;
    expect(socket.commands("subscribe")).toHaveLength(0);

    await vi.advanceTimersByTimeAsync(7_500);
    socket.answer("error", { code: "unavailable", message: "later" });
    expect(socket.commands("subscribe")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(7_500);
    socket.answer("subscribed", { rooms: ["device:d1"], refused: [], recovered: false });

    expect(bridge.status.rooms).toContain("device:d1");
    expect(bridge.status.refused).toEqual({});
  });

  test("a room that was taken back is no longer there, and is not asked for by itself", async () => {
    const bridge = await openBridge({ rooms: ["device:d1"] }, { rooms: ["user:u1", "device:d1"] });
    const notice = vi.fn();
    bridge.onNotice(notice);

    FakeSocket.last.say({ type: "revoked", data: { rooms: ["device:d1"] } });
    await settle();

    expect(bridge.status.rooms).toEqual(["user:u1"]);
    expect(bridge.status.refused).toEqual({ "device:d1": "revoked" });
    expect(notice).toHaveBeenCalledTimes(1);
    expect(FakeSocket.last.commands("subscribe")).toEqual([]);
  });

  test("what cannot be a room is refused at once", () => {
    expect(() => fakeBridge().join("device d7")).toThrow(TypeError);
  });
});

describe("the inbox", () => {
  const ITEM = { id: 118, read: false, event: { type: "order.completed" } };

  test("is read page by page", async () => {
    const bridge = await openBridge();

    const page = bridge.inbox({ after: 100, limit: 2 });
    expect(FakeSocket.last.sent.at(-1)).toEqual({ op: "inbox", id: 2, after: 100, limit: 2 });
    FakeSocket.last.answer("inbox", { items: [ITEM], more: false });

    expect(await page).toEqual({ items: [ITEM], more: false });
  });

  test("the number of unread items follows what is read here and elsewhere", async () => {
    const bridge = await openBridge({}, { unread: 3 });

    const done = bridge.markRead([118]);
    FakeSocket.last.answer("read", { unread: 2 });
    await done;
    expect(bridge.status.unread).toBe(2);
    FakeSocket.last.say({ type: "unread", data: { unread: 5 } });

    expect(bridge.status.unread).toBe(5);
  });

  test("a refused command raises with the server's code", async () => {
    const bridge = await openBridge();

    const page = bridge.inbox();
    FakeSocket.last.answer("error", { code: "not_configured", message: "there are no inboxes here" });

    await expect(page).rejects.toMatchObject({ name: "BridgeError", code: "not_configured" });
  });

  test("a command that is not answered raises, whether time or the connection is over", async () => {
    const bridge = await openBridge();
    const slow = bridge.inbox().catch((error) => error.code);
    await vi.advanceTimersByTimeAsync(ANSWER_MS_MAX);
    expect(await slow).toBe("timeout");

    const cut = bridge.inbox().catch((error) => error.code);
    FakeSocket.last.end();
    expect(await cut).toBe("disconnected");
    await expect(bridge.inbox()).rejects.toMatchObject({ code: "disconnected" });
  });

  test("no more commands wait than may", async () => {
    const bridge = await openBridge();
    for (let count = 0; count < REQUESTS_MAX; count += 1) bridge.inbox().catch(() => {});

    await expect(bridge.inbox()).rejects.toMatchObject({ code: "busy" });
    bridge.close();
  });
});

test("an error that answers nothing is a notice", async () => {
  const bridge = await openBridge();
  const notice = vi.fn();
  bridge.onNotice(notice);
  const error = { type: "error", data: { code: "bad_json", message: "…" } };

  FakeSocket.last.say(error);

  expect(notice).toHaveBeenCalledWith(error);
});

test("the status is the same object until something changes", async () => {
  const bridge = await openBridge();
  const before = bridge.status;
  FakeSocket.last.event(41);
  expect(bridge.status).toBe(before);

  FakeSocket.last.say({ type: "unread", data: { unread: 1 } });

  expect(bridge.status).not.toBe(before);
  expect(before.unread).toBeUndefined();
});
