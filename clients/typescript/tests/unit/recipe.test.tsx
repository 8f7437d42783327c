// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BridgeProvider } from "../../src/react/index.js";
import { FakeSocket, fakeBridge, settle } from "./fakes.js";
import { QuotaPanel } from "./recipe.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the recipe for React Query is the one in docs/client.md", () => {
  const page = readFileSync("../../docs/client.md", "utf8");

  expect(page).toContain(`\`\`\`tsx\n${readFileSync("tests/unit/recipe.tsx", "utf8")}\`\`\``);
});

test("with the recipe a page reads anew after an event, and not by itself", async () => {
  let used = 4;
  const fetched = vi.fn(async () => ({ json: async () => ({ used }) }));
  vi.stubGlobal("fetch", fetched);
  render(
    <QueryClientProvider client={new QueryClient()}>
      <BridgeProvider bridge={fakeBridge()}>
        <QuotaPanel />
      </BridgeProvider>
    </QueryClientProvider>,
  );
  await act(settle);
  expect(screen.getByText("4 devices (not live)")).toBeTruthy();
  await act(async () => FakeSocket.last.greet({ recovered: true }));
  expect(screen.getByText("4 devices")).toBeTruthy();

  used = 5;
  await act(async () => FakeSocket.last.event(41));
  await act(settle);
  expect(screen.getByText("5 devices")).toBeTruthy();
  await act(() => vi.advanceTimersByTimeAsync(20_000));

  expect(fetched).toHaveBeenCalledTimes(2);
});
