// Dialogs and short messages. Esc closes a dialog, and focus goes back to where it was: <dialog> does both.

import { h } from "./dom.js";

const TOAST_MILLISECONDS = 8_000;
const TOASTS_MAX = 4;

/** Show a short message that is read out and goes by itself. */
export function toast(text, state = "plain") {
  const toasts = document.getElementById("toasts");
  const element = h("p.toast", { data: { state } }, text);
  while (toasts.childElementCount >= TOASTS_MAX) toasts.firstChild.remove();
  toasts.append(element);
  setTimeout(() => element.remove(), TOAST_MILLISECONDS);
}

/**
 * Ask before something is done that cannot be undone.
 * @param {{title: string, text: string, act: string, danger?: boolean, fields?: Node[]}} options
 * @returns {Promise<boolean>} whether the operator said yes
 */
export function confirmed({ title, text, act, danger = false, fields = [] }) {
  return new Promise((resolve) => {
    const cancel = h("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel");
    const form = h("form", { method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      dialog.close("yes");
    } },
      h("h2", { id: "dialog-title" }, title), h("p", {}, text), fields,
      h("div.actions", {}, cancel, h("button", { type: "submit", class: danger ? "danger" : "primary" }, act)),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    (fields.length ? form.querySelector("input, textarea") : cancel)?.focus();
  });
}

/** Show something until Esc or the button. */
export function shown(title, ...content) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title), content,
    h("div.actions", {}, h("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
