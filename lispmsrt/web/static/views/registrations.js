// Registrations: a page of them, however many there are.
import { get } from "../api.js";
import { badge, h } from "../dom.js";
import { ago, code, count, duration, eidLink, siteLink, transport } from "../format.js";
import { ANY_TRANSPORT, EID, filterForm, INSTANCE, SITE, values } from "../form.js";
import { href } from "../router.js";
import { PagedTable } from "../table.js";

export const title = "Registrations";

const XTR = { name: "xtr_id", label: "xTR-ID", kind: "text", wide: true, placeholder: "32 hexadecimal digits" };
const FIELDS = [EID, INSTANCE, SITE, ANY_TRANSPORT];
const MOST_RLOCS = 4;

/** The RLOCs of a record, the first few of them. */
export function rlocs(record) {
  if (!record.locators.length) return h("span", { class: "faint" }, `none: ${record.action}`);
  const some = record.locators.slice(0, MOST_RLOCS).map((each, i) => [i ? ", " : null, h("span", { class: `code ${each.state === "up" ? "" : "down"}`, title: `${each.state}, priority ${each.priority}, weight ${each.weight}` }, each.rloc)]);
  const more = record.locators.length - MOST_RLOCS;
  return [some, more > 0 ? ` and ${count(more)} more` : null];
}

/** Until when something holds. */
export function holds(each) {
  if (each.expires_in === null) return badge("by session", "ok");
  return badge(`for ${duration(each.expires_in)}`, "note");
}

const COLUMNS = [
  { title: "EID-prefix", show: (each) => eidLink(each.eid_prefix, each.instance_id) },
  { title: "Site", show: (each) => siteLink(each.site) },
  { title: "By", show: (each) => transport(each.transport) },
  { title: "Last registered by", show: (each) => code(each.last_registered_by) },
  { title: "RLOCs", show: (each) => rlocs(each.record), className: "grow" },
  { title: "xTRs", show: (each) => count(each.parts.length), className: "number" },
  { title: "As it stands for", show: (each) => ago(each.since), className: "number" },
  { title: "Held", show: holds },
];

export async function show(main, { query }, signal) {
  const fields = query.get("xtr_id") ? [...FIELDS, XTR] : FIELDS;
  const filter = values(query, fields);
  const table = new PagedTable({
    name: "registrations", label: "Registrations", one: "registration", columns: COLUMNS, empty: "No registration matches.",
    load: (cursor, limit) => get("registrations", { ...filter, cursor, limit }, signal),
    keyOf: (each) => `${each.instance_id} ${each.eid_prefix}`,
    addressOf: (each) => href("eid", { eid: each.eid_prefix, instance_id: each.instance_id }),
  });
  main.append(h("h1", { tabindex: -1 }, "Registrations"), filterForm("registrations", fields, query), table.element);
  await table.open();
  return { changed: () => table.refresh(), close: () => table.close() };
}
