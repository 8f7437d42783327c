/** Hooks for React 18 and later. See README.md. */

export { type RoomState, useEvent, useRoom, useStale } from "./hooks.js";
export { type Inbox, useInbox } from "./inbox.js";
export { BridgeProvider, type BridgeProviderProps, useBridge } from "./provider.js";
export {
  type AppEvent,
  type BillingEvent,
  type DepositOptions,
  type DeviceEvent,
  type QuotaEvent,
  type Realtime,
  type RealtimeOptions,
  useDepositListener,
  useRealtimeApp,
  useRealtimeBilling,
  useRealtimeDevice,
  useRealtimeQuota,
} from "./realtime.js";
