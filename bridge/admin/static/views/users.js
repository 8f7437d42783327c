// One user: where they are connected, what they hear, and the door.

import { get, post, wait } from "../api.js";
import { confirmed, toast } from "../dialogs.js";
import { complaint, field, h, put } from "../dom.js";
import { bytes, count, distance, moment } from "../format.js";
import { chips, facts, pill, table, time } from "../table.js";
import { entryTable } from "./entries.js";

export const path = "users";
export const key = "u";
export const title = "Users";
export const about = "The sockets of one user on every node, their rooms, and what they were sent.";

const AFTER_DISCONNECT_MILLISECONDS = 1_000; // A revocation takes effect on every node within a second.

const ends = (socket) => (socket.tokenExpiresAt ? time(socket.tokenExpiresAt, distance(socket.tokenExpiresAt)) : "does not end");

function socketTable() {
  return table({
    label: "Sockets", key: (socket) => socket.clientId, empty: "No socket on the nodes that answered.",
    named: (socket) => `socket ${socket.clientId}`,
    columns: [
      { name: "Node", look: "headline", cell: (socket) => socket.node },
      { name: "Open", cell: (socket) => time(socket.openedAt, distance(socket.openedAt).replace(" ago", "")) },
      { name: "From", cell: (socket) => h("code", {}, socket.address) },
      { name: "State", cell: (socket) => pill(socket.state === "open" ? "good" : "plain", socket.state) },
      { name: "Token ends", cell: ends },
      { name: "Outbox", look: "numeric", cell: (socket) => bytes(socket.outboxBytes) },
      { name: "Rooms", look: "wide", cell: (socket) => chips(socket.rooms) },
    ],
    details: (socket) => facts([
      ["Client id", h("code", {}, socket.clientId)], ["Opened", moment(socket.openedAt)], ["Roles", socket.roles.join(", ") || "none"],
      ["Dialect", `${socket.dialect}${socket.compressed ? ", compressed" : ""}`], ["Frames in the outbox", count(socket.outboxFrames)],
    ]),
  });
}

async function disconnect(user, signal, again) {
  const reason = h("input", { name: "reason", maxlength: "200", autocomplete: "off", placeholder: "logged out by support" });
  const token = h("input", { name: "token", autocomplete: "off", spellcheck: "false" });
  const yes = await confirmed({
    title: `Disconnect ${user}?`, act: "Disconnect", danger: true,
    text: "Their sockets are closed with 4403 on every node, and tokens issued until now are refused. With a new token they may come back.",
    fields: [field("Reason", reason, "The user’s page is told it."), field("Only the token with this id", token, "The token’s jti. Empty: all of the user’s tokens.")],
  });
  if (!yes) return;
  try {
    const body = Object.fromEntries([["reason", reason.value.trim()], ["tokenId", token.value.trim()]].filter(([, value]) => value));
    await post(`users/${encodeURIComponent(user)}/disconnect`, body, { signal });
    toast(`${user} is being disconnected on every node.`, "good");
    await wait(AFTER_DISCONNECT_MILLISECONDS, signal);
    again();
  } catch (problem) {
    if (!signal.aborted) toast(problem.message, "bad");
  }
}

function results(user, signal, again) {
  const head = h("h2", {}, user);
  const summary = h("p", { role: "status" });
  const silent = h("p.notice", { hidden: true });
  const sockets = socketTable();
  const recent = entryTable("Recent events", "No event in the replay window goes to this user’s own room.");
  const element = h("div.stack", {},
    h("section.card", {}, h("div.row.spread", {}, h("div", {}, head, summary), h("div.actions", {},
      h("a.button", { href: `#/tail?user=${encodeURIComponent(user)}` }, "Watch"),
      h("a.button", { href: `#/explain?user=${encodeURIComponent(user)}` }, "Explain"),
      h("button", { type: "button", onclick: again }, "Refresh"),
      h("button.danger", { type: "button", onclick: () => disconnect(user, signal, again) }, "Disconnect …"))),
    silent, sockets.element),
    h("section.card", {}, h("h2", {}, "Recent events"), recent.element));
  return {
    element,
    show(answer) {
      const open = answer.nodes.flatMap(({ node, sockets: own }) => (own ?? []).map((socket) => ({ ...socket, node })));
      const left = answer.nodes.reduce((sum, node) => sum + (node.socketsLeftOut ?? 0), 0);
      const quiet = answer.nodes.filter(({ answered }) => !answered).map(({ node }) => node);
      put(summary, `${open.length === 1 ? "1 socket" : `${count(open.length + left)} sockets`} on ${answer.nodes.length === 1 ? "1 node" : `${count(answer.nodes.length)} nodes`}${left ? `; ${count(left)} of them are not shown` : ""}.`);
      silent.hidden = !quiet.length;
      put(silent, `No answer from ${quiet.join(", ")}: there may be more sockets than are shown.`);
      sockets.update(open);
      recent.update([...answer.recent].sort((a, b) => b.offset - a.offset));
    },
  };
}

export function mount(place, { signal, argument: user }) {
  const error = complaint();
  const input = h("input", { type: "search", name: "user", value: user, required: true, data: { filter: "" }, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const found = h("div");
  put(place, h("section.card", {}, h("form.tools", { role: "search", onsubmit: (event) => {
    event.preventDefault();
    const wanted = `#/users/${encodeURIComponent(input.value.trim())}`;
    if (location.hash === wanted) look();
    else location.hash = wanted;
  } }, field("User id", input), h("div.actions", {}, h("button.primary", { type: "submit" }, "Look up"))), error.element), found);

  const shown = user ? results(user, signal, () => look()) : null;
  async function look() {
    try {
      shown.show(await get(`users/${encodeURIComponent(user)}`, { signal }));
      error.show(null);
      if (!found.firstChild) put(found, shown.element);
    } catch (problem) {
      if (!signal.aborted) error.show(problem);
    }
  }
  if (shown) look();
}
