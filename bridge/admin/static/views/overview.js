// How it goes, at a glance, and how it went in the last minutes.

import { STEPS, chart } from "../charts.js";
import { h, put, say } from "../dom.js";
import { UNKNOWN, bytes, count, duration, milliseconds } from "../format.js";
import { live } from "../live.js";
import { facts, pill } from "../table.js";

export const path = "overview";
export const key = "o";
export const title = "Overview";
export const about = "This node, second by second.";

const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5"];
const OTHERS = "--chart-others";
const SPANS = [["2 minutes", 120], ["5 minutes", 300], ["15 minutes", 900]];
const POINTS_MAX = 150; // More, and a line is a scribble.
const SPAN_KEY = "overview-span";

const sumOf = (sample, field) => {
  const values = Object.values(sample.domains).map((domain) => domain[field]).filter((value) => value !== null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) : null;
};
const mostOf = (sample, field) => Math.max(0, ...Object.values(sample.domains).map((domain) => domain[field] ?? 0));

/** The big figures: a name, the value, and what belongs to it in small. */
const FIGURES = [
  ["Sockets", (s) => count(s.sockets), (s) => `${count(s.users)} users, ${count(s.rooms)} rooms`],
  ["Events/s", (s) => count(sumOf(s, "eventsPerSecond")), (s) => `${count(sumOf(s, "deadPerSecond"))} dead, ${count(s.framesPerSecond)} frames`],
  ["Publish to socket", (s) => milliseconds(s.latencyMs?.p99), (s) => (s.latencyMs ? `p99; p50 ${milliseconds(s.latencyMs.p50)}` : "p99; nothing was sent")],
  ["Outboxes", (s) => bytes(s.outboxBytes), (s) => `${count(s.outboxFrames)} frames; ${bytes(s.bytesPerSecond)}/s`],
  ["Waiting", (s) => count(sumOf(s, "waiting")), (s) => `oldest unacked ${duration(mostOf(s, "oldestUnackedSeconds"))}`],
  ["Refused/s", (s) => count(s.refusedPerSecond), (s) => `${count(s.reconnects)} broker reconnects`],
];

/** Give each of the busiest domains a colour that it keeps while it is among them; the rest is one line. */
class Slots {
  #names = COLOURS.map(() => null);

  series(samples, field) {
    const totals = new Map();
    for (const sample of samples) {
      for (const [name, domain] of Object.entries(sample.domains)) totals.set(name, (totals.get(name) ?? 0) + (domain[field] ?? 0));
    }
    const kept = (name) => Number(this.#names.includes(name));
    const busiest = [...totals].sort((a, b) => b[1] - a[1] || kept(b[0]) - kept(a[0])).slice(0, COLOURS.length).map(([name]) => name);
    this.#names = this.#names.map((name) => (busiest.includes(name) ? name : null));
    for (const name of busiest) {
      if (!kept(name)) this.#names[this.#names.indexOf(null)] = name;
    }
    const lines = this.#names.flatMap((name, index) => (name ? [{ name, colour: COLOURS[index], values: samples.map((sample) => sample.domains[name]?.[field] ?? null) }] : []));
    const rest = samples.map((sample) => Object.entries(sample.domains).reduce((sum, [name, domain]) => sum + (busiest.includes(name) ? 0 : domain[field] ?? 0), 0));
    return [...lines, { name: "all others", colour: OTHERS, values: rest }];
  }
}

const one = (name, read, colour = COLOURS[0]) => ({ name, colour, values: (samples) => samples.map(read) });

/** What several values of one series are drawn as: rates as their average, whatever hurts as its worst. */
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const worst = (values) => Math.max(...values);

/** Draw fewer points than there are samples; their edges stay where they are while time goes on. */
function thinned(times, series, together) {
  const width = Math.ceil(times.length / POINTS_MAX);
  if (width === 1) return [times, series];
  const bins = Map.groupBy(times.keys(), (index) => Math.floor(times[index] / width));
  const indexes = [...bins.values()];
  return [indexes.map((group) => times[group.at(-1)]), series.map((each) => ({ ...each, values: indexes.map((group) => {
    const known = group.map((index) => each.values[index]).filter((value) => value !== null);
    return known.length ? together(known) : null;
  }) }))];
}

function charts(signal) {
  const [events, waiting] = [new Slots(), new Slots()];
  const fixed = (...series) => (samples) => series.map((each) => ({ ...each, values: each.values(samples) }));
  const made = (options, series, together) => {
    const picture = chart({ signal, ...options });
    return { element: picture.element, draw: (times, samples) => picture.draw(...thinned(times, series(samples), together)) };
  };
  const piled = { hint: "By domain, one on top of the other", format: count, steps: STEPS.whole, least: 4, stacked: true, lines: COLOURS.length + 1 };
  return [
    made({ title: "Events per second", ...piled }, (samples) => events.series(samples, "eventsPerSecond"), average),
    made({ title: "Waiting in queues", ...piled }, (samples) => waiting.series(samples, "waiting"), worst),
    made({ title: "Sockets", lines: 2, format: count, steps: STEPS.whole, least: 4 },
      fixed(one("sockets", (s) => s.sockets), one("users", (s) => s.users, COLOURS[1])), worst),
    made({ title: "Publish to socket", lines: 2, hint: "From the time that the publisher gives", format: milliseconds, steps: STEPS.whole, least: 10 },
      fixed(one("p50", (s) => s.latencyMs?.p50 ?? null), one("p99", (s) => s.latencyMs?.p99 ?? null, COLOURS[1])), worst),
    made({ title: "Outbox pressure", lines: 1, hint: "Bytes that sockets have not taken yet", format: bytes, steps: STEPS.bytes, least: 1024 },
      fixed(one("held", (s) => s.outboxBytes)), worst),
    made({ title: "Lag", lines: 1, hint: "Age of the oldest delivery not acked", format: duration, steps: STEPS.seconds, least: 1 },
      fixed(one("all domains", (s) => mostOf(s, "oldestUnackedSeconds"))), worst),
  ];
}

export function mount(place, { signal, overview, tools }) {
  const figures = FIGURES.map(([name, value, more]) => ({ value, more, big: h("p.big", {}, UNKNOWN), small: h("p.hint", {}, "\u00a0"), name }));
  const trouble = h("section.card.trouble", { hidden: true, "aria-label": "Trouble" });
  const node = h("section.card", { "aria-label": "This node" });
  const span = h("select", { id: "span", onchange: () => {
    sessionStorage.setItem(SPAN_KEY, span.value);
    draw();
  } }, SPANS.map(([text, seconds]) => h("option", { value: String(seconds) }, text)));
  span.value = sessionStorage.getItem(SPAN_KEY) ?? "300";
  const drawn = charts(signal);
  put(tools, h("label.inline", { for: "span" }, "The last"), span);
  put(place,
    trouble,
    h("section.figures", { "aria-label": "Now" }, figures.map(({ name, big, small }) => h("div.card", {}, h("h2", {}, name), big, small))),
    h("div.charts", {}, drawn.map(({ element }) => element)),
    node,
  );

  function draw() {
    const samples = live.samples.slice(-Number(span.value));
    if (!samples.length) return;
    for (const { value, more, big, small } of figures) {
      say(big, value(samples.at(-1)));
      say(small, more(samples.at(-1)));
    }
    const times = samples.map(({ at }) => at / 1000);
    for (const picture of drawn) picture.draw(times, samples);
  }

  function tell(state) {
    const ill = state.node.parts.filter(({ ok }) => !ok);
    trouble.hidden = !ill.length;
    put(trouble, h("h2", {}, ill.length === 1 ? "One part is not well" : `${ill.length} parts are not well`),
      h("ul.plain", {}, ill.map((part) => h("li", {}, pill(part.vital === false ? "warn" : "bad", part.part), " ", part.detail))));
    put(node, h("h2", {}, "This node"), facts([
      ["Name", state.node.name], ["Id", h("code", {}, state.node.id)], ["Version", state.node.version],
      ["Log", `${state.log.kind}, at ${count(state.log.offset)}`], ["Epoch", h("code", {}, state.log.epoch)],
      ["Window", `${count(state.log.windowEntries)} entries of the last ${duration(state.log.windowSeconds)}`],
    ]), h("details", {}, h("summary", {}, `${state.node.parts.length} parts`),
      h("ul.plain", {}, state.node.parts.map((part) => h("li", {}, pill(part.ok ? "good" : part.vital === false ? "warn" : "bad", part.part), " ", h("span.soft", {}, part.detail))))));
  }

  let told = "";
  function retell(state) {
    const written = JSON.stringify([state.node.parts, state.log]);
    if (written === told) return;
    told = written;
    const open = node.querySelector("details")?.open ?? false;
    const focused = node.contains(document.activeElement);
    tell(state);
    node.querySelector("details").open = open;
    if (focused) node.querySelector("summary").focus();
  }

  live.addEventListener("samples", draw, { signal });
  document.addEventListener("overview", ({ detail }) => retell(detail), { signal });
  retell(overview());
  draw();
}
