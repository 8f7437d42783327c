/** Rooms and events in components. */

import type { Matching, Pattern, Stale } from "@cloudphone/bridge-client";
import { useEffect } from "react";
import { useConnection, useNewest, useStatus } from "./provider.js";

export interface RoomState {
  readonly joined: boolean;
  /** The server's code, if it refused the room. */
  readonly refused: string | undefined;
}

/** Be in a room while mounted; `null` for none. */
export function useRoom(room: string | null | undefined): RoomState {
  const bridge = useConnection();
  useEffect(() => (room ? bridge.join(room) : undefined), [bridge, room]);
  const joined = useStatus(bridge, ({ rooms }) => Boolean(room) && rooms.includes(room as string));
  const refused = useStatus(bridge, (status) => (room ? status.refused[room] : undefined));
  return { joined, refused };
}

/** Call for each event that the pattern matches, in log order, while mounted. The newest handler is called. */
export function useEvent<P extends Pattern>(pattern: P, handler: (event: Matching<P>) => void): void {
  const bridge = useConnection();
  const newest = useNewest(handler);
  useEffect(() => bridge.on(pattern, (event) => newest.current(event)), [bridge, pattern, newest]);
}

/** Call whenever events may have been missed, while mounted: read the state anew. */
export function useStale(handler: (stale: Stale) => void): void {
  const bridge = useConnection();
  const newest = useNewest(handler);
  useEffect(() => bridge.onStale((stale) => newest.current(stale)), [bridge, newest]);
}
