// Would this event reach this user through this room, and why, or why not?

import { get, post } from "../api.js";
import { complaint, field, h, put } from "../dom.js";
import { pill } from "../table.js";

export const path = "explain";
export const key = "e";
export const title = "Explain";
export const about = "User × room × event: would it be delivered, and why, or why not? Nothing is sent.";

const list = (text) => text.split(/[\s,]+/).filter(Boolean);

export function mount(place, { signal, query }) {
  const error = complaint();
  const text = (name, more = {}) => h("input", { name, value: query.get(name) ?? "", autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...more });
  const types = h("datalist", { id: "explain-types" });
  const user = text("user", { required: true, data: { filter: "" }, placeholder: "u1" });
  const room = text("room", { required: true, placeholder: "device:d7" });
  const event = text("event", { required: true, list: "explain-types", placeholder: "device.started" });
  const roles = text("roles", { placeholder: "admin" });
  const claims = text("claims", { placeholder: "device:*" });
  const verdict = h("section.card", { role: "status", hidden: true, "aria-label": "Verdict" });

  async function ask() {
    const asked = { user: user.value.trim(), room: room.value.trim(), event: event.value.trim(), roles: list(roles.value), claims: list(claims.value) };
    const named = Object.entries(asked).filter(([, value]) => value.length).map(([name, value]) => [name, Array.isArray(value) ? value.join(" ") : value]);
    history.replaceState(null, "", `#/explain?${new URLSearchParams(named)}`); // To be sent to a colleague.
    try {
      const answer = await post("explain", asked, { signal });
      error.show(null);
      verdict.hidden = false;
      put(verdict, h("h2.verdict", {}, pill(answer.delivered ? "good" : "bad", answer.delivered ? "Yes" : "No"), " ", answer.verdict),
        h("ol.steps", {}, answer.steps.map((step) => h("li", { data: { ok: String(step.ok) } }, h("span.hidden", {}, step.ok ? "Passes: " : "Stops here: "), step.text))));
    } catch (problem) {
      if (signal.aborted) return;
      verdict.hidden = true;
      error.show(problem);
    }
  }

  put(place, h("section.card", {}, h("form.grid", { onsubmit: (submitted) => {
    submitted.preventDefault();
    ask();
  } },
    field("User id", user), field("Room", room), field("Event type", event), field("Roles of the token", roles, "As in the token’s roles; separated by spaces."), field("Rooms of the token", claims, "As in its rooms claim, such as device:*"),
    h("div.actions", {}, h("button.primary", { type: "submit" }, "Explain"))), types, error.element), verdict);
  get("types", { signal }).then(({ types: known }) => put(types, known.map(({ name }) => h("option", { value: name })))).catch(() => {}); // Without suggestions, then.
  if (user.value && room.value && event.value) ask();
}
