/** The client in a page of a real browser, against real bridges. */

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Stage } from "../live/stage.js";
import { Chromium, hasChromium, position, seenAfter, state, visibility } from "./browser.js";
import { serveDocument } from "./document.js";

const WINDOW_SECONDS = 15;
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
let users = 0;
const newUser = () => `page-${process.pid}-${++users}`;

describe.skipIf(!hasChromium())("in Chromium", () => {
  let stage: Stage;
  let chromium: Chromium;

  beforeAll(async () => {
    stage = await Stage.open({ BRIDGE_EVENT_LOG__WINDOW_SECONDS_MAX: String(WINDOW_SECONDS) });
    chromium = await Chromium.open();
  });
  afterAll(async () => {
    await chromium?.close();
    await stage?.close();
  });
  afterEach(() => stage.balancer.refuse(false));

  const open = (user: string, options: { sleepAfterMs?: number } = {}) =>
    chromium.page(stage.url, () => stage.token(user), options);

  test("the page of docs/client.md shows its first event", async () => {
    const user = newUser();
    const served = await serveDocument(stage.url, await stage.token(user));
    const page = await chromium.browser.newPage();
    const errors: string[] = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(served.url);
    await page.getByText("nothing yet").waitFor();

    const quota = { quotaId: "q1", limits: { devices: 10 }, usage: { devices: 4 } };
    await stage.publish("quota.updated", { userId: user, ...quota });
    await page.getByText("4 devices").waitFor();

    expect(errors).toEqual([]);
    await page.close();
    await served.close();
  });

  test("a node is killed, and the page misses nothing", async () => {
    const user = newUser();
    const { page, errors } = await open(user);
    await stage.publishOrders(user, 1, 50);
    await seenAfter(page, 50);

    const publishing = stage.publishOrders(user, 51, 250);
    await stage.kill(0);
    await publishing;
    await stage.publishOrders(user, 251, 260); // Missed in any case: the others may all have come before.
    const seen = await seenAfter(page, 260);

    expect(seen).toEqual({ numbers: upTo(260), stales: ["first"], ends: ["1006 "] });
    expect(errors).toEqual([]);
    await stage.start(0);
    await page.close();
  });

  test("the network goes and comes, and the page misses nothing", async () => {
    const user = newUser();
    const { page, errors } = await open(user);
    await stage.publishOrders(user, 1, 5);
    await seenAfter(page, 5);

    stage.balancer.swallow();
    await page.context().setOffline(true);
    await state(page, "waiting");
    await stage.publishOrders(user, 6, 10);
    await page.context().setOffline(false);
    const seen = await seenAfter(page, 10);

    expect(seen.numbers).toEqual(upTo(10));
    expect(seen.stales).toEqual(["first"]);
    expect(errors).toEqual([]);
    await page.close();
  });

  test("a token ends while its issuer is away, and the page misses nothing", async () => {
    const user = newUser();
    const reasons: string[] = [];
    const { page, errors } = await chromium.page(stage.url, async (reason) => {
      reasons.push(reason);
      if (reason === "expiring") throw new Error("the tokens' issuer is away");
      return stage.token(user, { seconds: reason === "connect" ? 3 : 3_600 });
    });
    await vi.waitFor(() => expect(reasons.at(-1)).toBe("refused"), { timeout: 30_000 });
    await stage.publishOrders(user, 1, 3);
    const seen = await seenAfter(page, 3);

    expect(seen.numbers).toEqual(upTo(3));
    expect(seen.stales).toEqual(["first"]);
    expect(seen.ends).toHaveLength(1);
    expect(seen.ends[0]).toMatch(/^4401 /);
    expect(errors).toEqual([]);
    await page.close();
  });

  test("a token that ends soon is replaced on the live socket", async () => {
    const user = newUser();
    const reasons: string[] = [];
    const { page } = await chromium.page(stage.url, async (reason) => {
      reasons.push(reason);
      return stage.token(user, { seconds: reason === "connect" ? 8 : 3_600 });
    });
    await vi.waitFor(() => expect(reasons).toEqual(["connect", "expiring"]), { timeout: 30_000 });
    await stage.publishOrders(user, 1, 1);

    expect(await seenAfter(page, 1)).toEqual({ numbers: [1], stales: ["first"], ends: [] });
    await page.close();
  });

  test("a hidden page sleeps and wakes, and misses nothing", async () => {
    const user = newUser();
    const { page } = await open(user, { sleepAfterMs: 100 });
    await visibility(page, "hidden");
    await state(page, "asleep");
    await stage.publishOrders(user, 1, 5);

    await visibility(page, "visible");

    expect(await seenAfter(page, 5)).toEqual({ numbers: upTo(5), stales: ["first"], ends: [] });
    await page.close();
  });

  test("a page that slept for longer than the log reaches back is told so", async () => {
    const user = newUser();
    const { page } = await open(user, { sleepAfterMs: 100 });
    await visibility(page, "hidden");
    await state(page, "asleep");
    await stage.publishOrders(user, 1, 1);

    await stage.windowPassed(await position(page));
    await visibility(page, "visible");
    await state(page, "open");
    await stage.publishOrders(user, 2, 2);

    expect(await seenAfter(page, 1)).toEqual({ numbers: [2], stales: ["first", "lost"], ends: [] });
    await page.close();
  });

  test("a page that the browser keeps while another is shown comes back where it was", async () => {
    const user = newUser();
    const { page, errors } = await open(user);
    await stage.publishOrders(user, 1, 2);
    await seenAfter(page, 2);
    const from = page.url();

    await page.goto("about:blank");
    await stage.publishOrders(user, 3, 4);
    await page.goBack({ waitUntil: "commit" });
    expect(page.url()).toBe(from);

    expect((await seenAfter(page, 4)).numbers).toEqual(upTo(4));
    expect(errors).toEqual([]);
    await page.close();
  });
});
