// An ETR's side: its Map-Servers and the ways to them.
import { get } from "../api.js";
import { badge, card, fill, h, terms } from "../dom.js";
import { ago, code, count, duration, milliseconds, octets, xtrId } from "../format.js";
import { href } from "../router.js";
import { plainTable } from "../table.js";

export const title = "Map-Servers";

export async function show(main, _route, signal) {
  const body = h("div", { class: "detail" });
  const load = async () => fill(body, content(await get("etr", {}, signal)));
  main.append(h("h1", { tabindex: -1 }, "Map-Servers"), body);
  await load();
  return { beat: load };
}

function content(etr) {
  const self = card("This ETR", terms([
    ["xTR-ID", xtrId(etr.xtr_id)], ["Site-ID", code(etr.site_id)], ["Address", code(etr.address)],
    ["Mappings", h("a", { href: "#/mappings" }, count(etr.mappings))], ["Map-Requests", etr.answers_map_requests ? "answered here" : "left to the Map-Servers"],
  ], "terms wide"));
  return [self, etr.map_servers.map(linkCard)];
}

const STATES = { stable: "ok", periodic: "note", "ack-wait": "note", rejected: "problem", roamed: "off", withdrawn: "off" };

function statesOf(link) {
  const some = Object.entries(link.states).filter(([, many]) => many);
  if (!some.length) return "no mappings";
  return some.map(([state, many]) => [h("a", { href: href("mappings", { map_server: link.map_server, state }) }, badge(`${count(many)} ${state}`, STATES[state] ?? "")), " "]);
}

function linkCard(link) {
  const { session } = link;
  return h("section", { class: "card" },
    h("h2", null, "Map-Server ", code(link.map_server), " ", badge(session?.state ?? "no session", session?.state === "established" ? "ok" : "problem")),
    terms([
      ["What is being done", link.phase], ["Next attempt in", link.retry_in === null ? null : duration(link.retry_in)],
      ["Mappings", statesOf(link)], ["Key", link.key],
      ["Last session", link.last_end === null ? null : ["ended ", ago(link.last_end), " ago: ", link.last_end_reason]],
      ["Last Map-Notify", link.last_map_notify === null ? "never" : [ago(link.last_map_notify), " ago"]],
      ["Session", session ? [code(session.peer), " over ", session.transport, ", up for ", ago(session.since)] : null],
      ["Round-trip time", session ? milliseconds(session.rtt) : null],
      ["Messages in/out", session ? `${count(session.messages_in)} / ${count(session.messages_out)}` : null],
      ["Octets in/out", session ? `${octets(session.octets_in)} / ${octets(session.octets_out)}` : null],
    ], "terms wide"),
    plainTable(`Transports to ${link.map_server}`, COLUMNS, link.transports, { empty: "UDP only." }));
}

const COLUMNS = [
  { title: "Transport", show: (each) => each.transport },
  { title: "State", show: (each) => badge(each.state, each.state === "in use" ? "ok" : each.failures ? "problem" : "off") },
  { title: "Failures", show: (each) => count(each.failures), className: "number" },
  { title: "Reason of the last one", show: (each) => each.reason, className: "grow" },
  { title: "Endpoint", show: (each) => h("span", { class: "code break" }, each.endpoint) },
];

export { STATES };
