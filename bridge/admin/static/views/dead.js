// The dead letters: what was refused and why, and what becomes of it.

import { poll, post } from "../api.js";
import { confirmed, toast } from "../dialogs.js";
import { complaint, field, h, put, say } from "../dom.js";
import { UNKNOWN, bytes, count, moment } from "../format.js";
import { facts, table, time } from "../table.js";

export const path = "dead";
export const key = "l";
export const title = "Dead letters";
export const about = "What no consumer could take, with the reason, and the body untouched.";

const SECONDS = 5;
const LETTERS_MAX = 100;
const INDENTED_MAX = 40; // What is nested deeper is not indented further: 64 KiB of brackets would become gigabytes.
const words = (reason) => reason.replaceAll("_", " ");
const letters = (number) => (number === 1 ? "1 letter" : `${count(number)} letters`);

/** A body as text; JSON in lines, with the line of the field at fault marked. */
function body(letter) {
  if (letter.bodyEncoding === "base64") return h("pre.wrap", { tabindex: "0", "aria-label": "Body in Base64" }, letter.body);
  let text = letter.body;
  try {
    text = exact(letter.body);
  } catch {
    // Not JSON: shown as it is.
  }
  const fault = letter.field && JSON.stringify(letter.field.split(".").at(-1).replace(/\[\d+\]$/, ""));
  const lines = text.split("\n").map((line, index) => {
    const found = fault && line.trimStart().startsWith(`${fault}:`);
    return [index ? "\n" : "", found ? [line.slice(0, line.search(/\S/)), h("mark", {}, line.trimStart())] : line];
  });
  return h("pre", { tabindex: "0", "aria-label": "Body" }, lines);
}

/** Put JSON into lines without reading its numbers: they stay as they were published. */
function exact(text) {
  JSON.parse(text);
  let depth = 0;
  return text.replace(/"(?:[^"\\]|\\.)*"|\s+|\{\s*\}|\[\s*\]|[{}[\],:]/g, (part) => {
    const line = (by) => `\n${"  ".repeat(Math.min((depth += by), INDENTED_MAX))}`;
    if (part[0] === '"') return part;
    if (!part.trim()) return "";
    if (part === "{" || part === "[") return part + line(1);
    if (part === "}" || part === "]") return line(-1) + part;
    if (part === ",") return part + line(0);
    if (part === ":") return ": ";
    return part.replace(/\s+/g, "");
  });
}

function details(letter) {
  const headers = Object.entries(letter.headers ?? {});
  return h("div.letter", {},
    h("p.notice", {}, letter.message),
    facts([
      ["Message id", letter.messageId && h("code", {}, letter.messageId)], ["Letter", h("code", {}, letter.id)],
    ]),
    body(letter),
    letter.bodyEncoding === "base64" && h("p.hint", {}, "The body is no text; it is shown in Base64."),
    letter.truncated && h("p.hint", {}, "Only the beginning is shown; bridge dead show has more."),
    headers.length > 0 && h("details", {}, h("summary", {}, headers.length === 1 ? "1 header" : `${headers.length} headers`), facts(headers.map(([name, value]) => [name, h("code", {}, typeof value === "string" ? value : JSON.stringify(value))]))),
  );
}

export function mount(place, { signal, query }) {
  const chosen = new Set();
  let known = [];
  let shown = [];
  let total = 0;
  const error = complaint();
  const filter = h("input", { type: "search", data: { filter: "" }, placeholder: "reason, domain, text …", value: query.get("domain") ?? "", autocomplete: "off", spellcheck: "false" });
  const summary = h("p.hint", { role: "status" }, UNKNOWN);
  const every = h("input", { type: "checkbox", "aria-label": "Choose all that are shown" });
  const replay = h("button.primary", { type: "button", disabled: true }, "Replay …");
  const purge = h("button", { type: "button", disabled: true }, "Purge …");
  const list = table({
    label: "Dead letters", key: (letter) => letter.id, details, named: (letter) => `${letter.routingKey}, ${words(letter.reason)}`,
    empty: "No dead letters. Nothing was refused, or it was dealt with.",
    columns: [
      { name: "Chosen", look: "pick", head: every, once: true, cell: (letter) => h("input", {
        type: "checkbox", checked: chosen.has(letter.id), "aria-label": `Choose ${letter.routingKey}, ${words(letter.reason)}`, data: { letter: letter.id },
        onchange: (event) => {
          if (event.target.checked) chosen.add(letter.id);
          else chosen.delete(letter.id);
          choices();
        },
      }) },
      { name: "Dead since", cell: (letter) => time(letter.at, moment(letter.at)) },
      { name: "Routing key", look: "headline", cell: (letter) => h("code", {}, letter.routingKey) },
      { name: "Reason", cell: (letter) => h("span.why", {}, words(letter.reason)) },
      { name: "Field", cell: (letter) => (letter.field ? h("code", {}, letter.field) : UNKNOWN) },
      { name: "Domain", cell: (letter) => letter.domain },
      { name: "Size", look: "numeric", cell: (letter) => bytes(letter.size) },
    ],
  });

  function choices() {
    for (const button of [replay, purge]) button.disabled = chosen.size === 0;
    say(replay, chosen.size ? `Replay ${letters(chosen.size)} …` : "Replay …");
    say(purge, chosen.size ? `Purge ${letters(chosen.size)} …` : "Purge …");
    every.checked = shown.length > 0 && shown.every(({ id }) => chosen.has(id));
    every.indeterminate = !every.checked && chosen.size > 0;
    for (const box of list.element.querySelectorAll("[data-letter]")) box.checked = chosen.has(box.dataset.letter);
  }

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    shown = known.filter((letter) => !wanted || [letter.id, letter.domain, letter.reason, words(letter.reason), letter.field, letter.message, letter.routingKey, letter.messageId, letter.body].some((text) => text?.toLowerCase().includes(wanted)));
    for (const id of chosen) if (!shown.some((letter) => letter.id === id)) chosen.delete(id); // Nothing unseen is acted on.
    list.update(shown);
    const parts = [`${letters(total)} in all`];
    if (known.length < total) parts.push(`the first ${count(known.length)} are looked at`);
    if (wanted) parts.push(`${count(shown.length)} shown`);
    say(summary, `${parts.join("; ")}.`);
    choices();
  }

  async function act(what, done, question) {
    const ids = [...chosen];
    if (!(await confirmed({ ...question, title: `${question.act} ${letters(ids.length)}?` }))) return;
    try {
      const answer = await post(`dead/${what}`, { ids }, { signal });
      const gone = answer.missing.length ? ` ${letters(answer.missing.length)} had gone already.` : "";
      toast(`${done} ${letters(answer[what === "replay" ? "replayed" : "purged"].length)}.${gone}`, "good");
      chosen.clear();
    } catch (problem) {
      if (!signal.aborted) toast(problem.message, "bad");
    }
    refresh();
  }

  every.addEventListener("change", () => {
    for (const { id } of shown) {
      if (every.checked) chosen.add(id);
      else chosen.delete(id);
    }
    choices();
  });
  filter.addEventListener("input", draw);
  replay.addEventListener("click", () => act("replay", "Replayed", { act: "Replay", text: "They go back to the bridge and are judged anew, at the end of their queue. One that is still wrong comes back here." }));
  purge.addEventListener("click", () => act("purge", "Purged", { act: "Purge", danger: true, text: "They are removed for good. There is no way to get them back." }));
  put(place, error.element, h("section.card", {},
    h("div.tools", {}, field("Filter", filter), h("div.actions", {}, replay, purge)), summary, list.element));
  const refresh = poll(`dead?limit=${LETTERS_MAX}`, { seconds: SECONDS, signal, onError: error.show, onValue: (answer) => {
    ({ letters: known, total } = answer);
    draw();
  } });
}
