import type { Bridge, Pattern } from "@cloudphone/bridge-client";

/** The names that pages listened to, where they are other ones now. */
const NAMES: Readonly<Record<string, string>> = {
  "deposit_completed:v1": "wallet.deposit_completed",
};

/** What your pages used of a Socket.IO socket, on top of a bridge: for the time of the move. */
export function asSocket(bridge: Bridge) {
  const ends = new Map<unknown, () => void>();
  return {
    on(name: string, handler: (data: never) => void): void {
      const pattern = (NAMES[name] ?? name) as Pattern;
      ends.set(
        handler,
        bridge.on(pattern, ({ data }) => handler(data as never)),
      );
    },
    off(_name: string, handler: (data: never) => void): void {
      ends.get(handler)?.();
      ends.delete(handler);
    },
  };
}
