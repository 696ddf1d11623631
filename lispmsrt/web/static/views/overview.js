// Everything at one look: totals, the last ten minutes, listeners, what has just happened.
import { Chart } from "../charts.js";
import { badge, card, fill, h } from "../dom.js";
import { ago, code, count, counted, rate, short, transport, transportColour } from "../format.js";
import { href } from "../router.js";
import { live } from "../live.js";
import { plainTable } from "../table.js";
import { get } from "../api.js";
import { historyTable, lineKey } from "./history.js";

const LINES = 12;

export const title = "Overview";

export async function show(main, _route, signal) {
  const page = new Overview();
  main.append(page.element);
  await page.open(signal);
  return page;
}

class Overview {
  constructor() {
    this.tiles = h("div", { class: "tiles" });
    this.charts = live.has("map-server") ? makeCharts() : [];
    this.state = h("p", { class: "lead" });
    this.listeners = h("div");
    this.lines = historyTable("newest", {}, null, { label: "Newest history", hasPager: false, load: () => this.newest() });
    this.element = h("div", { class: "overview" }, h("h1", { tabindex: -1 }, "Overview"), this.state, this.tiles,
      h("div", { class: "charts" }, this.charts.map((chart) => chart.element)), this.lower());
    this.earlier = []; // lines from before the stream began
    this.draw();
  }

  lower() {
    if (!live.has("map-server")) return null;
    const newest = card(null, h("header", { class: "with-link" }, h("h2", null, "Newest history"), h("a", { href: "#/history" }, "All")), this.lines.element);
    return h("div", { class: "lower" }, newest, card("Listening", this.listeners));
  }

  async open(signal) {
    if (!live.has("map-server")) return;
    this.signal = signal;
    await this.readHistory();
    await this.lines.open();
  }

  async readHistory() {
    this.earlier = (await get("history", { limit: LINES }, this.signal)).items;
  }

  async heard(history, lost) {
    this.draw();
    if (lost) await this.readHistory();
    if (history.length || lost) await this.lines.refresh();
  }

  recolour() {
    for (const chart of this.charts) chart.redraw();
  }

  close() {
    this.lines.close();
    for (const chart of this.charts) chart.close();
  }

  draw() {
    const { overview, series } = live;
    fill(this.state, `Version ${overview.version}, ${roles(overview.roles)}, up for `, ago(overview.started));
    fill(this.tiles, tiles(overview, series));
    this.charts[1]?.setLines(sessionLines(overview));
    for (const chart of this.charts) chart.update(series);
    fill(this.listeners, listeners(overview.listeners));
  }

  /** The newest lines, from before the stream began and of the stream. */
  async newest() {
    const newest = new Map([...this.earlier, ...live.lines].map((line) => [lineKey(line), line]));
    const lines = [...newest.values()].sort((a, b) => b.at - a.at || b.number - a.number).slice(0, LINES);
    return { items: lines, total: null, next_cursor: null };
  }
}

function roles(names) {
  return names.map((name) => ({ "map-server": "Map-Server", "map-resolver": "Map-Resolver", etr: "ETR" })[name] ?? name).join(", ");
}

function tile(label, value, detail, target) {
  const inside = [h("span", { class: "label" }, label), h("span", { class: "value" }, value), h("span", { class: "detail" }, detail)];
  return target ? h("a", { class: "tile", href: target }, inside) : h("div", { class: "tile" }, inside);
}

function tiles(overview, series) {
  const messages = (series.messagesIn().at(-1) ?? 0) + (series.messagesOut().at(-1) ?? 0);
  const found = [];
  if (overview.roles.includes("map-server")) {
    const waiting = overview.sessions - overview.established_sessions;
    found.push(
      tile("Registrations", short(overview.registrations), `${short(overview.reliable_registrations)} by sessions`, href("registrations")),
      tile("EID-prefixes", short(overview.eid_prefixes), counted(overview.sites, "site"), href("sites")),
      tile("Sessions", short(overview.sessions), waiting ? `${count(waiting)} not established` : "all established", href("sessions")),
      tile("Rejections", short(overview.rejections), `${rate(series.rejections().at(-1) ?? 0)} a second`, href("rejections")),
    );
  }
  found.push(
    tile("Messages a second", rate(messages), `${short(overview.messages_in)} in, ${short(overview.messages_out)} out`, href("statistics")),
    tile("Map-Requests", short(overview.map_requests), `${short(overview.map_replies)} replies`, href("statistics")),
  );
  if (overview.subscriptions) found.push(tile("Subscriptions", short(overview.subscriptions), "to publications", href("subscriptions")));
  return found;
}

function sessionLines(overview) {
  return overview.transports.filter((each) => each.transport !== "UDP").map(({ transport: name }) => (
    { label: name, colour: transportColour(name), of: (series) => series.sessions(name), show: short }
  ));
}

function makeCharts() {
  return [
    new Chart("Registrations", [{ label: "", colour: "--accent", of: (series) => series.registrations(), show: count }], { fromZero: false, area: true }),
    new Chart("Sessions by transport", sessionLines(live.overview)),
    new Chart("Messages a second", [
      { label: "in", colour: "--line-in", of: (series) => series.messagesIn(), show: rate },
      { label: "out", colour: "--line-out", of: (series) => series.messagesOut(), show: rate, dash: [5, 3] },
    ], { whole: false }),
    new Chart("Rejections a second", [{ label: "", colour: "--bad", of: (series) => series.rejections(), show: rate }], { area: true, whole: false }),
  ];
}

const LISTENER_COLUMNS = [
  { title: "Transport", show: (each) => transport(each.transport) },
  { title: "Address", show: (each) => (each.address ? code(each.address) : code(each.endpoint)), className: "grow" },
  { title: "State", show: (each) => [badge(each.address ? "listening" : "closed", each.reason ? "problem" : "ok"), " ", each.reason] },
  { title: "Sessions", show: (each) => count(each.sessions), className: "number" },
];

function listeners(rows) {
  return plainTable("Listening", LISTENER_COLUMNS, rows, { empty: "Nowhere." });
}
