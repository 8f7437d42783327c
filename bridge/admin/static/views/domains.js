// The domains: their queues, who reads them, and what became of the events.

import { poll } from "../api.js";
import { complaint, h, put } from "../dom.js";
import { count, duration } from "../format.js";
import { chips, facts, pill, table } from "../table.js";

export const path = "domains";
export const key = "d";
export const title = "Domains";
export const about = "One queue each. All nodes are attached to it; one at a time reads, the others stand by.";

const SECONDS = 2;

const state = (domain) => {
  if (domain.trouble) return pill("bad", "Held up");
  if (domain.attached) return pill("good", "Attached"); // It reads, or stands by for the node that does.
  return domain.consumers ? pill("warn", "Only elsewhere") : pill("bad", "Nobody reads");
};
const settled = (domain) => Object.entries(domain.settled).filter(([, number]) => number > 0);

function details(domain) {
  return [
    domain.trouble && h("p.notice", {}, domain.trouble),
    facts([
      ["Queue", h("code", {}, domain.queue)],
      ["Published by", domain.owner],
      ["Bound to", domain.topics.length ? chips(domain.topics) : "what no other domain takes"],
      ["Unknown types are", { dead: "dead letters", dead_letter: "dead letters", pass: "passed on", drop: "dropped" }[domain.unknown] ?? domain.unknown],
      ["Settled here", settled(domain).map(([fate, number]) => `${count(number)} ${fate.replaceAll("_", " ")}`).join(", ") || "nothing yet"],
      ["Event types", domain.types.length ? h("ul.chips", {}, domain.types.map((name) => h("li", {}, h("a", { href: `#/types/${encodeURIComponent(name)}` }, name)))) : null, true],
      ["Ceilings", domain.ceilings && Object.keys(domain.ceilings).length ? h("code", {}, JSON.stringify(domain.ceilings)) : null],
    ]),
    h("p", {}, h("a", { href: `#/tail?domain=${encodeURIComponent(domain.name)}` }, "Watch its events"), " · ",
      h("a", { href: `#/dead?domain=${encodeURIComponent(domain.name)}` }, "Its dead letters")),
  ];
}

export function mount(place, { signal }) {
  const error = complaint();
  const list = table({
    label: "Domains", key: (domain) => domain.name, details,
    columns: [
      { name: "Domain", look: "headline", cell: (domain) => h("strong", {}, domain.name) },
      { name: "State", cell: state },
      { name: "Waiting", look: "numeric", cell: (domain) => count(domain.waiting) },
      { name: "Consumers", look: "numeric", cell: (domain) => count(domain.consumers) },
      { name: "Oldest unacked", look: "numeric", cell: (domain) => duration(domain.oldestUnackedSeconds) },
      { name: "Settled here", look: "numeric", cell: (domain) => count(settled(domain).reduce((sum, [, number]) => sum + number, 0)) },
      { name: "Types", look: "numeric", cell: (domain) => count(domain.types.length) },
    ],
  });
  put(place, error.element, h("section.card", {}, list.element));
  poll("domains", { seconds: SECONDS, signal, onError: error.show, onValue: ({ domains }) => list.update(domains) });
}
