import type { Bridge } from "@cloudphone/bridge-client";

/** Call `read` whenever what is shown of a device may be old. Returns what ends it. */
export function followDevice(bridge: Bridge, deviceId: string, read: () => void): () => void {
  const ends = [
    bridge.on("device.status.changed", ({ data }) => {
      if (data.deviceId === deviceId) read();
    }),
    bridge.onStale(read),
    bridge.join(`device:${deviceId}`),
  ];
  return () => {
    for (const end of ends) end();
  };
}
