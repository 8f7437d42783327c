import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { REFRESHES_MAX, TOKEN_MS_MAX } from "../../src/client.js";
import { FakeSocket, fakeBridge, openBridge, settle } from "./fakes.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const EXPIRING = { type: "expiring", data: { expiresAt: "2026-11-21T11:00:00.000Z" } };

describe("a token for a socket", () => {
  test("is fetched for each, and anew after one was refused", async () => {
    const getToken = vi.fn(async () => "t1");
    await openBridge({ getToken });
    FakeSocket.last.end(4401, "expired");
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.greet();
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(2_000);

    expect(getToken.mock.calls).toEqual([["connect"], ["refused"], ["connect"]]);
  });

  test("that is refused again and again costs no more than the growing delays allow", async () => {
    const bridge = fakeBridge();
    bridge.connect();
    await settle();
    for (let refusal = 0; refusal < 5; refusal += 1) {
      FakeSocket.last.open();
      FakeSocket.last.end(4401, "bad signature");
      await vi.advanceTimersByTimeAsync(500 * 2 ** refusal);
    }

    expect(FakeSocket.made).toHaveLength(6);
  });

  test.each([undefined, { token: "t1" }])(
    "that is none, but %j, is said, and no cookie is hoped for",
    async (token) => {
      const bridge = fakeBridge({ getToken: async () => token as unknown as string });
      bridge.connect();
      await settle();

      const reason = `no token: Error: getToken returned ${typeof token}`;
      expect(bridge.status).toMatchObject({ state: "waiting", end: { reason } });
      expect(FakeSocket.made).toHaveLength(0);
    },
  );

  test.each([
    ["cannot be fetched", () => Promise.reject(new Error("503"))],
    [
      "cannot even be asked for",
      () => {
        throw new Error("503");
      },
    ],
  ])("that %s is asked for again later", async (_what, fail) => {
    const getToken = vi.fn<() => Promise<string>>().mockImplementationOnce(fail).mockResolvedValue("t2");
    const bridge = fakeBridge({ getToken });
    bridge.connect();
    await settle();
    expect(bridge.status).toMatchObject({ state: "waiting", end: { reason: "no token: Error: 503" } });

    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.open();

    expect(FakeSocket.last.commands("hello")[0].token).toBe("t2");
  });

  test("that does not come in time is asked for again, and not used when it comes", async () => {
    let late: (token: string) => void = () => {};
    const getToken = vi
      .fn<() => Promise<string>>()
      .mockReturnValueOnce(
        new Promise((resolve) => {
          late = resolve;
        }),
      )
      .mockResolvedValue("t2");
    const bridge = fakeBridge({ getToken });
    bridge.connect();
    await vi.advanceTimersByTimeAsync(TOKEN_MS_MAX);
    expect(bridge.status.state).toBe("waiting");

    late("t1");
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.open();

    expect(FakeSocket.made).toHaveLength(1);
    expect(FakeSocket.last.commands("hello")[0].token).toBe("t2");
  });

  test("that comes after the page has closed opens nothing", async () => {
    let come: (token: string) => void = () => {};
    const bridge = fakeBridge({
      getToken: () =>
        new Promise((resolve) => {
          come = resolve;
        }),
    });
    bridge.connect();
    await settle();

    bridge.close();
    come("t1");
    await settle();

    expect(FakeSocket.made).toHaveLength(0);
  });

  test("null means that nobody is signed in, and ends it", async () => {
    const bridge = fakeBridge({ getToken: () => null });
    bridge.connect();
    await settle();

    expect(bridge.status).toMatchObject({ state: "closed", end: { code: 4401 } });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("in a cookie that ran out is tried once more, as the page may have renewed it; then it ends", async () => {
    const bridge = await openBridge({ getToken: undefined as never });

    FakeSocket.last.end(4401, "expired");
    expect(bridge.status.state).toBe("waiting");
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.open();
    FakeSocket.last.end(4401, "expired");

    expect(bridge.status.state).toBe("closed");
  });
});

describe("a token that ends soon", () => {
  test("is replaced on the live socket", async () => {
    const getToken = vi.fn(async (reason: string) => `token for ${reason}`);
    const bridge = await openBridge({ getToken, rooms: ["device:d7"] }, { rooms: ["user:u1", "device:d7"] });
    const socket = FakeSocket.last;
    const stale = vi.fn();
    bridge.onStale(stale);

    socket.say(EXPIRING);
    await settle();
    expect(socket.sent.at(-1)).toEqual({ op: "auth", id: 2, token: "token for expiring" });
    const later = "2026-11-21T12:00:00.000Z";
    socket.answer("authenticated", {
      expiresAt: later,
      rooms: ["user:u1", "role:admin"],
      left: ["device:d7"],
    });

    expect(bridge.status).toMatchObject({
      expiresAt: later,
      rooms: ["user:u1", "role:admin"],
      refused: { "device:d7": "forbidden" },
    });
    expect(stale).toHaveBeenCalledWith({ cause: "rooms", rooms: ["role:admin"] });
    expect(FakeSocket.made).toHaveLength(1);
  });

  test("is renewed again if that fails, a few times", async () => {
    const getToken = vi.fn(async (reason: string) => {
      if (reason === "expiring") throw new Error("503");
      return "t1";
    });
    await openBridge({ getToken });

    FakeSocket.last.say(EXPIRING);
    await vi.advanceTimersByTimeAsync(20_000);

    expect(getToken).toHaveBeenCalledTimes(1 + REFRESHES_MAX);
  });

  test("is renewed again if the server refuses the new one", async () => {
    await openBridge();
    const socket = FakeSocket.last;

    socket.say(EXPIRING);
    await settle();
    socket.answer("error", { code: "unavailable", message: "later" });
    await vi.advanceTimersByTimeAsync(500);

    expect(socket.commands("auth")).toHaveLength(2);
  });

  test("is not renewed on a socket that has gone in the meantime", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;

    socket.say(EXPIRING);
    bridge.close();
    await vi.advanceTimersByTimeAsync(20_000);

    expect(socket.commands("auth")).toEqual([]);
  });

  test("of another user makes a new connection", async () => {
    const bridge = await openBridge();
    const socket = FakeSocket.last;

    socket.say(EXPIRING);
    await settle();
    socket.answer("error", { code: "wrong_user", message: "open a new socket" });
    await vi.advanceTimersByTimeAsync(500);

    expect(socket.closed).toBe(1000);
    expect(FakeSocket.made).toHaveLength(2);
    expect(bridge.status.state).toBe("connecting");
  });

  test("in a cookie is the page's to renew: it hears of it", async () => {
    const bridge = await openBridge({ getToken: undefined as never });
    const notice = vi.fn();
    bridge.onNotice(notice);

    FakeSocket.last.say(EXPIRING);
    await settle();

    expect(notice).toHaveBeenCalledWith(EXPIRING);
    expect(FakeSocket.last.sent).toEqual([]);
  });
});
