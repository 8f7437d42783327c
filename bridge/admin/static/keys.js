// One key at a time, and never while somebody types. They can be switched off: speech input may press them by mistake.

import { h } from "./dom.js";

const GO_MILLISECONDS_MAX = 1_500;
const OFF = "keys-off";

/** Listen until the page is closed. */
export function listenToKeys({ views, help, closeMenu }) {
  let wentAt = -Infinity;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenu();
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, dialog, [contenteditable]")) return;
    if (event.key !== "?" && localStorage.getItem(OFF)) return;
    const going = event.timeStamp - wentAt < GO_MILLISECONDS_MAX;
    wentAt = -Infinity;
    const view = going && views.find(({ key }) => key === event.key);
    if (view) location.hash = `#/${view.path}`;
    else if (event.key === "g") wentAt = event.timeStamp;
    else if (event.key === "?") help();
    else if (event.key === "/") document.querySelector("main [data-filter]")?.focus();
    else if (event.key === "p") document.querySelector("main [data-pause]")?.click();
    else return;
    event.preventDefault();
  });
}

/** What the keys do. */
export function keysTable(views) {
  const off = h("input", { type: "checkbox", checked: localStorage.getItem(OFF) !== null, onchange: () => {
    if (off.checked) localStorage.setItem(OFF, "1");
    else localStorage.removeItem(OFF);
  } });
  const rows = [["/", "to the filter"], ["?", "these keys"], ["Esc", "close what is open"], ["p", "pause the live tail, or go on"],
    ...views.map(({ key, title }) => [`g ${key}`, title])];
  return [
    h("dl.keys", {}, rows.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, text)))),
    h("label.check", {}, off, " Switch keys of one letter off"),
  ];
}
