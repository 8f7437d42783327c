// The nodes of the cluster, as this one knows of them.

import { poll } from "../api.js";
import { complaint, h, put } from "../dom.js";
import { count, distance, duration, moment } from "../format.js";
import { pill, table, time } from "../table.js";

export const path = "nodes";
export const key = "n";
export const title = "Nodes";
export const about = "By each node's own account, every few seconds. One that falls silent is gone from here.";

const SECONDS = 2;

const state = (node) => {
  if (node.draining) return pill("warn", "Draining");
  return node.ready ? pill("good", "Ready") : pill("bad", "Not ready");
};

export function mount(place, { signal }) {
  const error = complaint();
  const list = table({
    label: "Nodes", key: (node) => node.id, empty: "No node has been heard of yet.",
    columns: [
      { name: "Node", look: "headline", cell: (node) => [h("strong", {}, node.name), node.self && h("span.tag", {}, "this one"), h("br"), h("code.soft", {}, node.id)] },
      { name: "State", cell: state },
      { name: "Sockets", look: "numeric", cell: (node) => count(node.sockets) },
      { name: "Users", look: "numeric", cell: (node) => count(node.users) },
      { name: "Events/s", look: "numeric", cell: (node) => count(node.eventsPerSecond) },
      { name: "Up", look: "numeric", cell: (node) => time(node.startedAt, distance(node.startedAt).replace(" ago", "")) },
      { name: "Heard of", look: "numeric", cell: (node) => (node.self ? "now" : `${duration(node.seenSecondsAgo)} ago`) },
      { name: "Version", cell: (node) => node.version },
    ],
    named: (node) => node.name,
    details: (node) => [h("p", {}, "Started ", moment(node.startedAt), ".")],
  });
  put(place, error.element, h("section.card", {}, list.element));
  poll("nodes", { seconds: SECONDS, signal, onError: error.show, onValue: ({ nodes }) => list.update(nodes) });
}
