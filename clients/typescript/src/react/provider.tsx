/** The page's one connection, for all components below. */

import {
  type Bridge,
  type BridgeOptions,
  createBridge,
  type Status,
  type TokenReason,
} from "@cloudphone/bridge-client";
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from "react";
import { hold } from "./hold.js";

const Context = createContext<Bridge | null>(null);

/** Either a connection that was made elsewhere, or what to make one of. */
export type BridgeProviderProps = { children?: ReactNode } & (
  | { bridge: Bridge }
  | (BridgeOptions & { bridge?: never })
);

/**
 * Connects while it is mounted. Put one at the root of the page. A new `url` makes a new connection;
 * of `getToken` the newest is called; the other options count when the connection is made.
 */
export function BridgeProvider({ children, ...props }: BridgeProviderProps): ReactNode {
  const given = props.bridge;
  const options = given ? undefined : (props as BridgeOptions);
  const newest = useNewest(options);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the url stands for the options
  const bridge = useMemo(() => given ?? made(props as BridgeOptions, newest), [given, options?.url]);
  useEffect(() => hold(bridge), [bridge]);
  return <Context.Provider value={bridge}>{children}</Context.Provider>;
}

/** Return the connection and how it is. Raises Error outside a BridgeProvider. */
export function useBridge(): Status & { readonly bridge: Bridge } {
  const bridge = useConnection();
  const status = useStatus(bridge, (each) => each);
  return useMemo(() => ({ ...status, bridge }), [status, bridge]);
}

/** Return the connection alone, without being drawn anew when its status changes. */
export function useConnection(): Bridge {
  const bridge = useContext(Context);
  if (!bridge) throw new Error("there is no <BridgeProvider> around this component");
  return bridge;
}

/** Return a part of the status, drawn anew only when that part changes. */
export function useStatus<T>(bridge: Bridge, part: (status: Status) => T): T {
  const read = () => part(bridge.status);
  // On a server nothing is ever connected, and the first drawing in the browser has to be the same.
  return useSyncExternalStore(
    (listener) => bridge.onStatus(listener),
    read,
    () => part(IDLE),
  );
}

/** Return a reference to the newest value, for what is called later than the drawing. */
export function useNewest<T>(value: T): { readonly current: T } {
  const newest = useRef(value);
  useEffect(() => {
    newest.current = value;
  });
  return newest;
}

const IDLE: Status = { state: "idle", rooms: [], refused: {} };

function made(options: BridgeOptions, newest: { readonly current: BridgeOptions | undefined }): Bridge {
  const { getToken } = options;
  if (!getToken) return createBridge(options);
  return createBridge({
    ...options,
    getToken: (reason: TokenReason) => (newest.current?.getToken ?? getToken)(reason),
  });
}
