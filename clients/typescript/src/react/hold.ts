/** Who uses a connection: it lives while somebody does. */

import type { Bridge } from "@cloudphone/bridge-client";

const holders = new WeakMap<Bridge, number>();

/**
 * Hold the connection open until the returned function is called. React's StrictMode mounts everything
 * twice: what is let go and held again at once stays as it is.
 */
export function hold(bridge: Bridge): () => void {
  count(bridge, 1);
  queueMicrotask(() => {
    if (holders.get(bridge)) bridge.connect();
  });
  return () => {
    count(bridge, -1);
    setTimeout(() => {
      if (!holders.get(bridge)) bridge.close();
    });
  };
}

function count(bridge: Bridge, change: number): void {
  holders.set(bridge, (holders.get(bridge) ?? 0) + change);
}
