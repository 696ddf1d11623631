// Sessions: who is connected, by which transport, and how it goes.
import { get, mayAct } from "../api.js";
import { badge, h } from "../dom.js";
import { ago, code, count, milliseconds, octets, short, siteLink, transport } from "../format.js";
import { filterForm, SESSION_TRANSPORT, SITE, values } from "../form.js";
import { clearSession } from "../clear.js";
import { PagedTable } from "../table.js";

export const title = "Sessions";

const PEER = { name: "peer", label: "Peer", kind: "text", wide: true, placeholder: "192.0.2.7, or with its port" };
const STATE = { name: "established", label: "State", kind: "choice", choices: [["true", "established"], ["false", "not established"]] };
const TROUBLE = { name: "troubled", label: "Trouble", kind: "choice", choices: [["true", "errors, or does not read"], ["false", "none"]] };
const FIELDS = [PEER, SITE, SESSION_TRANSPORT, STATE, TROUBLE];
const KINDS = { established: "ok", starting: "note", closed: "off", ended: "problem" };

/** The state of a session, and whether its peer reads. */
export function stateOf(session) {
  const paused = session.is_paused ? [" ", badge("does not read", "note")] : null;
  return [badge(session.state, KINDS[session.state] ?? ""), paused];
}

export function errorsOf(session) {
  const errors = Object.values(session.errors).reduce((sum, each) => sum + each, 0);
  return errors ? h("span", { class: "bad" }, count(errors)) : "0";
}

const COLUMNS = [
  { title: "Peer", show: (each) => h("a", { href: `#/sessions/${each.id}`, class: "code" }, each.peer) },
  { title: "Transport", show: (each) => transport(each.transport) },
  { title: "State", show: stateOf },
  { title: "Site", show: (each) => siteLink(each.site) },
  { title: "Up for", show: (each) => ago(each.since), className: "number" },
  { title: "RTT", show: (each) => milliseconds(each.rtt) || "–", className: "number" },
  { title: "Messages in / out", show: (each) => `${short(each.messages_in)} / ${short(each.messages_out)}`, className: "number" },
  { title: "Octets in / out", show: (each) => `${octets(each.octets_in)} / ${octets(each.octets_out)}`, className: "number roomy" },
  { title: "Registrations", show: (each) => count(each.registrations), className: "number" },
  { title: "Errors", show: errorsOf, className: "number" },
];

function columns(changed) {
  if (!mayAct()) return COLUMNS;
  const button = (each) => (each.state === "ended" ? null : h("button", { type: "button", class: "small", "aria-label": `Clear the session with ${each.peer}`, onclick: () => clearSession(each, changed) }, "Clear"));
  return [...COLUMNS, { title: "", show: button, className: "action" }];
}

/** The sessions that match, as a table. One that ends is marked, and goes a little later. */
export function sessionTable(filter, signal) {
  const table = new PagedTable({
    name: "sessions", label: "Sessions", one: "session", columns: columns(() => table.refresh()), empty: "No session matches.",
    load: (cursor, limit) => get("sessions", { ...filter, cursor, limit }, signal),
    keyOf: (each) => each.id, addressOf: (each) => `#/sessions/${each.id}`,
    ended: (each) => ({ ...each, state: "ended", is_paused: false }),
  });
  return table;
}

export async function show(main, { query }, signal) {
  const table = sessionTable(values(query, FIELDS), signal);
  main.append(h("h1", { tabindex: -1 }, "Sessions"), filterForm("sessions", FIELDS, query), table.element);
  await table.open();
  return { beat: () => table.refresh(), close: () => table.close() };
}
