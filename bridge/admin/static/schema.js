// JSON Schemas of payloads: what fields there are, and a form for them.

import { field, h, put } from "./dom.js";
import { pretty } from "./format.js";

const LONG_TEXT_CHARACTERS = 60;

/** Follow references and leave null out of alternatives. */
function resolved(schema, root) {
  if (schema.$ref) {
    const target = schema.$ref.replace(/^#\//, "").split("/").reduce((part, name) => part?.[name], root);
    return resolved({ ...target, ...schema, $ref: undefined }, root);
  }
  if (schema.allOf?.length === 1) return resolved({ ...schema.allOf[0], ...schema, allOf: undefined }, root);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (!alternatives) return schema;
  const real = alternatives.filter(({ type }) => type !== "null");
  const rest = { ...schema, anyOf: undefined, oneOf: undefined };
  if (real.length === 1) return resolved({ ...real[0], ...rest }, root);
  return { ...rest, alternatives: real.map((each) => resolved(each, root)) };
}

/** The properties of an object's schema, required ones first. */
export function fieldsOf(schema, root = schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {})
    .map(([name, property]) => ({ name, required: required.has(name), schema: resolved(property, root) }))
    .sort((a, b) => Number(b.required) - Number(a.required));
}

/** A type in words. */
export function typeOf(schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.alternatives) return [...new Set(schema.alternatives.map(typeOf))].join(" or ");
  if (schema.format === "date-time") return "time";
  if (schema.type === "array") return schema.items ? `list of ${typeOf(schema.items)}` : "list";
  return [schema.type ?? "anything"].flat().join(" or ");
}

const types = (schema) => new Set((schema.alternatives ?? [schema]).flatMap(({ type }) => type ?? []));

/** Read what was typed into a text field: a number where the schema has numbers and text is no better. */
function scalar(text, schema, example) {
  const kinds = types(schema);
  const numeric = kinds.has("number") || kinds.has("integer");
  const wantsText = kinds.has("string") && typeof example !== "number";
  if (!numeric || wantsText) return text;
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return text; // The bridge says what is wrong with it.
  return Number(text);
}

/**
 * A form for an object.
 * @returns {{element: HTMLElement, read: () => object, mark: (name: string, message: string) => boolean}} `read` throws
 *   an Error with `field` when a part is no JSON; `mark` says what is wrong with a field and returns false if there is none
 */
export function formOf(schema, example, root = schema) {
  const parts = fieldsOf(schema, root).map((property) => ({ ...property, ...control(property, example?.[property.name], root) }));
  const element = h("div.grid", {}, parts.map(({ shown }) => shown));
  return {
    element,
    read() {
      const value = {};
      for (const part of parts) {
        const read = part.read();
        if (read !== undefined) value[part.name] = read;
      }
      return value;
    },
    mark(name, message) {
      for (const part of parts) part.complain?.("");
      const [first, ...rest] = name.split(".");
      const part = parts.find((each) => each.name === first);
      if (!part) return false;
      if (part.inner && rest.length) return part.inner.mark(rest.join("."), message);
      part.complain?.(message);
      return true;
    },
  };
}

function control({ name, schema, required }, example, root) {
  if (schema.type === "object" && schema.properties) {
    const inner = formOf(schema, example, root);
    const shown = h("fieldset", {}, h("legend", {}, name), inner.element);
    return { shown, inner, read: () => {
      const value = inner.read();
      return required || Object.keys(value).length ? value : undefined;
    } };
  }
  const kinds = types(schema);
  if (kinds.has("object") || kinds.has("array") || kinds.size === 0 && !schema.enum) return jsonControl(name, schema, required, example);
  const options = schema.enum ?? (kinds.has("boolean") && kinds.size === 1 ? [true, false] : null);
  if (options) {
    const select = h("select", { name }, !required && h("option", { value: "" }, "left out"), options.map((value) => h("option", { value: JSON.stringify(value) }, String(value))));
    if (example !== undefined) select.value = JSON.stringify(example);
    return withField(name, schema, required, select, () => (select.value ? JSON.parse(select.value) : undefined));
  }
  const long = typeof example === "string" && example.length > LONG_TEXT_CHARACTERS;
  const input = h(long ? "textarea" : "input", { name, value: example === undefined || example === null ? "" : String(example), autocomplete: "off", spellcheck: "false", inputmode: kinds.has("number") || kinds.has("integer") ? "decimal" : null });
  const read = () => (input.value === "" && !required ? undefined : scalar(input.value, schema, example));
  if (schema.format !== "date-time") return withField(name, schema, required, input, read);
  const now = h("button", { type: "button", "aria-label": `Set ${name} to now`, onclick: () => {
    input.value = new Date().toISOString();
  } }, "Now");
  return withField(name, schema, required, input, read, now);
}

function jsonControl(name, schema, required, example) {
  const area = h("textarea.code", { name, rows: 3, spellcheck: "false", value: example === undefined ? "" : pretty(example) });
  return withField(name, schema, required, area, () => {
    if (!area.value.trim() && !required) return undefined;
    try {
      return JSON.parse(area.value);
    } catch (error) {
      throw Object.assign(new Error(`${name} is not JSON: ${error.message}`), { field: name });
    }
  });
}

function withField(name, schema, required, input, read, beside = null) {
  const shown = field(h("span", {}, h("code", {}, name), required ? "" : h("span.soft", {}, " optional")), input, [typeOf(schema), schema.description].filter(Boolean).join(" · "));
  if (beside) {
    const row = h("div.row");
    input.replaceWith(row);
    row.append(input, beside);
  }
  const wrong = h("p.wrong", { hidden: true });
  shown.append(wrong);
  return { shown, read, complain(message) {
    wrong.hidden = !message;
    put(wrong, message);
    if (message) {
      input.setAttribute("aria-invalid", "true");
      input.focus();
    } else {
      input.removeAttribute("aria-invalid");
    }
  } };
}
