// One session with all its counters.
import { ApiError, get, mayAct } from "../api.js";
import { badge, card, fill, h, terms } from "../dom.js";
import { ago, code, count, counted, milliseconds, octets, siteLink, transport, xtrId } from "../format.js";
import { clearSession } from "../clear.js";
import { href } from "../router.js";
import { plainTable } from "../table.js";
import { stateOf } from "./sessions.js";

export function titleOf({ rest }) {
  return `Session ${rest}`;
}

export async function show(main, { rest }, signal) {
  const page = new SessionPage(rest, signal);
  main.append(page.element);
  await page.open();
  return page;
}

class SessionPage {
  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.session = null;
    this.hasEnded = false;
    this.heading = h("h1", { tabindex: -1 }, "Session");
    this.body = h("div", { class: "detail" });
    const clear = mayAct() ? h("button", { type: "button", class: "plain", onclick: () => clearSession(this.session, () => this.beat()) }, "Clear") : null;
    this.clear = clear;
    this.element = h("div", null, h("p", { class: "up" }, h("a", { href: "#/sessions" }, "Sessions")), h("header", { class: "with-link" }, this.heading, clear), this.body);
  }

  async open() {
    this.session = await get(`sessions/${encodeURIComponent(this.id)}`, {}, this.signal);
    this.draw();
  }

  async beat() {
    if (this.hasEnded) return;
    try {
      await this.open();
    } catch (failure) {
      if (!(failure instanceof ApiError && failure.status === 404)) throw failure;
      this.hasEnded = true;
      this.session = { ...this.session, state: "ended", is_paused: false };
      this.clear?.remove();
      this.draw();
    }
  }

  draw() {
    const each = this.session;
    fill(this.heading, `Session with ${each.peer}`);
    fill(this.body, this.ended(), h("div", { class: "columns" }, peerCard(each), trafficCard(each)), usesCard(each), countersCard(each));
  }

  ended() {
    if (!this.hasEnded) return null;
    const to = this.session.site ? href("history", { site: this.session.site }) : href("history");
    return h("p", { class: "notice problem", role: "status" }, "This session has ended; below is what was last known of it. The ", h("a", { href: to }, "history"), " tells what becomes of its registrations.");
  }
}

function peerCard(each) {
  return card("Peer", terms([
    ["State", stateOf(each)], ["Transport", transport(each.transport)], ["Role", each.role], ["Peer", code(each.peer)], ["Local", code(each.local)],
    ["Up for", ago(each.since)], ["Site", siteLink(each.site)], ["xTR-ID", xtrId(each.xtr_id)], ["Site-ID", code(each.site_id)], ["Key", each.key],
    ["Registrations", each.xtr_id ? h("a", { href: href("registrations", { xtr_id: each.xtr_id }) }, count(each.registrations)) : count(each.registrations)],
  ]));
}

function trafficCard(each) {
  const errors = Object.entries(each.errors).filter(([, many]) => many);
  return card("Traffic", terms([
    ["Round-trip time", milliseconds(each.rtt) || "not measured yet"],
    ["Messages in", count(each.messages_in)], ["Messages out", count(each.messages_out)],
    ["Octets in", octets(each.octets_in)], ["Octets out", octets(each.octets_out)],
    ["Waiting to be sent", octets(each.queued_octets)],
    ["Notifications due", count(each.pending_notifications)],
    ["Errors", errors.length ? h("ul", { class: "flat" }, errors.map(([kind, many]) => h("li", null, badge(counted(many, "time"), "problem"), ` ${kind}`))) : "none"],
  ]));
}

const USE_COLUMNS = [
  { title: "Used for", show: (use) => use.kind, className: "brief" },
  { title: "Instance ID", show: (use) => use.instance_id, className: "number" },
  { title: "Family", show: (use) => use.afi },
  { title: "Count", show: (use) => count(use.count), className: "number" },
  { title: "", show: () => null, className: "grow" },
];

function usesCard(each) {
  return card("Used for", plainTable("Used for", USE_COLUMNS, each.uses, { empty: "Nothing is registered over it." }));
}

function countersCard(each) {
  const rows = Object.entries(each.counters).sort(([a], [b]) => (a < b ? -1 : 1));
  return card("Counters", rows.length ? terms(rows.map(([name, value]) => [name, count(value)]), "terms wide counters") : h("p", { class: "empty" }, "Nothing was counted yet."));
}
