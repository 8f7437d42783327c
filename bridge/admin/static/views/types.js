// Every event type that this bridge knows, with its fields.

import { get } from "../api.js";
import { complaint, h, put, say } from "../dom.js";
import { count, duration, pretty } from "../format.js";
import { fieldsOf, typeOf } from "../schema.js";
import { chips, facts, table } from "../table.js";

export const path = "types";
export const key = "y";
export const title = "Event types";
export const about = "What publishers may send, as this bridge knows it.";

export function mount(place, { signal, overview, argument }) {
  const error = complaint();
  let known = [];
  const filter = h("input", { type: "search", value: argument, data: { filter: "" }, "aria-label": "Filter by name, domain or field", placeholder: "Filter by name, domain or field", autocomplete: "off", spellcheck: "false" });
  const summary = h("p.hint", { role: "status" }, "…");
  const list = table({
    label: "Event types", key: (type) => `${type.name} v${type.version}`, details, empty: "No event type matches.",
    columns: [
      { name: "Type", look: "headline", cell: (type) => [h("strong", {}, type.name), type.version > 1 && h("span.tag", {}, `v${type.version}`)] },
      { name: "Domain", cell: (type) => type.domain },
      { name: "Goes to", cell: (type) => chips(type.rooms) },
      { name: "If a socket is slow", cell: (type) => type.policy.replaceAll("_", " ") },
      { name: "Oldest sent", look: "numeric", cell: (type) => (type.ageSecondsMax === null ? "any age" : duration(type.ageSecondsMax)) },
    ],
  });

  function details(type) {
    const properties = fieldsOf(type.schema);
    const fields = table({
      label: `Fields of ${type.name}`, key: ({ name }) => name, empty: "It has no fields.",
      columns: [
        { name: "Field", look: "headline", cell: ({ name }) => h("code", {}, name) },
        { name: "Type", cell: (property) => typeOf(property.schema) },
        { name: "Required", cell: ({ required }) => (required ? "required" : "") },
        { name: "Meaning", look: "wide", cell: ({ schema }) => schema.description ?? "" },
      ],
    });
    fields.update(properties);
    return [
      type.schema.description && h("p", {}, type.schema.description),
      facts([["Also called", type.aliases.length ? chips(type.aliases) : null]]),
      fields.element,
      h("details", {}, h("summary", {}, "Example"), h("pre", { tabindex: "0", "aria-label": "Example" }, pretty(type.example))),
      overview().node.development && h("p", {}, h("a", { href: `#/publish/${encodeURIComponent(type.name)}` }, "Publish one")),
    ];
  }

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    const shown = known.filter((type) => [type.name, type.domain, ...type.aliases, ...Object.keys(type.schema.properties ?? {})].some((text) => text.toLowerCase().includes(wanted)));
    list.update(shown);
    say(summary, `${count(shown.length)} of ${count(known.length)} types.`);
  }

  filter.addEventListener("input", draw);
  put(place, error.element, h("section.card", {}, filter, summary, list.element));
  get("types", { signal }).then((answer) => {
    known = answer.types;
    draw();
  }).catch((problem) => signal.aborted || error.show(problem));
}
