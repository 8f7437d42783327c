// The frame around the views: signing in, the header, the way from an address to a view.

import { get, poll, session } from "./api.js";
import { shown } from "./dialogs.js";
import { field, h, put, say } from "./dom.js";
import { count, duration } from "./format.js";
import { listenToKeys, keysTable } from "./keys.js";
import { keepLive, live } from "./live.js";
import { views } from "./views/index.js";

const OVERVIEW_SECONDS = 5;
const find = (id) => document.getElementById(id);
const [main, nav, bar, menu, banner] = ["main", "nav", "bar", "menu", "banner"].map(find);

let overview = null; // What the bridge said last of itself; null before the first time.
let mounted = new AbortController(); // Aborted when another view is shown.

function begin() {
  takeToken();
  window.addEventListener("hashchange", () => takeToken() && location.reload());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // The address stays that of the view.
    main.focus();
  });
  setUpTheme();
  session.addEventListener("unauthorized", () => signIn("This token is not, or no longer, the operator token of this bridge."));
  if (session.token) enter();
  else signIn("");
}

/** Take the token out of an address that has one, and out of the history. */
function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return false;
  session.signIn(decoded(found[1]));
  history.replaceState(null, "", location.pathname);
  return true;
}

/** Undo what an address does to text; text that no address has done is left as it is. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function enter() {
  try {
    overview = await get("overview");
  } catch (error) {
    if (error.status === 401) return; // The form is already there.
    put(main, h("section.card.sign-in", {}, h("h1", {}, "No answer"), h("p", {}, error.message),
      h("div.actions", {}, h("button.primary", { type: "button", onclick: () => location.reload() }, "Try again"))));
    return;
  }
  for (const element of [bar, nav]) element.hidden = false;
  put(nav, h("ul", {}, views
    .filter((view) => !view.developmentOnly || overview.node.development)
    .map((view) => h("li", {}, h("a", { href: `#/${view.path}`, data: { path: view.path } }, h("span", {}, view.title), h("kbd", { "aria-hidden": "true", title: `g then ${view.key}` }, view.key))))));
  const always = new AbortController().signal;
  poll("overview", { seconds: OVERVIEW_SECONDS, signal: always, onValue: (value) => {
    overview = value;
    header();
    document.dispatchEvent(new CustomEvent("overview", { detail: value }));
  } });
  live.addEventListener("state", link);
  setInterval(link, 1000);
  keepLive();
  window.addEventListener("hashchange", () => route({ moved: true }));
  menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
  find("help").addEventListener("click", help);
  listenToKeys({ views, help, closeMenu: () => openMenu(false) });
  header();
  link();
  route({ moved: false });
}

function signIn(message) {
  leave();
  live.stop();
  for (const element of [bar, nav, banner]) element.hidden = true;
  const token = h("input", { type: "password", name: "token", autocomplete: "off", required: true, spellcheck: "false" });
  put(main, h("section.card.sign-in", {},
    h("img", { src: "icon.svg", alt: "", width: 40, height: 40 }),
    h("h1", {}, "Bridge console"),
    message && h("p.notice", { role: "alert" }, message),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      session.signIn(token.value.trim());
      location.reload();
    } },
      field("Operator token", token, ["The setting ", h("code", {}, "admin.token"), " of this bridge. ", h("code", {}, "make run"), " prints an address that has it."]),
      h("div.actions", {}, h("button.primary", { type: "submit" }, "Sign in"))),
    h("p.hint", {}, "It is kept in this tab until you close it, and sent to this bridge only."),
  ));
  document.title = "Sign in · Bridge console";
  token.focus();
}

function route({ moved }) {
  if (!session.token) return; // The form to sign in stays.
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const view = views.find((each) => each.path === (name || "overview"));
  if (!view || (view.developmentOnly && !overview.node.development)) {
    location.replace("#/overview");
    return;
  }
  leave();
  mounted = new AbortController();
  for (const anchor of nav.querySelectorAll("a")) {
    if (anchor.dataset.path === view.path) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  openMenu(false);
  document.title = `${view.title} · Bridge console`;
  const heading = h("h1", { tabindex: "-1" }, view.title);
  const place = h("div.view", { data: { view: view.path } });
  const tools = h("div.row");
  put(main, h("header.view-head", {}, h("div", {}, heading, h("p.hint", {}, view.about)), tools), place);
  view.mount(place, { tools, signal: mounted.signal, overview: () => overview, argument: decoded(rest.join("/")), query: new URLSearchParams(query) });
  if (moved) heading.focus({ preventScroll: true }); // So that a screen reader says where we are.
  window.scrollTo(0, 0);
}

/** End what a view has started, and the questions that it has asked. */
function leave() {
  mounted.abort();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function header() {
  const { name, version, development, ready, degraded, startedAt } = overview.node;
  put(find("node"), h("strong", {}, name), h("span.soft", {}, ` ${version} · up ${duration(roughly((Date.now() - new Date(startedAt)) / 1000))}`), development && h("span.tag", {}, "development"));
  const state = ready ? (degraded ? "warn" : "good") : "bad";
  find("health").dataset.state = state;
  say(find("health"), { good: "Ready", warn: "Degraded", bad: "Not ready" }[state]);
}

/** Whole minutes from the first on: nobody wants to watch them tick. */
function roughly(seconds) {
  return seconds < 60 ? Math.floor(seconds) : Math.floor(seconds / 60) * 60;
}

function link() {
  const pill = find("link");
  const seconds = Math.max(0, Math.ceil((live.retryAt - Date.now()) / 1000));
  const lost = live.state === "lost" && session.token !== "";
  const words = { open: ["good", "Live"], connecting: ["unknown", "Connecting"], lost: ["bad", "Lost"], resting: ["unknown", "Resting"] };
  const [state, text] = words[live.state];
  pill.dataset.state = state;
  say(pill, text);
  document.body.classList.toggle("stale", lost);
  const why = live.refusal || "The connection to the bridge is lost; what you see is old.";
  if (banner.hidden !== !lost) {
    banner.hidden = !lost;
    if (lost) put(banner, h("span.reason"), " ", h("span.soon", { "aria-hidden": "true" }), " ", h("button", { type: "button", onclick: () => live.retry() }, "Try now"));
  }
  if (lost) say(banner.querySelector(".reason"), why);
  if (lost) say(banner.querySelector(".soon"), seconds ? `Trying again in ${count(seconds)} s.` : "Trying …");
}

function openMenu(open) {
  menu.setAttribute("aria-expanded", String(open));
  nav.classList.toggle("is-open", open);
}

function help() {
  if (!document.querySelector("dialog[open]")) shown("Keys", keysTable(views));
}

function setUpTheme() {
  const select = find("theme");
  select.value = document.documentElement.dataset.theme ?? "auto";
  select.addEventListener("change", () => {
    if (select.value === "auto") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      document.documentElement.dataset.theme = select.value;
      localStorage.setItem("theme", select.value);
    }
    document.dispatchEvent(new Event("theme"));
  });
}

begin();
