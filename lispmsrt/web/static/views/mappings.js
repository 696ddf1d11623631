// An ETR's side: what it means to register, and how that stands at each Map-Server.
import { get } from "../api.js";
import { badge, h } from "../dom.js";
import { code, eidText, minutes } from "../format.js";
import { EID, filterForm, INSTANCE, values } from "../form.js";
import { PagedTable } from "../table.js";
import { STATES } from "./map_servers.js";
import { rlocs } from "./registrations.js";

export const title = "Mappings";

const STATE = { name: "state", label: "State", kind: "choice", choices: Object.keys(STATES).map((each) => [each, each]) };
const FIELDS = [EID, INSTANCE, { name: "map_server", label: "Map-Server", kind: "text" }, STATE];

const COLUMNS = [
  { title: "EID-prefix", show: (each) => code(eidText(each.eid_prefix, each.instance_id)) },
  { title: "Map-Server", show: (each) => code(each.map_server) },
  { title: "State", show: (each) => [badge(each.state, STATES[each.state] ?? ""), each.over_udp ? [" ", badge("UDP", "note")] : null] },
  { title: "RLOCs", show: (each) => rlocs(each.record) },
  { title: "TTL", show: (each) => minutes(each.record.ttl), className: "number" },
  { title: "Why it was rejected", show: (each) => each.reason, className: "grow" },
];

export async function show(main, { query }, signal) {
  const table = new PagedTable({
    name: "mappings", label: "Mappings", one: "mapping", columns: COLUMNS, empty: "No mapping matches.",
    load: (cursor, limit) => get("etr/mappings", { ...values(query, FIELDS), cursor, limit }, signal),
    keyOf: (each) => `${each.map_server} ${each.instance_id} ${each.eid_prefix}`,
  });
  main.append(h("h1", { tabindex: -1 }, "Mappings"), filterForm("mappings", FIELDS, query), table.element);
  await table.open();
  return { beat: () => table.refresh(), close: () => table.close() };
}
