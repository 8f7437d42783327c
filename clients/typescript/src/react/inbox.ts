/** What waited for the user, read page by page and kept up to date. */

import type { Bridge, BridgeError, InboxItem } from "@cloudphone/bridge-client";
import { useCallback, useEffect, useRef, useState } from "react";
import { useConnection, useStatus } from "./provider.js";

/** Items in one answer, as many as the server gives at most. */
const PAGE_ITEMS_MAX = 100;
/** Of all items the newest so many are kept. */
export const ITEMS_MAX = 500;
/** One reading stops after so many pages. */
const PAGES_MAX = 50;

export interface Inbox {
  /** Oldest first. */
  readonly items: readonly InboxItem[];
  /** By the server's count; undefined while it is not known, and where there is no inbox. */
  readonly unread: number | undefined;
  readonly loading: boolean;
  /** Why the last reading failed; `not_configured` where there is no inbox. */
  readonly error: BridgeError | undefined;
  /** Mark items as read. Raises BridgeError. */
  readonly markRead: (ids: readonly number[]) => Promise<void>;
}

type Loaded = Pick<Inbox, "items" | "loading" | "error">;
const NOTHING: Loaded = { items: [], loading: false, error: undefined };

/** The user's inbox: read when connected, and again when the number of unread items changes. */
export function useInbox(): Inbox {
  const bridge = useConnection();
  const userId = useStatus(bridge, (status) => status.userId);
  const live = useStatus(bridge, (status) => status.state === "open");
  const unread = useStatus(bridge, (status) => status.unread);
  const [loaded, setLoaded] = useState(NOTHING);
  const kept = useRef<{ userId: string | undefined; items: readonly InboxItem[] }>({ userId, items: [] });

  useEffect(() => {
    if (!live) return undefined;
    let over = false;
    const before = kept.current.userId === userId ? kept.current.items : [];
    setLoaded((now) => ({ ...now, loading: true }));
    readOn(bridge, before, unread, () => over)
      .then((items) => {
        if (over) return;
        kept.current = { userId, items };
        setLoaded({ items, loading: false, error: undefined });
      })
      .catch((error: BridgeError) => {
        if (!over) setLoaded((now) => ({ ...now, loading: false, error }));
      });
    return () => {
      over = true;
    };
  }, [bridge, live, userId, unread]);

  const markRead = useCallback(
    async (ids: readonly number[]) => {
      const marked = (items: readonly InboxItem[]) =>
        items.map((item) => (ids.includes(item.id) ? { ...item, read: true } : item));
      await bridge.markRead(ids);
      kept.current = { ...kept.current, items: marked(kept.current.items) };
      setLoaded((now) => ({ ...now, items: marked(now.items) }));
    },
    [bridge],
  );
  return { ...loaded, unread, markRead };
}

/** Read what is new; read all anew if the counts then differ, as another page has read something. */
async function readOn(
  bridge: Bridge,
  before: readonly InboxItem[],
  unread: number | undefined,
  over: () => boolean,
): Promise<readonly InboxItem[]> {
  const items = await readAfter(bridge, before, over);
  const here = items.filter((item) => !item.read).length;
  const differs = unread !== undefined && here !== unread && items.length < ITEMS_MAX;
  return differs && before.length && !over() ? readAfter(bridge, [], over) : items;
}

async function readAfter(
  bridge: Bridge,
  before: readonly InboxItem[],
  over: () => boolean,
): Promise<readonly InboxItem[]> {
  let items = before;
  for (let page = 0; page < PAGES_MAX && !over(); page += 1) {
    const after = items.at(-1)?.id ?? 0;
    const answer = await bridge.inbox({ after, limit: PAGE_ITEMS_MAX });
    items = [...items, ...answer.items].slice(-ITEMS_MAX);
    if (!answer.more || !answer.items.length) break;
  }
  return items;
}
