// What was refused: by rule, and then one by one.
import { get } from "../api.js";
import { card, fill, h } from "../dom.js";
import { ago, code, count, eidLink, siteLink, transport, when, xtrId } from "../format.js";
import { ANY_TRANSPORT, EID, filterForm, INSTANCE, SITE, values } from "../form.js";
import { PagedTable, plainTable } from "../table.js";

export const title = "Rejections";

const FIELDS = [EID, INSTANCE, SITE, ANY_TRANSPORT];
const MOST_GROUPS = 100;

const GROUP_COLUMNS = [
  { title: "Times", show: (group) => h("b", null, count(group.count)), className: "number" },
  { title: "Reason", show: (group) => group.reason, className: "reason" },
  { title: "Rule", show: (group) => h("span", { class: "rule" }, group.rule), className: "grow" },
  { title: "Site", show: (group) => siteLink(group.site) || h("span", { class: "faint" }, "no site"), className: "brief" },
  { title: "Last EID-prefix", show: (group) => eidLink(group.last.eid_prefix, group.last.instance_id) },
  { title: "From", show: (group) => code(group.last.source) },
  { title: "Ago", show: (group) => ago(group.last.at), className: "number" },
];

const COLUMNS = [
  { title: "Time", show: (each) => when(each.at), className: "time" },
  { title: "EID-prefix", show: (each) => eidLink(each.eid_prefix, each.instance_id) },
  { title: "Reason", show: (each) => each.reason, className: "reason" },
  { title: "Rule", show: (each) => h("span", { class: "rule" }, each.rule), className: "grow" },
  { title: "Site", show: (each) => siteLink(each.site) },
  { title: "By", show: (each) => transport(each.protocol) },
  { title: "Source", show: (each) => code(each.source) },
  { title: "xTR-ID", show: (each) => xtrId(each.xtr_id), className: "roomy" },
];

function groupsOf(groups, site) {
  const some = groups.filter((group) => !site || group.site === site).sort((a, b) => b.last.at - a.last.at).slice(0, MOST_GROUPS);
  return plainTable("By rule", GROUP_COLUMNS, some, { empty: "Nothing was refused since the start." });
}

export async function show(main, { query }, signal) {
  const groups = h("div");
  const table = new PagedTable({
    name: "rejections", label: "Newest rejections", one: "rejection", columns: COLUMNS, empty: "Nothing that matches was refused.",
    load: (cursor, limit) => get("rejections", { ...values(query, FIELDS), cursor, limit }, signal),
  });
  const load = async () => fill(groups, groupsOf(await get("rejection-groups", {}, signal), query.get("site")));
  main.append(h("h1", { tabindex: -1 }, "Rejections"), card("By rule", groups), card("Newest", filterForm("rejections", FIELDS, query), table.element));
  await Promise.all([load(), table.open()]);
  return { changed: () => Promise.all([load(), table.refresh()]), close: () => table.close() };
}
