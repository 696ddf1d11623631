// What has become of mappings, newest first.
import { get } from "../api.js";
import { badge, h } from "../dom.js";
import { code, eidLink, siteLink, transport, when } from "../format.js";
import { ANY_TRANSPORT, EID, filterForm, INSTANCE, SITE, values } from "../form.js";
import { PagedTable } from "../table.js";

export const title = "History";

const EVENTS = ["registered", "changed", "withdrawn", "expired", "deconfigured", "rejected"];
const KINDS = { registered: "ok", rejected: "problem", expired: "note", withdrawn: "off", deconfigured: "off" };
const EVENT = { name: "event", label: "Event", kind: "choice", choices: EVENTS.map((each) => [each, each]) };
const FIELDS = [EID, INSTANCE, SITE, ANY_TRANSPORT, EVENT];

function eventBadge(event) {
  return badge(event, KINDS[event] ?? "");
}

/** Where a line leads: the RLOCs of the mapping, or what others have left of it, or the rule that refused it. */
function what(line) {
  const left = line.remaining.length ? ["RLOCs left: ", codes(line.remaining)] : null;
  if (line.rule) return [h("span", { class: "rule" }, line.rule), left ? ", " : null, left];
  return left ? [`${line.event} for this xTR, `, left] : codes(line.rlocs);
}

function codes(texts) {
  return texts.map((text, i) => [i ? ", " : null, code(text)]);
}

const HISTORY_COLUMNS = [
  { title: "Time", show: (line) => when(line.at), className: "time" },
  { title: "Event", show: (line) => eventBadge(line.event) },
  { title: "EID-prefix", show: (line) => eidLink(line.eid_prefix, line.instance_id) },
  { title: "By", show: (line) => transport(line.protocol) },
  { title: "Source", show: (line) => code(line.source) },
  { title: "Site", show: (line) => siteLink(line.site) },
  { title: "RLOCs, or why not", show: what, className: "grow" },
];

/** What a line is known by: rejections have numbers of their own. */
export function lineKey(line) {
  return `${line.event === "rejected" ? "r" : ""}${line.number}`;
}

/** The history of some mappings as a table that keeps itself up to date. */
export function historyTable(name, filter, signal, options = {}) {
  return new PagedTable({
    name, label: "History", one: "line", columns: HISTORY_COLUMNS, keyOf: lineKey, empty: "Nothing has happened yet.",
    load: (cursor, limit) => get("history", { ...filter, cursor, limit }, signal),
    ...options,
  });
}

export async function show(main, { query }, signal) {
  const table = historyTable("history", values(query, FIELDS), signal, { empty: "Nothing that matches has happened yet." });
  main.append(h("h1", { tabindex: -1 }, "History"), filterForm("history", FIELDS, query), table.element);
  await table.open();
  return { changed: () => table.refresh(), close: () => table.close() };
}

