/** A page in Debian's Chromium with the built package in it. */

import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import type { Bridge, TokenReason } from "../../src/index.js";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const MODULE = readFileSync(fileURLToPath(new URL("../../dist/index.js", import.meta.url)));
const DOCUMENT = `<!doctype html><title>Bridge</title><link rel="icon" href="data:,">
<script type="module">import * as client from "/index.js"; Object.assign(window, client);</script>`;

export function hasChromium(): boolean {
  if (existsSync(CHROMIUM)) return true;
  console.log(`skipped: there is no ${CHROMIUM}; apt-get install chromium, or name another in CHROMIUM`);
  return false;
}

/** What the page collects, under `window`. */
export interface Seen {
  bridge: Bridge;
  numbers: number[];
  stales: string[];
  ends: string[];
}

export class Chromium {
  private constructor(
    readonly browser: Browser,
    private readonly server: Server,
  ) {}

  static async open(): Promise<Chromium> {
    const server = createServer((request, response) => {
      const isModule = request.url === "/index.js";
      response.setHeader("content-type", isModule ? "text/javascript" : "text/html");
      response.end(isModule ? MODULE : DOCUMENT);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      ignoreDefaultArgs: ["--disable-back-forward-cache"],
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    return new Chromium(browser, server);
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }

  /** A page that is connected, and writes down what it hears. Errors that nobody caught fail the test. */
  async page(
    url: string,
    getToken: (reason: TokenReason) => Promise<string>,
    options: { sleepAfterMs?: number } = {},
  ): Promise<{ page: Page; errors: string[] }> {
    const page = await this.browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.exposeFunction("getToken", getToken);
    const { port } = this.server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.evaluate(
      ([socketUrl, given]) => {
        const { createBridge, getToken } = globalThis as unknown as {
          createBridge: typeof import("../../src/index.js").createBridge;
          getToken: (reason: string) => Promise<string>;
        };
        const bridge = createBridge({ ...given, url: socketUrl, getToken });
        const seen: Seen = { bridge, numbers: [], stales: [], ends: [] };
        Object.assign(globalThis, { seen });
        bridge.on("order.completed", ({ data }) => void seen.numbers.push(Number(data.orderId)));
        bridge.onStale(({ cause }) => void seen.stales.push(cause));
        let last = bridge.status.end;
        bridge.onStatus(({ end }) => {
          if (end && end !== last) seen.ends.push(`${end.code} ${end.reason}`);
          last = end;
        });
        bridge.connect();
      },
      [url, options] as const,
    );
    await state(page, "open");
    return { page, errors };
  }
}

/** Return when the page's connection is in this state. */
export async function state(page: Page, expected: string): Promise<void> {
  await page.waitForFunction(
    (wanted) => (globalThis as unknown as { seen: Seen }).seen.bridge.status.state === wanted,
    expected,
  );
}

/** Return when the page has so many orders; then what it has seen. */
export async function seenAfter(page: Page, count: number): Promise<Omit<Seen, "bridge">> {
  await page.waitForFunction(
    (least) => (globalThis as unknown as { seen: Seen }).seen.numbers.length >= least,
    count,
  );
  return page.evaluate(() => {
    const { numbers, stales, ends } = (globalThis as unknown as { seen: Seen }).seen;
    return { numbers, stales, ends };
  });
}

/** Return how far the page has come in the log. */
export async function position(page: Page): Promise<object> {
  const found = await page.evaluate(() => (globalThis as unknown as { seen: Seen }).seen.bridge.position);
  return found ?? {};
}

/** Have the page be hidden or shown, as its own listeners see it. */
export async function visibility(page: Page, value: "hidden" | "visible"): Promise<void> {
  await page.evaluate((now) => {
    Object.defineProperty(document, "visibilityState", { value: now, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, value);
}
