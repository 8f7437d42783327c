/** The code of docs/migrating.md does what that page says. */

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeSocket, fakeBridge, openBridge, settle } from "./fakes.js";
import { followDevice } from "./polling.js";
import { asSocket } from "./shim.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const event = (type: string, data: object) => ({
  ...{ type, version: 1, id: "evt-1", offset: 41, room: "user:u1", timestamp: "2026-11-21T10:00:00.000Z" },
  data,
});

test.each(["shim.ts", "polling.ts"])("%s is the one in docs/migrating.md", (file) => {
  const page = readFileSync("../../docs/migrating.md", "utf8");

  expect(page).toContain(`\`\`\`ts\n${readFileSync(`tests/unit/${file}`, "utf8")}\`\`\``);
});

test("a page that used Socket.IO hears events under their former names, until it stops", async () => {
  const bridge = await openBridge();
  const socket = asSocket(bridge);
  const seen: unknown[] = [];
  const note = (data: never) => void seen.push(data);
  socket.on("deposit_completed:v1", note);
  socket.on("quota.updated", () => void seen.push("quota"));

  FakeSocket.last.say(event("wallet.deposit_completed", { transactionId: "tx-1" }));
  FakeSocket.last.say(event("quota.updated", {}));
  socket.off("deposit_completed:v1", note);
  FakeSocket.last.say(event("wallet.deposit_completed", { transactionId: "tx-2" }));

  expect(seen).toEqual([{ transactionId: "tx-1" }, "quota"]);
});

test("a page that polled reads at the beginning, after each change, and after a gap", async () => {
  const bridge = fakeBridge();
  const read = vi.fn();
  const end = followDevice(bridge, "d1", read);
  bridge.connect();
  await settle();
  FakeSocket.last.greet({ recovered: false });
  expect(read).toHaveBeenCalledTimes(1);

  FakeSocket.last.say(event("device.status.changed", { deviceId: "d1", status: "running" }));
  FakeSocket.last.say(event("device.status.changed", { deviceId: "d2", status: "running" }));
  FakeSocket.last.say({ type: "gap", data: { events: 2, firstOffset: 42, lastOffset: 43 } });
  end();
  FakeSocket.last.say(event("device.status.changed", { deviceId: "d1", status: "stopped" }));

  expect(read).toHaveBeenCalledTimes(3);
});
