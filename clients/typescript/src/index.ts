/** Events of the bridge in a page. See README.md. */

export { Bridge, createBridge } from "./client.js";
export * from "./events.js";
export type { State } from "./machine.js";
export type { BridgeOptions, Stale, Status, TokenReason } from "./options.js";
export type {
  BridgeEvent,
  CommandError,
  EventName,
  InboxItem,
  InboxPage,
  Matching,
  Notice,
  Pattern,
  Position,
  UnknownEvent,
} from "./protocol.js";
export { BridgeError } from "./requests.js";
export type { SocketClass, SocketLike } from "./session.js";
