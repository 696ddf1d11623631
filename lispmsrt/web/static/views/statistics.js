// Every counter, with what it means.
import { get } from "../api.js";
import { card, fill, h } from "../dom.js";
import { count } from "../format.js";
import { plainTable } from "../table.js";

export const title = "Statistics";

const COLUMNS = [
  { title: "Counter", show: (each) => each.name },
  { title: "Value", show: (each) => count(each.value), className: "number" },
  { title: "Meaning", show: (each) => each.meaning, className: "grow faint" },
];

export async function show(main, _route, signal) {
  const body = h("div", { class: "detail" });
  const load = async () => fill(body, content(await get("statistics", {}, signal)));
  main.append(h("h1", { tabindex: -1 }, "Statistics"), body);
  await load();
  return { beat: load };
}

function content(statistics) {
  const groups = Map.groupBy(statistics, (each) => each.group);
  return [...groups].map(([name, rows]) => card(name.charAt(0).toUpperCase() + name.slice(1), plainTable(name, COLUMNS, rows)));
}
