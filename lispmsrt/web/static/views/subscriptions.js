// Who is told of changes: subscriptions, and RLOC membership.
import { get } from "../api.js";
import { badge, card, fill, h } from "../dom.js";
import { code, count, eidLink, siteLink, xtrId } from "../format.js";
import { PagedTable, plainTable } from "../table.js";

export const title = "Subscriptions";

const list = (texts) => texts.map((each, i) => [i ? ", " : null, code(each)]);

const COLUMNS = [
  { title: "EID-prefix", show: (each) => eidLink(each.eid_prefix, each.instance_id) },
  { title: "Site", show: (each) => siteLink(each.site) },
  { title: "xTR-ID", show: (each) => xtrId(each.xtr_id) },
  { title: "Told at", show: (each) => list(each.rlocs), className: "grow" },
  { title: "Last publication", show: (each) => (each.is_acknowledged ? badge("acknowledged", "ok") : badge("not acknowledged", "note")) },
  { title: "Unanswered", show: (each) => count(each.unanswered), className: "number" },
];

const MOST_MEMBERS = 20;
const FAMILY_COLUMNS = [
  { title: "Instance ID", show: (each) => each.instance_id, className: "number" },
  { title: "Family", show: (each) => each.afi },
  { title: "Members", show: (each) => count(each.members), className: "number" },
  { title: "Subscribers", show: (each) => count(each.subscribers), className: "number" },
  { title: "RLOCs", show: (each) => [list(each.rlocs.slice(0, MOST_MEMBERS)), each.members > MOST_MEMBERS ? " …" : null], className: "grow" },
];

export async function show(main, _route, signal) {
  const membership = h("div");
  const table = new PagedTable({
    name: "subscriptions", label: "Subscriptions", one: "subscription", columns: COLUMNS, empty: "Nobody has subscribed.",
    load: (cursor, limit) => get("subscriptions", { cursor, limit }, signal),
    keyOf: (each) => `${each.instance_id} ${each.eid_prefix} ${each.xtr_id}`,
  });
  const load = async () => {
    const { enabled, families } = await get("membership", {}, signal);
    fill(membership, plainTable("RLOC membership", FAMILY_COLUMNS, families, { empty: enabled ? "No family has members." : "It is switched off." }));
  };
  main.append(h("h1", { tabindex: -1 }, "Subscriptions"), card("Subscriptions", table.element), card("RLOC membership", membership));
  await Promise.all([load(), table.open()]);
  return { changed: () => Promise.all([load(), table.refresh()]), close: () => table.close() };
}
