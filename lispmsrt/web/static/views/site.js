// One site: what it may register, and what is registered.
import { get } from "../api.js";
import { badge, card, fill, h, terms } from "../dom.js";
import { ago, code, count, eidLink } from "../format.js";
import { href } from "../router.js";
import { plainTable } from "../table.js";
import { historyTable } from "./history.js";

const MOST_PREFIXES = 500; // shown at most: a site may have any number

export function titleOf({ rest }) {
  return `Site ${rest}`;
}

export async function show(main, { rest }, signal) {
  const body = h("div", { class: "detail" });
  const history = historyTable("site-history", { site: rest }, signal, { rows: 20, empty: "The history has nothing of it." });
  const load = async () => fill(body, content(await get(`sites/${encodeURIComponent(rest)}`, {}, signal)));
  main.append(h("p", { class: "up" }, h("a", { href: "#/sites" }, "Sites")), h("h1", { tabindex: -1 }, `Site ${rest}`), body);
  await load();
  main.append(card("History", history.element));
  await history.open();
  return { changed: () => Promise.all([load(), history.refresh()]), close: () => history.close() };
}

function content(site) {
  const list = (texts) => (texts.length ? h("ul", { class: "flat" }, texts.map((each) => h("li", null, code(each)))) : null);
  const link = (page, many) => h("a", { href: href(page, { site: site.name }) }, count(many));
  const numbers = card("Now", terms([
    ["Registrations", link("registrations", site.registrations)], ["Sessions", link("sessions", site.sessions)],
    ["xTRs", count(site.xtrs)], ["Rejections", link("rejections", site.rejections)],
  ]));
  const rules = card("Rules", terms([
    ["Keys", list(site.keys) ?? "none"], ["Allowed RLOCs", list(site.allowed_rlocs) ?? "any"], ["Allowed ITRs", list(site.allowed_itrs) ?? "any"],
  ]));
  const rows = site.eid_prefixes.slice(0, MOST_PREFIXES);
  const more = site.eid_prefixes.length - rows.length;
  return [h("div", { class: "columns" }, numbers, rules),
    card("EID-prefixes", plainTable("EID-prefixes", COLUMNS, rows, { empty: "It may register nothing." }), more > 0 ? h("p", { class: "empty" }, `And ${count(more)} more.`) : null)];
}

function up(each) {
  if (each.up === "no") return badge("no", "off");
  return each.up === "yes#" ? badge("yes, by session", "ok") : badge("yes, by UDP", "note");
}

function below(each) {
  const text = each.registrations < 0 ? "many" : count(each.registrations);
  return h("a", { href: href("registrations", { eid: each.eid_prefix, instance_id: each.instance_id }) }, text);
}

const COLUMNS = [
  { title: "EID-prefix", show: (each) => eidLink(each.eid_prefix, each.instance_id), className: "grow" },
  { title: "Up", show: up },
  { title: "Registered for", show: (each) => ago(each.last_registered), className: "number" },
  { title: "Last registered by", show: (each) => code(each.who_last_registered) || "–" },
  { title: "More-specifics", show: (each) => (each.accept_more_specifics ? "accepted" : "no") },
  { title: "Registrations", show: below, className: "number" },
];
