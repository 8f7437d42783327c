// The events as they enter the log. Never more rows than a page can bear, and never a gap unsaid.

import { stream } from "../api.js";
import { field, h, put, say } from "../dom.js";
import { count } from "../format.js";
import { entryTable } from "./entries.js";

export const path = "tail";
export const key = "t";
export const title = "Live tail";
export const about = "Every event that the log takes, newest first. Reading here takes nothing from anybody.";

const ROWS_MAX = 300;
const WAITING_MAX = 2_000; // Entries that came while it is paused.
const DRAW_MILLISECONDS = 250;
const TYPING_MILLISECONDS = 300;
const FILTERS = [["text", "Text", "in id or data"], ["type", "Type", "device.*"], ["domain", "Domain", "device"], ["user", "User", "u1"], ["room", "Room", "device:d7"]];

export function mount(place, { signal, query }) {
  const inputs = FILTERS.map(([name, , hint]) => h("input", { type: "search", name, placeholder: hint, value: query.get(name) ?? "", autocomplete: "off", autocapitalize: "off", spellcheck: "false", data: name === "text" ? { filter: "" } : {} }));
  const pause = h("button", { type: "button", "aria-pressed": "false", data: { pause: "" } }, "Pause");
  const clear = h("button", { type: "button" }, "Clear");
  const status = h("p.hint", { role: "status" }, "Connecting …");
  const list = entryTable("Events", "Nothing yet. What is published from now on appears here.", { latency: true });
  let entries = []; // Newest first.
  let waiting = []; // Oldest first.
  let missed = 0;
  let reading = new AbortController();
  let state = "connecting";
  let refusal = "";
  let paused = false;

  function draw() {
    if (!paused && waiting.length) {
      entries = [...waiting.reverse(), ...entries].slice(0, ROWS_MAX);
      waiting = [];
      list.update(entries);
    }
    const parts = [{ connecting: "Connecting …", open: paused ? "Paused" : "Live", lost: refusal || "The connection is lost; trying again" }[state]];
    if (paused) parts.push(`${count(waiting.length)}${waiting.length >= WAITING_MAX ? " or more" : ""} have come since`);
    if (entries.length) parts.push(entries.length >= ROWS_MAX ? `the newest ${count(ROWS_MAX)} are shown` : `${count(entries.length)} shown`);
    if (missed) parts.push(`${count(missed)} were left out, as too many came at once`);
    say(status, `${parts.join("; ")}.`);
  }

  function take(name, data) {
    if (name === "gap") missed += data.missed;
    if (name !== "entry") return;
    waiting.push(data);
    if (waiting.length > WAITING_MAX) waiting.shift();
  }

  function read() {
    reading.abort();
    reading = new AbortController();
    entries = [];
    waiting = [];
    missed = 0;
    list.update(entries);
    const wanted = new URLSearchParams(inputs.filter((input) => input.value.trim()).map((input) => [input.name, input.value.trim()]));
    history.replaceState(null, "", `#/tail${wanted.size ? `?${wanted}` : ""}`);
    stream(`tail?${wanted}`, { signal: AbortSignal.any([signal, reading.signal]), onEvent: take, onState: (now, more) => {
      state = now;
      refusal = more?.error.status ? more.error.message : "";
      // It begins with the newest of the window again.
      if (now === "open") [entries, waiting] = [[], []];
    } });
  }

  let typing = 0;
  for (const input of inputs) {
    input.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(read, TYPING_MILLISECONDS);
    });
  }
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    say(pause, paused ? "Go on" : "Pause");
    draw();
  });
  clear.addEventListener("click", () => {
    [entries, waiting, missed] = [[], [], 0];
    list.update(entries);
    draw();
  });
  put(place, h("section.card", {},
    h("form.filters", { role: "search", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() }, FILTERS.map(([, label], index) => field(label, inputs[index])), h("div.actions", {}, pause, clear)),
    status, list.element));
  const drawing = setInterval(draw, DRAW_MILLISECONDS);
  signal.addEventListener("abort", () => {
    clearInterval(drawing);
    clearTimeout(typing);
  });
  read();
}
