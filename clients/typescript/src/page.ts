/** What happens to the page: shown, hidden, put away, on and off the network. Nothing outside a browser. */

export interface PageWatcher {
  shown(): void;
  hidden(): void;
  /** The browser puts the page away; it may come back as it was ("back/forward cache"), with `shown`. */
  away(): void;
  online(): void;
  offline(): void;
}

/** Tell the watcher from now on. Returns what ends it. */
export function watchPage(watcher: PageWatcher): () => void {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") return () => {};
  const visibility = () => (document.visibilityState === "hidden" ? watcher.hidden() : watcher.shown());
  const listeners: [EventTarget, string, () => void][] = [
    [document, "visibilitychange", visibility],
    [window, "pagehide", () => watcher.away()],
    [window, "pageshow", visibility],
    [window, "online", () => watcher.online()],
    [window, "offline", () => watcher.offline()],
  ];
  for (const [target, name, listener] of listeners) target.addEventListener(name, listener);
  if (document.visibilityState === "hidden") watcher.hidden();
  return () => {
    for (const [target, name, listener] of listeners) target.removeEventListener(name, listener);
  };
}

/** Whether the browser is sure that there is no network. */
export function isOffline(): boolean {
  return typeof navigator !== "undefined" && navigator.onLine === false;
}
