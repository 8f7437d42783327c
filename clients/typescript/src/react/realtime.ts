/** One hook for each domain of the page: it listens, and has what the page shows refreshed. */

import type { BridgeEvent, EventName, Matching, Pattern } from "@cloudphone/bridge-client";
import { useEffect, useRef, useState } from "react";
import { Coalesced } from "./coalesce.js";
import { useRoom, useStale } from "./hooks.js";
import { useConnection, useNewest, useStatus } from "./provider.js";

/** By default `refresh` is called at most once in so many milliseconds. */
export const REFRESH_MS_MIN = 500;

type OfDomain<D extends string> = BridgeEvent<Extract<EventName, `${D}.${string}`>>;
export type QuotaEvent = OfDomain<"quota">;
export type DeviceEvent = OfDomain<"device">;
export type BillingEvent = OfDomain<"billing" | "order">;
export type AppEvent = OfDomain<"app">;

export interface RealtimeOptions<E> {
  /** Called for each event, in log order. */
  onEvent?: (event: E) => void;
  /** Called after events, and whenever some may have been missed: read anew what is shown. */
  refresh?: () => void;
  /** At least so long between two calls of `refresh`. */
  refreshMsMin?: number;
}

export interface Realtime<E> {
  /** Whether events come at the moment; if not, what is shown may be old. */
  readonly live: boolean;
  /** The newest event since this component was mounted. */
  readonly last: E | undefined;
}

/** Events of the user's quotas. */
export function useRealtimeQuota(options: RealtimeOptions<QuotaEvent> = {}): Realtime<QuotaEvent> {
  return useRealtime(QUOTA, options);
}

/** Events of the user's devices; of one device with `deviceId`, whoever owns it, if its room is granted. */
export function useRealtimeDevice(
  options: RealtimeOptions<DeviceEvent> & { deviceId?: string | null } = {},
): Realtime<DeviceEvent> {
  const { deviceId } = options;
  const room = deviceId ? `device:${deviceId}` : undefined;
  useRoom(room);
  return useRealtime(DEVICE, options, (event) => !deviceId || event.data.deviceId === deviceId, room);
}

/** Events of the user's orders, payments, refunds and invoices. */
export function useRealtimeBilling(options: RealtimeOptions<BillingEvent> = {}): Realtime<BillingEvent> {
  return useRealtime(BILLING, options);
}

/** Events of the apps on the user's devices; on one device with `deviceId`. */
export function useRealtimeApp(
  options: RealtimeOptions<AppEvent> & { deviceId?: string | null } = {},
): Realtime<AppEvent> {
  const { deviceId } = options;
  return useRealtime(APP, options, (event) => !deviceId || event.data.deviceId === deviceId);
}

export interface DepositOptions {
  /** Called for each change of the transaction's status before and after it is completed. */
  onStatus?: (event: BridgeEvent<"wallet.payment_status_updated">) => void;
  /** Called whenever events may have been missed: ask the wallet whether the deposit has arrived. */
  onStale?: () => void;
}

/** Wait for one deposit. `onCompleted` is called once for a transaction. */
export function useDepositListener(
  userId: string,
  transactionId: string | null | undefined,
  onCompleted: (event: BridgeEvent<"wallet.deposit_completed">) => void,
  { onStatus, onStale }: DepositOptions = {},
): { readonly live: boolean; readonly completed: boolean } {
  const [completedId, setCompletedId] = useState<string>();
  const told = useRef<string>(undefined); // At once, where the state waits for the next drawing.
  const completed = transactionId != null && completedId === transactionId;
  const { live } = useRealtime(
    WALLET,
    {
      onEvent: (event) => {
        if (event.type === "wallet.payment_status_updated") onStatus?.(event);
        else if (event.type === "wallet.deposit_completed" && told.current !== event.data.transactionId) {
          told.current = event.data.transactionId;
          setCompletedId(event.data.transactionId);
          onCompleted(event);
        }
      },
    },
    ({ data }) => data.userId === userId && data.transactionId === transactionId,
  );
  useStale(({ cause }) => {
    if (cause !== "rooms" && transactionId && !completed) onStale?.();
  });
  return { live, completed };
}

const QUOTA = ["quota.*"] as const;
const DEVICE = ["device.*"] as const;
const BILLING = ["order.*", "billing.*"] as const;
const APP = ["app.*"] as const;
const WALLET = ["wallet.*"] as const;

/** `patterns` has to be the same list every time. `room` is one whose joining makes the page stale. */
function useRealtime<P extends Pattern>(
  patterns: readonly P[],
  { onEvent, refresh, refreshMsMin = REFRESH_MS_MIN }: RealtimeOptions<Matching<P>>,
  concerns: (event: Matching<P>) => boolean = () => true,
  room?: string,
): Realtime<Matching<P>> {
  const bridge = useConnection();
  const live = useStatus(bridge, ({ state }) => state === "open");
  const [last, setLast] = useState<Matching<P>>();
  const newest = useNewest({ onEvent, refresh, concerns, room });
  useEffect(() => {
    const refreshed = new Coalesced(() => newest.current.refresh?.(), refreshMsMin);
    const heard = (event: Matching<P>) => {
      if (!newest.current.concerns(event)) return;
      setLast(event);
      newest.current.onEvent?.(event);
      refreshed.ask();
    };
    const ends = [
      ...patterns.map((pattern) => bridge.on(pattern, heard)),
      bridge.onStale(({ cause, rooms }) => {
        const own = newest.current.room;
        if (cause !== "rooms" || (own !== undefined && rooms.includes(own))) refreshed.ask();
      }),
      () => refreshed.stop(),
    ];
    return () => {
      for (const end of ends) end();
    };
  }, [bridge, patterns, newest, refreshMsMin]);
  // Who asks for another device now is not shown what the one before did.
  return { live, last: last && concerns(last) ? last : undefined };
}
