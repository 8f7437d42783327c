import client = require("@cloudphone/bridge-client");
import hooks = require("@cloudphone/bridge-client/react");

const bridge: client.Bridge = client.createBridge({ url: "/ws" });
bridge.on("quota.updated", ({ data }) => data.limits.devices?.toFixed());
export const useLive = (): boolean => hooks.useRealtimeQuota().live;
