// Numbers, times and names as texts. Times of the server are seconds since 1970.
import { h } from "./dom.js";
import { href } from "./router.js";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const RATE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "2-digit" });

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

let skew = 0; // seconds that the server's clock is ahead of ours

/** Learn the server's time. */
export function setNow(now) {
  skew = now - Date.now() / 1000;
}

/** Return the server's time. */
export function serverNow() {
  return Date.now() / 1000 + skew;
}

export function count(value) {
  return value === null || value === undefined ? "" : WHOLE.format(value);
}

export function short(value) {
  return value < 100000 ? WHOLE.format(value) : SHORT.format(value);
}

export function rate(value) {
  return value >= 100 ? WHOLE.format(Math.round(value)) : RATE.format(value);
}

/** "1 session", "2 sessions". */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function octets(value) {
  if (value < 10000) return `${WHOLE.format(value)} B`;
  return `${SHORT.format(value)}B`.replace("K", "k");
}

/** Seconds as at most two units: "3 min 20 s". */
export function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [size, unit] of UNITS) {
    const many = Math.floor(rest / size);
    rest -= many * size;
    if (many || (unit === "s" && !parts.length)) parts.push(`${many} ${unit}`);
    else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

export function milliseconds(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const value = seconds * 1000;
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** Minutes of a TTL: "1 d", "3 min". */
export function minutes(value) {
  return duration(value * 60);
}

/** The time of day, with the day before it where that is not today. */
export function clock(at) {
  const date = new Date(at * 1000);
  const today = new Date(serverNow() * 1000).toDateString() === date.toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

/** An element with the time of day. */
export function when(at) {
  if (at === null || at === undefined) return "never";
  const iso = new Date(at * 1000).toISOString();
  return h("time", { datetime: iso, title: iso }, clock(at));
}

/** An element with how long ago something was, kept up to date by tick(). */
export function ago(at) {
  if (at === null || at === undefined) return "never";
  const iso = new Date(at * 1000).toISOString();
  return h("time", { datetime: iso, title: iso, "data-since": at }, duration(serverNow() - at));
}

/** Bring all ages on the page up to date. */
export function tick() {
  const now = serverNow();
  for (const element of document.querySelectorAll("time[data-since]")) {
    const text = duration(now - Number(element.dataset.since));
    if (element.textContent !== text) element.textContent = text;
  }
}

/** An EID-prefix as it is written everywhere: "[7] 10.1.1.0/24". */
export function eidText(prefix, instanceId) {
  return instanceId ? `[${instanceId}] ${prefix}` : prefix;
}

/** Read what eidText has written; the instance ID may stand without brackets, too. */
export function parseEid(text) {
  const match = /^\s*\[?(\d+)\]?\s+(\S.*)$/.exec(text);
  return match ? { instance_id: match[1], eid: match[2].trim() } : { instance_id: "0", eid: text.trim() };
}

/** A link to the page of an EID. */
export function eidLink(prefix, instanceId) {
  if (!prefix) return h("span", { class: "faint" }, "unreadable");
  const target = href("eid", { eid: prefix, instance_id: instanceId });
  return h("a", { href: target, class: "code" }, eidText(prefix, instanceId));
}

/** A link to the page of a site. */
export function siteLink(name) {
  return name ? h("a", { href: href(`sites/${encodeURIComponent(name)}`), class: "name", title: name }, name) : "";
}

/** A text of addresses or numbers. */
export function code(text) {
  return text === "" || text === null || text === undefined ? "" : h("span", { class: "code" }, text);
}

/** 32 hexadecimal digits in four groups. */
export function xtrId(text) {
  return text ? h("span", { class: "code" }, text.replace(/(.{8})(?=.)/g, "$1 ")) : "";
}

const CLASSES = { TCP: "tcp", TLS: "tls", "TCP-MD5": "md5", QUIC: "quic", SCTP: "sctp", UDP: "udp" };

/** The name of a transport with its colour. */
export function transport(name) {
  if (!name) return "";
  return h("span", { class: `transport ${CLASSES[name] ?? "other"}` }, name);
}

/** The variable of style.css that has the colour of a transport. */
export function transportColour(name) {
  return `--${CLASSES[name] ?? "other"}`;
}
