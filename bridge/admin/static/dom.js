// Elements without HTML: whatever comes from the bridge is put into the page as text, and as nothing else.

/**
 * Make an element.
 * @param {string} name such as "p", or "p.class.class"
 * @param {Record<string, unknown>} [props] attributes; `on…` are listeners, `data` is the dataset; null, undefined and
 *   false leave an attribute out
 * @param {...(Node | string | number | null | undefined | false | Array)} children text or nodes
 */
export function h(name, props = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value" || key === "checked" || key === "disabled" || key === "hidden") element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  put(element, ...children);
  return element;
}

/** Put children into an element in place of those it has. */
export function put(element, ...children) {
  const all = document.createDocumentFragment(); // Not as arguments: a browser takes some ten thousand of those.
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) all.append(child instanceof Node ? child : String(child));
  }
  element.replaceChildren(all);
}

/** Change an element's text, only if it differs: selections and screen readers are left in peace. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let last = 0;

/** A new id, for labels. */
export function newId(beginning = "id") {
  last += 1;
  return `${beginning}-${last}`;
}

/** A labelled control: `label` above it, `hint` below it. */
export function field(label, control, hint = null) {
  control.id ||= newId("field");
  const id = `${control.id}-hint`;
  if (hint) control.setAttribute("aria-describedby", id);
  return h("div.field", {}, h("label", { for: control.id }, label), control, hint && h("p.hint", { id }, hint));
}

/** A place for what went wrong, that is read out. Call it with an error, or with nothing to empty it. */
export function complaint() {
  const element = h("p.notice", { role: "alert", hidden: true });
  return {
    element,
    show(error) {
      element.hidden = !error;
      say(element, error ? String(error.message ?? error) : "");
    },
  };
}
