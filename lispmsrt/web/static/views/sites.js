// The configured sites.
import { get } from "../api.js";
import { h } from "../dom.js";
import { count, siteLink } from "../format.js";
import { href } from "../router.js";
import { PagedTable } from "../table.js";

export const title = "Sites";

function prefixes(site) {
  const up = site.eid_prefixes.filter((each) => each.up !== "no").length;
  return `${count(up)} of ${count(site.eid_prefixes.length)}`;
}

const COLUMNS = [
  { title: "Site", show: (site) => siteLink(site.name), className: "grow" },
  { title: "EID-prefixes up", show: prefixes, className: "number" },
  { title: "Registrations", show: (site) => h("a", { href: href("registrations", { site: site.name }) }, count(site.registrations)), className: "number" },
  { title: "xTRs", show: (site) => count(site.xtrs), className: "number" },
  { title: "Sessions", show: (site) => h("a", { href: href("sessions", { site: site.name }) }, count(site.sessions)), className: "number" },
  { title: "Rejections", show: (site) => (site.rejections ? h("a", { href: href("rejections", { site: site.name }), class: "bad" }, count(site.rejections)) : "0"), className: "number" },
];

export async function show(main, _route, signal) {
  const table = new PagedTable({
    name: "sites", label: "Sites", one: "site", columns: COLUMNS, empty: "No site is configured.",
    load: (cursor, limit) => get("sites", { cursor, limit }, signal),
    keyOf: (site) => site.name, addressOf: (site) => `#/sites/${encodeURIComponent(site.name)}`,
  });
  main.append(h("h1", { tabindex: -1 }, "Sites"), table.element);
  await table.open();
  return { changed: () => table.refresh(), close: () => table.close() };
}
