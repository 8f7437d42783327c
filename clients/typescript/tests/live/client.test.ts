/** The client against real bridges, with the WebSocket of the package `ws`. Nothing sleeps: everything waits. */

import Ajv from "ajv/dist/2020.js";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import WebSocket from "ws";
import { type Bridge, type BridgeOptions, createBridge, type SocketClass } from "../../src/index.js";
import { Stage } from "./stage.js";

const SOCKET = WebSocket as unknown as SocketClass;
let stage: Stage;
let bridges: Bridge[] = [];

beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage?.close());
afterEach(() => {
  for (const bridge of bridges) bridge.close();
  bridges = [];
  stage.balancer.refuse(false);
});

interface Seen {
  bridge: Bridge;
  numbers: number[];
  stales: string[];
  ends: string[];
}

let users = 0;
const newUser = () => `user-${process.pid}-${++users}`;

async function connected(user: string, options: Partial<BridgeOptions> = {}): Promise<Seen> {
  const token = await stage.token(user);
  const bridge = createBridge({ url: stage.url, getToken: () => token, WebSocket: SOCKET, ...options });
  bridges.push(bridge);
  const seen: Seen = { bridge, numbers: [], stales: [], ends: [] };
  bridge.on("order.completed", ({ data }) => void seen.numbers.push(Number(data.orderId)));
  bridge.onStale(({ cause }) => void seen.stales.push(cause));
  let last = bridge.status;
  bridge.onStatus((status) => {
    if (status.end && status.end !== last.end) seen.ends.push(`${status.end.code} ${status.end.reason}`);
    last = status;
  });
  bridge.connect();
  await open(bridge);
  return seen;
}

const eventually = (check: () => void, seconds = 30) =>
  vi.waitFor(check, { timeout: seconds * 1_000, interval: 20 });
const open = (bridge: Bridge) => eventually(() => expect(bridge.status.state).toBe("open"));
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

describe("events", () => {
  test("every event that goes to a user arrives as `export jsonschema` describes it", async () => {
    const user = newUser();
    const validate = new Ajv({ strict: true, strictTypes: false, validateFormats: false }).compile(
      await stage.schema(),
    );
    const { bridge } = await connected(user);
    const seen = new Map<string, unknown>();
    bridge.on("*", (event) => void seen.set(event.type, event));

    const published = await stage.examples(user);
    await eventually(() => expect([...seen.keys()]).toEqual(expect.arrayContaining(published)));

    expect(published.length).toBeGreaterThan(30);
    for (const event of seen.values()) expect(validate(event), JSON.stringify(validate.errors)).toBe(true);
  });

  test("a room is joined, heard, and left", async () => {
    const user = newUser();
    const device = `d-${user}`;
    const token = await stage.token(user, { rooms: [`device:${device}`] });
    const { bridge } = await connected(user, { getToken: () => token });
    const seen: string[] = [];
    bridge.on("device.started", ({ room }) => void seen.push(room));

    const leave = bridge.join(`device:${device}`);
    bridge.join("company:c9");
    await eventually(() => expect(bridge.status.rooms).toContain(`device:${device}`));
    expect(bridge.status.refused).toEqual({ "company:c9": "forbidden" });
    await stage.publish("device.started", { userId: "somebody-else", deviceId: device });
    await eventually(() => expect(seen).toEqual([`device:${device}`]));
    leave();

    await eventually(() => expect(bridge.status.rooms).not.toContain(`device:${device}`));
  });
});

describe("coming back", () => {
  test("a killed node costs nothing: the next one sends what was missed, once and in order", async () => {
    const user = newUser();
    const { bridge, numbers, stales, ends } = await connected(user);
    await stage.publishOrders(user, 1, 50);
    await eventually(() => expect(numbers).toHaveLength(50));

    const publishing = stage.publishOrders(user, 51, 250);
    await stage.kill(0);
    await publishing;
    await stage.publishOrders(user, 251, 260); // Missed in any case: the others may all have come before.
    await eventually(() => expect(numbers).toHaveLength(260));

    expect(numbers).toEqual(upTo(260));
    expect(stales).toEqual(["first"]);
    expect(ends).toEqual(["1006 "]);
    expect(bridge.status.state).toBe("open");
    await stage.start(0);
  });

  test("a node that drains says how long to stay away, and its clients resume on another", async () => {
    const user = newUser();
    const { numbers, stales, ends } = await connected(user);
    await stage.publishOrders(user, 1, 10);
    await eventually(() => expect(numbers).toHaveLength(10));

    await stage.drain(0);
    await stage.publishOrders(user, 11, 20);
    await eventually(() => expect(numbers).toHaveLength(20));

    expect(numbers).toEqual(upTo(20));
    expect(stales).toEqual(["first"]);
    expect(ends).toHaveLength(1);
    expect(ends[0]).toMatch(/^1012 draining/);
    await stage.start(0);
  });

  test("a link that carries nothing any more is found out, and what was missed comes", async () => {
    const user = newUser();
    const { numbers, ends } = await connected(user);
    await stage.publishOrders(user, 1, 5);
    await eventually(() => expect(numbers).toHaveLength(5));

    stage.balancer.swallow();
    await stage.publishOrders(user, 6, 10);
    await eventually(() => expect(numbers).toHaveLength(10));

    expect(numbers).toEqual(upTo(10));
    expect(ends).toEqual(["1006 the link is dead"]);
  });

  test("a page that closes and connects again gets what was missed in between", async () => {
    const user = newUser();
    const { bridge, numbers, stales } = await connected(user);
    bridge.close();
    await stage.publishOrders(user, 1, 5);

    bridge.connect();
    await eventually(() => expect(numbers).toEqual(upTo(5)));

    expect(stales).toEqual(["first"]);
  });

  test("a position of another life of the log is told as lost", async () => {
    const user = newUser();
    const { bridge, stales } = await connected(user);
    // A log cannot be made to begin anew while others use it; a position of another one is the same.
    Object.assign(bridge.position as object, { epoch: "f".repeat(32) });
    stage.balancer.refuse(true);
    stage.balancer.refuse(false);
    await eventually(() => expect(stales).toEqual(["first", "lost"]));

    expect(bridge.status.state).toBe("open");
  });
});

describe("tokens", () => {
  test("a token that ends is replaced on the live socket, which stays", async () => {
    const user = newUser();
    const reasons: string[] = [];
    const { bridge, ends } = await connected(user, {
      getToken: (reason) => {
        reasons.push(reason);
        return stage.token(user, { seconds: reason === "connect" ? 8 : 3_600 });
      },
    });
    const before = bridge.status.expiresAt ?? "";

    await eventually(() => expect(bridge.status.expiresAt ?? "").not.toBe(before));

    expect(reasons).toEqual(["connect", "expiring"]);
    expect(ends).toEqual([]);
  });

  test("a token that has ended is replaced after the server said so", async () => {
    const user = newUser();
    const reasons: string[] = [];
    const { numbers, stales, ends } = await connected(user, {
      getToken: (reason) => {
        reasons.push(reason);
        if (reason === "expiring") throw new Error("the tokens' issuer is away");
        return stage.token(user, { seconds: reason === "connect" ? 3 : 3_600 });
      },
    });
    await eventually(() => expect(reasons.at(-1)).toBe("refused"));
    await stage.publishOrders(user, 1, 3);
    await eventually(() => expect(numbers).toEqual(upTo(3)));

    expect(ends).toHaveLength(1);
    expect(ends[0]).toMatch(/^4401 /);
    expect(stales).toEqual(["first"]);
  });

  test("a token that proves nothing is refused after the handshake, and a new one fetched", async () => {
    const user = newUser();
    const { bridge, ends } = await connected(user, {
      getToken: (reason) => (reason === "connect" ? "x" : stage.token(user)),
    });

    expect(bridge.status.userId).toBe(user);
    expect(ends).toEqual(["4401 malformed: the token is not a JSON Web Token"]);
  });

  test("a cookie needs no token: rooms and position go with the handshake", async () => {
    const user = newUser();
    const token = await stage.token(user, { rooms: ["device:*"] });
    class WithHeader extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { headers: { Authorization: `Bearer ${token}` } });
      }
    }
    const { bridge, numbers, stales } = await connected(user, {
      WebSocket: WithHeader as unknown as SocketClass,
      getToken: undefined as never,
      rooms: ["device:d1", "company:c1"],
    });
    expect(bridge.status.rooms).toContain("device:d1");
    expect(bridge.status.refused).toEqual({ "company:c1": "forbidden" });
    bridge.close();
    await stage.publishOrders(user, 1, 3);

    bridge.connect();
    await eventually(() => expect(numbers).toEqual(upTo(3)));

    expect(stales).toEqual(["first"]);
  });
});

test("a command that this bridge does not serve raises what it says", async () => {
  const { bridge } = await connected(newUser());

  await expect(bridge.inbox()).rejects.toMatchObject({ name: "BridgeError" });
  expect(bridge.status.state).toBe("open");
});
