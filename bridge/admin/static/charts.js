// Line charts on uPlot, each with a table of its figures: the text that stands for the picture.

import { h, say } from "./dom.js";
import { clock } from "./format.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

const HEIGHT_PIXELS = 168;
const AXIS_PIXELS = 62;
const together = uPlot.sync("time"); // Pointing at one chart points at that time in all.

/** Return the colour that a custom property stands for now. */
function colour(name) {
  const probe = h("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Indexes of values between two that are missing, which a line would not show. */
function lonely(values) {
  const found = [];
  for (let index = 0; index < values.length; index += 1) {
    if (values[index] !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null) found.push(index);
  }
  return found;
}

/** Return the series as they are drawn: each on top of those before it. */
function piled(series) {
  let below = [];
  return series.map(({ values }) => (below = values.map((value, index) => (below[index] ?? 0) + (value ?? 0))));
}

/** What the axis may count in. */
export const STEPS = {
  whole: [1, 2, 5].flatMap((step) => Array.from({ length: 9 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b),
  bytes: Array.from({ length: 40 }, (_, power) => 2 ** power),
  seconds: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400],
};

/**
 * A chart.
 * @param {{title: string, format: (value: number | null) => string, steps: number[], least: number, signal: AbortSignal,
 *   lines: number, stacked?: boolean, hint?: string}} options `least`: how far the axis goes at least; `lines`: how many
 *   series there will be; `stacked`: they add up
 * @returns {{element: HTMLElement, draw: (times: number[], series: {name: string, colour: string,
 *   values: (number | null)[]}[]) => void}} times in seconds; `colour` is a custom property's name
 */
export function chart({ title, format, steps, least, signal, lines, stacked = false, hint = "" }) {
  const canvas = h("div.canvas", { role: "img", "aria-label": title });
  // As high as it will be, so that nothing moves when the first samples come.
  const body = h("tbody", {}, Array.from({ length: lines }, () => h("tr", {}, h("td", { colspan: 4 }, "\u00a0"))));
  const at = h("span.at", {}, "now");
  const element = h("section.card.chart", { "aria-label": title },
    h("header", {}, h("h2", {}, title), hint && h("p.hint", {}, hint)),
    canvas,
    h("table.legend", {},
      h("caption.hidden", {}, `${title}: figures`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.hidden", {}, "Series")), h("th", { scope: "col" }, at), h("th", { scope: "col" }, "average"), h("th", { scope: "col" }, "highest"))),
      body),
  );
  let plot = null;
  let shape = "";
  let data = [[]];
  let shown = [];
  let rows = [];

  function build() {
    plot?.destroy();
    const ink = colour("--ink-soft");
    const drawn = stacked ? shown.toReversed() : shown; // The tallest first, so that the others are drawn over it.
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    plot = new uPlot({
      width: Math.max(120, canvas.clientWidth), height: HEIGHT_PIXELS, padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: together.key } },
      scales: { x: { time: true }, y: { range: (_, __, highest) => [0, Math.max(least, (highest ?? 0) * 1.1)] } },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: grid, font, space: 70, size: 30, values: (_, times) => times.map((time) => clock(time * 1000).slice(0, 5 + 3 * (times[1] - times[0] < 60))) },
        { stroke: ink, grid, ticks: { show: false }, font, size: AXIS_PIXELS, space: 34, incrs: steps, values: (_, values) => values.map(format) },
      ],
      series: [{}, ...drawn.map((series) => ({
        label: series.name, stroke: colour(series.colour), width: stacked ? 1 : 1.75,
        fill: stacked || shown.length === 1 ? colour(`${series.colour}-wash`) : null,
        points: { size: 4, filter: (self, index) => lonely(self.data[index]) },
      }))],
      hooks: { setCursor: [figures] },
    }, data, canvas);
  }

  function figures() {
    const last = data[0].length - 1;
    const pointed = plot?.cursor.idx ?? null;
    const index = pointed ?? last;
    say(at, pointed === null || pointed === last ? "now" : clock(data[0][index] * 1000));
    shown.forEach(({ values }, number) => {
      const known = values.filter((value) => value !== null);
      const average = known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
      const texts = [format(values[index] ?? null), format(average), format(known.length ? known.reduce((most, value) => Math.max(most, value), -Infinity) : null)];
      texts.forEach((text, column) => say(rows[number].cells[column], text));
    });
  }

  function legend() {
    rows = shown.map(({ name, colour: property }) => {
      const cells = [h("td"), h("td"), h("td")];
      const swatch = h("span.swatch", { "aria-hidden": "true" });
      swatch.style.background = `var(${property})`;
      return { cells, row: h("tr", {}, h("th", { scope: "row" }, swatch, name), cells) };
    });
    body.replaceChildren(...rows.map(({ row }) => row));
  }

  const resizing = new ResizeObserver(() => plot?.setSize({ width: Math.max(120, canvas.clientWidth), height: HEIGHT_PIXELS }));
  resizing.observe(canvas);
  document.addEventListener("theme", () => plot && build(), { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot && build(), { signal });
  signal.addEventListener("abort", () => {
    resizing.disconnect();
    plot?.destroy();
    plot = null;
  });

  return {
    element,
    draw(times, series) {
      data = [times, ...(stacked ? piled(series).reverse() : series.map(({ values }) => values))];
      const wanted = series.map(({ name, colour: property }) => `${name} ${property}`).join("\n");
      shown = series;
      if (!plot || wanted !== shape) {
        shape = wanted;
        legend();
        build();
      } else {
        plot.setData(data);
      }
      figures();
    },
  };
}
