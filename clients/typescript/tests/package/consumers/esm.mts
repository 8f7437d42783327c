import { createBridge } from "@cloudphone/bridge-client";
import { useRealtimeQuota } from "@cloudphone/bridge-client/react";

// A bridge with domains of its own: what its `export typescript` writes can be added like this.
declare module "@cloudphone/bridge-client" {
  interface Events {
    "match.scored": { version: 1; data: { matchId: string } };
  }
}

const bridge = createBridge({ url: "/ws", getToken: async () => "token" });
export const matchId: Promise<string> = new Promise((resolve) => {
  bridge.on("match.scored", ({ data }) => resolve(data.matchId));
});
export const useLive = (): boolean => useRealtimeQuota().live;
