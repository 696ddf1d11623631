// One EID: what answers it and why, who has registered it, and what became of it so far.
import { get } from "../api.js";
import { badge, card, fill, h, terms } from "../dom.js";
import { ago, code, count, duration, eidLink, eidText, minutes, siteLink, transport, when, xtrId } from "../format.js";
import { EID, filterForm, INSTANCE, values } from "../form.js";
import { href } from "../router.js";
import { plainTable, sentence } from "../table.js";
import { holds } from "./registrations.js";
import { historyTable } from "./history.js";

const ITR = { name: "itr", label: "Asked by the ITR", kind: "text", placeholder: "any" };
const FIELDS = [{ ...EID, placeholder: "10.1.1.5, 2001:db8::/32, name:printer" }, INSTANCE, ITR];

export function titleOf({ query }) {
  return query.get("eid") ? `EID ${eidText(query.get("eid"), Number(query.get("instance_id")))}` : "EID";
}

export async function show(main, route, signal) {
  const filter = values(route.query, FIELDS);
  main.append(h("h1", { tabindex: -1, class: filter.eid ? "code" : null }, filter.eid ? eidText(filter.eid, Number(filter.instance_id)) : "EID"), filterForm("eid", FIELDS, route.query, { button: "Look up", clear: "Another" }));
  if (!filter.eid) {
    main.append(h("p", { class: "empty" }, "An EID or an EID-prefix: what a Map-Request for it would be answered now, and why."));
    return {};
  }
  const page = new EidPage(filter, signal);
  main.append(page.element);
  await page.open();
  return page;
}

class EidPage {
  constructor(filter, signal) {
    this.filter = { ...filter, instance_id: filter.instance_id || "0" };
    this.signal = signal;
    this.body = h("div", { class: "detail" });
    const { eid, instance_id } = this.filter;
    this.history = historyTable("eid-history", { eid, instance_id }, signal, { rows: 20, empty: "The history has nothing of it." });
    this.element = h("div", null, this.body);
  }

  async open() {
    await this.load();
    this.element.append(card("History", this.history.element));
    await this.history.open();
  }

  async load() {
    const { eid, instance_id } = this.filter;
    const [view, explanation] = await Promise.all([get("eid", this.filter, this.signal), get("explain", { eid, instance_id }, this.signal)]);
    fill(this.body, verdict(explanation), h("div", { class: "columns" }, answerCard(view), placeCard(view)), registrationCards(view.registration));
  }

  async changed() {
    await Promise.all([this.load(), this.history.refresh()]);
  }

  close() {
    this.history.close();
  }
}

const VERDICTS = { ok: "ok", problem: "problem", note: "note" };

function verdict(explanation) {
  const kind = explanation.resolves ? "ok" : "problem";
  const remedies = explanation.remedies.length
    ? h("div", { class: "remedies" }, h("h3", null, "What to do"), h("ul", null, explanation.remedies.map((each) => h("li", null, sentence(each)))))
    : null;
  const steps = h("ol", { class: "steps" }, explanation.steps.map((step) => h("li", { class: VERDICTS[step.verdict] ?? "note" },
    h("span", { class: "check" }, step.check), h("span", { class: "unseen" }, `: ${step.verdict}. `), h("span", { class: "result" }, sentence(step.result)))));
  return h("section", { class: `card verdict ${kind}`, "aria-labelledby": "verdict" },
    h("h2", { id: "verdict" }, badge(explanation.resolves ? "resolves" : "does not resolve", kind), " ", explanation.summary), steps, remedies);
}

const KINDS = { mapping: "ok", negative: "note", denied: "problem", forwarded: "ok", none: "problem" };
const WORDS = { mapping: "Map-Reply with the mapping", negative: "negative Map-Reply", denied: "Map-Reply that denies it", forwarded: "forwarded to an ETR", none: "no answer" };

function answerCard(view) {
  const { answer } = view;
  const to = answer.forwarded_to.length ? terms([["Forwarded to one of", answer.forwarded_to.map((each, i) => [i ? ", " : null, code(each)])]]) : null;
  return card("A Map-Request now", h("p", null, badge(WORDS[answer.kind] ?? answer.kind, KINDS[answer.kind] ?? ""), " ", sentence(answer.reason)), to, answer.records.map(recordBlock));
}

function placeCard(view) {
  const links = (prefixes) => (prefixes.length ? h("ul", { class: "flat" }, prefixes.map((each) => h("li", null, eidLink(each, view.instance_id)))) : null);
  const others = view.other_instances.map((each, i) => [i ? ", " : null, h("a", { href: href("eid", { eid: view.eid, instance_id: each }) }, each)]);
  return card("Where it belongs", terms([
    ["Found", badge(view.found, view.found === "mapped" ? "ok" : "note")],
    ["The answer is about", code(view.covered)],
    ["Site", siteLink(view.site) || "none"],
    ["Configured EID-prefix", view.configured_prefix ? code(view.configured_prefix) : "none"],
    ["More-specifics", view.site ? (view.accept_more_specifics ? "accepted" : "not accepted") : null],
    ["Covered by", links(view.covering)],
    ["More-specifics registered", links(view.more_specifics)],
    ["In other instances, too", others.length ? others : null],
  ]));
}

const LOCATOR_COLUMNS = [
  { title: "RLOC", show: (each) => code(each.rloc), className: "grow" },
  { title: "State", show: (each) => badge(each.state, each.state === "up" ? "ok" : "problem") },
  { title: "Priority/weight", show: (each) => `${each.priority}/${each.weight}`, className: "number" },
  { title: "Multicast", show: (each) => `${each.multicast_priority}/${each.multicast_weight}`, className: "number" },
  { title: "Marks", show: (each) => [each.local ? "local" : "", each.probe ? "probed" : ""].filter(Boolean).join(", ") || "–" },
];

function recordBlock(record) {
  const facts = [`TTL ${minutes(record.ttl)}`, record.authoritative ? "authoritative" : null, record.map_version ? `map-version ${record.map_version}` : null, record.locators.length ? null : record.action];
  return h("div", { class: "record" },
    h("p", null, code(eidText(record.eid_prefix, record.instance_id)), h("span", { class: "faint" }, ` ${facts.filter(Boolean).join(", ")}`)),
    record.locators.length ? plainTable(`Locators of ${record.eid_prefix}`, LOCATOR_COLUMNS, record.locators) : null);
}

function registrationCards(registration) {
  if (!registration) return null;
  const merged = registration.merged ? [h("h3", null, "Merged"), recordBlock(registration.record)] : null;
  return h("section", { class: "card" },
    h("h2", null, "Registered ", h("span", { class: "code" }, eidText(registration.eid_prefix, registration.instance_id))),
    terms([
      ["As it stands since", [when(registration.since), " (", ago(registration.since), ")"]],
      ["Last registered by", code(registration.last_registered_by)],
      ["Held", holds(registration)],
      ["Configured EID-prefix", code(registration.configured_prefix)],
      ["Proxy-reply", registration.proxy_reply ? "the Map-Server answers" : "the ETR answers"],
      ["xTRs", count(registration.parts.length)],
    ], "terms wide"),
    merged, registration.parts.map(partBlock));
}

function partBlock(part) {
  const session = part.session === null ? null : h("a", { href: `#/sessions/${part.session}` }, `session ${part.session}`);
  return h("div", { class: "part" },
    h("h3", null, "By ", code(part.source), " ", transport(part.transport), " ", badge(part.state, part.session === null ? "note" : "ok")),
    terms([
      ["Since", when(part.since)], ["Site", siteLink(part.site)], ["xTR-ID", xtrId(part.xtr_id)], ["Site-ID", code(part.site_id)], ["Session", session], ["Key", part.key],
      ["Ends in", part.expires_in === null ? null : duration(part.expires_in)], ["Flags", part.flags.join(", ")],
    ], "terms wide"),
    recordBlock(part.record));
}
