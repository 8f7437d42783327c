// Tables that are brought up to date in place, with rows that open; on a phone each row is a card (parts.css).
// The roles are said aloud because a table that is laid out as cards would lose them.

import { h, newId, put } from "./dom.js";

/**
 * @template T
 * @param {{label: string, columns: {name: string, cell: (item: T) => any, once?: boolean, head?: Node,
 *   look?: "numeric" | "headline" | "wide" | "pick"}[], key: (item: T) => string, details?: (item: T) => any, named?: (item: T) => string,
 *   empty?: string}} options `once`: the cell is made once for a row; `look`: for parts.css; `details`: what a row opens to; `named`: what
 *   its button is called by
 * @returns {{element: HTMLElement, update: (items: T[]) => void}}
 */
export function table({ label, columns, key, details, named = key, empty = "Nothing here." }) {
  const rows = new Map();
  const body = h("tbody", { role: "rowgroup" });
  const nothing = h("p.empty", { hidden: true }, empty);
  const heads = columns.map(({ name, head, look }) =>
    h("th", { role: "columnheader", scope: "col", class: look === "numeric" && look }, head ?? name),
  );
  if (details) heads.unshift(h("th.opener", { role: "columnheader", scope: "col" }, h("span.hidden", {}, "Details")));
  const element = h("div.table", {},
    h("table", { role: "table", "aria-label": label }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body),
    nothing,
  );

  function make(item) {
    const row = { item, open: false, cells: [], nodes: [] };
    row.cells = columns.map(({ name, look }) => h("td", { role: "cell", class: look, data: { label: name } }),
    );
    columns.forEach(({ cell, once }, index) => once && put(row.cells[index], cell(item)));
    const line = h("tr", { role: "row" });
    row.nodes.push(line);
    if (details) {
      const id = newId("details");
      row.inside = h("td", { role: "cell", colspan: columns.length + 1 });
      const more = h("tr.details", { role: "row", id, hidden: true }, row.inside);
      row.button = h("button.quiet.open", {
        type: "button", "aria-expanded": "false", "aria-controls": id, "aria-label": `Details of ${named(item)}`,
        onclick: () => {
          row.open = !row.open;
          row.button.setAttribute("aria-expanded", String(row.open));
          line.classList.toggle("is-open", row.open);
          more.hidden = !row.open;
          if (row.open) put(row.inside, details(row.item));
        },
      });
      line.append(h("td.opener", { role: "cell" }, row.button));
      row.nodes.push(more);
    }
    line.append(...row.cells);
    return row;
  }

  function refresh(row, item) {
    const written = JSON.stringify(item);
    if (row.written === written) return;
    row.written = written;
    row.item = item;
    columns.forEach(({ cell, once }, index) => once || put(row.cells[index], cell(item)));
    if (row.open) put(row.inside, details(item));
  }

  return {
    element,
    update(items) {
      const kept = new Set();
      let before = body.firstChild;
      for (const item of items) {
        const id = key(item);
        if (kept.has(id)) continue;
        kept.add(id);
        let row = rows.get(id);
        if (!row) rows.set(id, (row = make(item)));
        refresh(row, item);
        for (const node of row.nodes) {
          if (node === before) before = node.nextSibling;
          else body.insertBefore(node, before);
        }
      }
      for (const [id, row] of rows) {
        if (kept.has(id)) continue;
        for (const node of row.nodes) node.remove();
        rows.delete(id);
      }
      nothing.hidden = items.length > 0;
      element.firstChild.hidden = items.length === 0;
    },
  };
}

/** Facts as a name, a value and whether it needs the whole width; those without a value are left out. */
export function facts(pairs) {
  return h("dl.facts", {}, pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value, wide]) => h("div", { class: wide && "wide" }, h("dt", {}, name), h("dd", {}, value))));
}

/** Short words beside one another. */
export function chips(names) {
  return h("ul.chips", {}, names.map((name) => h("li", {}, name)));
}

/** A state in a word, with its colour: good, warn, bad or plain. */
export function pill(state, text) {
  return h("span.pill", { data: { state } }, text);
}

/** A time, with its whole form on the pointer. */
export function time(value, text) {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? h("span", {}, text) : h("time", { datetime: date.toISOString(), title: date.toISOString() }, text);
}
