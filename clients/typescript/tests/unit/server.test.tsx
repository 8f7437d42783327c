import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { BridgeProvider, useBridge, useInbox, useRealtimeDevice, useRoom } from "../../src/react/index.js";
import { FakeSocket, openBridge } from "./fakes.js";

function Device() {
  const { state } = useBridge();
  const { joined } = useRoom("device:d7");
  const { live } = useRealtimeDevice({ deviceId: "d7" });
  const { items } = useInbox();
  return <p>{[state, joined, live, items.length].join(" ")}</p>;
}

test("on a server everything is drawn as not connected, and nothing is opened", () => {
  FakeSocket.made.length = 0;
  const html = renderToString(
    <BridgeProvider url="/ws" getToken={() => "t1"} WebSocket={FakeSocket}>
      <Device />
    </BridgeProvider>,
  );

  expect(html).toBe("<p>idle false false 0</p>");
  expect(FakeSocket.made).toHaveLength(0);
});

test("a page that is drawn on a server is first drawn the same in the browser, connected or not", async () => {
  vi.useFakeTimers();
  const bridge = await openBridge();

  const html = renderToString(
    <BridgeProvider bridge={bridge}>
      <Device />
    </BridgeProvider>,
  );

  expect(html).toBe("<p>idle false false 0</p>");
  vi.useRealTimers();
});
