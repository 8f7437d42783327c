// In development: publish an event with a form made from its schema.

import { get, post } from "../api.js";
import { complaint, field, h, put } from "../dom.js";
import { pretty } from "../format.js";
import { formOf } from "../schema.js";
import { chips } from "../table.js";

export const path = "publish";
export const key = "p";
export const title = "Publish";
export const about = "In development only. The event goes the way of every event: exchange, queue, log, sockets.";
export const developmentOnly = true;

const label = (type) => (type.version > 1 ? `${type.name}:v${type.version}` : type.name);

export function mount(place, { signal, argument }) {
  const error = complaint();
  const select = h("select", { name: "type", data: { filter: "" } });
  const about = h("p.hint");
  const messageId = h("input", { name: "messageId", autocomplete: "off", spellcheck: "false" });
  const raw = h("input", { type: "checkbox", name: "raw" });
  const area = h("textarea.code", { name: "json", rows: 14, spellcheck: "false" });
  const body = h("div");
  const send = h("button.primary", { type: "submit", disabled: true }, "Publish"); // Until there is a form.
  const done = h("section.card", { role: "status", hidden: true, "aria-label": "Published" });
  let types = [];
  let form = null;
  let stamp = null; // The time that the form was filled in with.

  const chosen = () => types.find((type) => label(type) === select.value);

  function draw(values) {
    const type = chosen();
    put(about, type.schema.description ?? "");
    form = formOf(type.schema, values);
    area.value = pretty(values);
    put(body, raw.checked ? field("Payload as JSON", area) : form.element);
  }

  function read() {
    if (!raw.checked) return form.read();
    try {
      return JSON.parse(area.value);
    } catch (problem) {
      throw new Error(`The payload is not JSON: ${problem.message}`);
    }
  }

  /** The example, with what every event has and examples leave out. */
  function fresh() {
    const { example, schema } = chosen();
    stamp = new Date().toISOString();
    const common = { userId: "u1", timestamp: stamp };
    const missing = Object.entries(common).filter(([name]) => schema.properties?.[name] && !(name in example));
    return { ...Object.fromEntries(missing), ...example };
  }

  /** What was filled in; a time that nobody has changed becomes that of publishing. */
  function payload() {
    const data = read();
    return data?.timestamp === stamp ? { ...data, timestamp: new Date().toISOString() } : data;
  }

  raw.addEventListener("change", () => {
    try {
      const values = raw.checked ? form.read() : JSON.parse(area.value);
      error.show(null);
      draw(values);
    } catch (problem) {
      raw.checked = !raw.checked;
      error.show(problem);
    }
  });
  select.addEventListener("change", () => {
    history.replaceState(null, "", `#/publish/${encodeURIComponent(select.value)}`);
    error.show(null);
    draw(fresh());
  });

  async function publish(event) {
    event.preventDefault();
    try {
      const answer = await post("publish", { type: select.value, data: payload(), ...(messageId.value.trim() ? { messageId: messageId.value.trim() } : {}) }, { signal });
      error.show(null);
      form.mark("", "");
      done.hidden = false;
      put(done, h("h2", {}, `Published ${select.value}`), h("p", {}, "As ", h("code", {}, answer.messageId), answer.targets.length ? ", to" : ", to no room."),
        answer.targets.length > 0 && chips(answer.targets),
        h("p", {}, h("a", { href: `#/tail?type=${encodeURIComponent(chosen().name)}` }, "See it in the live tail")));
    } catch (problem) {
      if (signal.aborted) return;
      done.hidden = true;
      error.show(problem);
      if (problem.field && !raw.checked) form.mark(problem.field, problem.message);
    }
  }

  put(place, h("section.card", {}, h("form.stack", { onsubmit: publish, novalidate: true },
    h("div.grid", {}, field("Event type", select), field("Message id", messageId, "Empty: a new one. The same one again within ten minutes is logged once.")),
    about, body, error.element,
    h("div.row.spread", {}, h("label.check", {}, raw, " As JSON"), h("div.actions", {}, send)))), done);
  get("types", { signal }).then((answer) => {
    types = answer.types;
    put(select, types.map((type) => h("option", { value: label(type) }, label(type))));
    if (types.some((type) => label(type) === argument)) select.value = argument;
    draw(fresh());
    send.disabled = false;
  }).catch((problem) => signal.aborted || error.show(problem));
}
