// Filters above a list, kept in the address so that a link or the browser's history leads back.
import { h } from "./dom.js";
import { go } from "./router.js";

/** Fields: { name, label, kind: "text" | "number" | "choice", choices: [[value, text]], placeholder, wide }. */
export function filterForm(page, fields, query, { button = "Filter", clear: clearing = "Show all" } = {}) {
  const inputs = fields.map((field) => [field, input(field, query.get(field.name) ?? "")]);
  const submit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries(inputs.map(([field, element]) => [field.name, element.value.trim()]));
    go(page, values);
  };
  const isFiltered = fields.some((field) => query.get(field.name));
  const rows = inputs.map(([field, element]) => h("label", { class: field.wide ? "wide" : field.kind }, h("span", null, field.label), element));
  const clear = isFiltered ? h("a", { class: "button plain clear", href: `#/${page}` }, clearing) : null;
  const form = h("form", { class: "filters", role: "search", onsubmit: submit }, rows, h("span", { class: "actions" }, h("button", { type: "submit" }, button), clear));
  for (const [field, element] of inputs) if (field.kind === "choice") element.addEventListener("change", () => form.requestSubmit());
  return form;
}

function input(field, value) {
  if (field.kind === "choice") {
    const choices = [["", "any"], ...field.choices];
    return h("select", { name: field.name }, choices.map(([each, text]) => h("option", { value: each, selected: each === value }, text)));
  }
  const isNumber = field.kind === "number";
  return h("input", {
    name: field.name, value, type: isNumber ? "number" : "search", min: isNumber ? 0 : null, max: isNumber ? 4294967295 : null,
    placeholder: field.placeholder, autocomplete: "off", spellcheck: "false", autocapitalize: "none",
  });
}

const TRANSPORTS = ["TCP", "TLS", "TCP-MD5", "QUIC", "SCTP"];

export const SITE = { name: "site", label: "Site", kind: "text" };
export const INSTANCE = { name: "instance_id", label: "Instance ID", kind: "number" };
export const EID = { name: "eid", label: "EID or EID-prefix", kind: "text", wide: true, placeholder: "10.1.1.0/24" };
export const SESSION_TRANSPORT = { name: "transport", label: "Transport", kind: "choice", choices: TRANSPORTS.map((each) => [each, each]) };
export const ANY_TRANSPORT = { ...SESSION_TRANSPORT, choices: ["UDP", ...TRANSPORTS].map((each) => [each, each]) };

/** The values of the fields in a query, for the API. */
export function values(query, fields) {
  return Object.fromEntries(fields.map((field) => [field.name, query.get(field.name)]));
}
