// Entries of the log as rows, in the live tail and among a user's recent events.

import { h } from "../dom.js";
import { UNKNOWN, clock, milliseconds, moment, pretty } from "../format.js";
import { chips, facts, table, time } from "../table.js";

const ROOMS_SHOWN = 3;

function details(entry) {
  return [
    facts([
      ["Offset", h("code", {}, entry.offset)], ["Id", h("code", {}, entry.id)], ["Version", entry.version],
      ["Published", time(entry.timestamp, moment(entry.timestamp))], ["Rooms", entry.rooms.length ? chips(entry.rooms) : "none: it is for the nodes"],
      ["Trace", entry.traceparent && h("code", {}, entry.traceparent)],
    ]),
    h("pre", { tabindex: "0", "aria-label": "Data" }, pretty(entry.data)),
  ];
}

const rooms = ({ rooms: names }) => [
  h("code", {}, names.slice(0, ROOMS_SHOWN).join(", ") || UNKNOWN), names.length > ROOMS_SHOWN && h("span.soft", {}, ` and ${names.length - ROOMS_SHOWN} more`),
];

/** Entries as a table; `latency` where it is known. */
export function entryTable(label, empty, { latency = false } = {}) {
  return table({
    label, empty, details, key: (entry) => String(entry.offset), named: (entry) => `${entry.type} at ${entry.offset}`,
    columns: [
      { name: "Published", once: true, cell: (entry) => time(entry.timestamp, clock(entry.timestamp, { exact: true })) },
      { name: "Type", once: true, look: "headline", cell: (entry) => h("strong", {}, entry.type) },
      { name: "Domain", once: true, cell: (entry) => entry.domain },
      { name: "Rooms", once: true, cell: rooms },
      ...(latency ? [{ name: "To the log", once: true, look: "numeric", cell: (entry) => milliseconds(entry.latencyMs) }] : []),
    ],
  });
}
