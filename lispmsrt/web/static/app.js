// The frame around the pages: navigation, connection, keyboard, token, light and dark.
import { ApiError, hasToken, onTokenWanted, setToken, Unreachable } from "./api.js";
import { fill, h, say } from "./dom.js";
import { counted, parseEid, tick } from "./format.js";
import { live } from "./live.js";
import { go, here, onRoute } from "./router.js";
import { moveByRows, sentence } from "./table.js";
import * as eid from "./views/eid.js";
import * as history from "./views/history.js";
import * as mapServers from "./views/map_servers.js";
import * as mappings from "./views/mappings.js";
import * as overview from "./views/overview.js";
import * as registrations from "./views/registrations.js";
import * as rejections from "./views/rejections.js";
import * as session from "./views/session.js";
import * as sessions from "./views/sessions.js";
import * as site from "./views/site.js";
import * as sites from "./views/sites.js";
import * as statistics from "./views/statistics.js";
import * as subscriptions from "./views/subscriptions.js";

/** Name in the address to: text in the navigation, view, view of one item, role it needs. */
const PAGES = {
  overview: { text: "Overview", view: overview },
  sessions: { text: "Sessions", view: sessions, one: session, role: "map-server" },
  registrations: { text: "Registrations", view: registrations, role: "map-server" },
  eid: { text: "EID", view: eid, role: "map-server" },
  sites: { text: "Sites", view: sites, one: site, role: "map-server" },
  rejections: { text: "Rejections", view: rejections, role: "map-server" },
  history: { text: "History", view: history, role: "map-server" },
  subscriptions: { text: "Subscriptions", view: subscriptions, role: "map-server" },
  "map-servers": { text: "Map-Servers", view: mapServers, role: "etr" },
  mappings: { text: "Mappings", view: mappings, role: "etr" },
  statistics: { text: "Statistics", view: statistics },
};

const BEAT = 2000; // ms between looks at what changes all the time
const CHANGE = 1000; // ms between looks at what has changed, however much does

const byId = (id) => document.getElementById(id);
const main = byId("main");

/** The page that is shown. */
class Shown {
  constructor() {
    this.page = null;
    this.abort = null;
    this.isBusy = false;
    this.hasChanged = false;
    this.lookedAt = 0;
  }

  async show(route, isFirst) {
    this.page?.close?.();
    this.page = null;
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    const entry = PAGES[route.page] ?? PAGES.overview;
    const view = route.rest && entry.one ? entry.one : entry.view;
    markPage(route.page);
    document.title = `${view.title ?? view.titleOf(route)} – lispmsrt`;
    const content = h("div", { class: "content" });
    main.replaceChildren(content);
    if (!isFirst) window.scrollTo(0, 0);
    try {
      // The heading is there before the data.
      const opening = view.show(content, route, abort.signal);
      if (!isFirst) content.querySelector("h1")?.focus({ preventScroll: true });
      const page = await opening;
      if (abort.signal.aborted) page?.close?.();
      else this.page = page;
      content.dataset.ready = route.hash;
    } catch (failure) {
      if (!abort.signal.aborted) explain(failure, content);
      content.dataset.ready = route.hash;
    }
  }

  /** Have the page look again at what has changed, one look at a time. */
  async look() {
    const { page } = this;
    const now = Date.now();
    if (!page || this.isBusy || document.hidden) return;
    const work = [];
    if (page.changed && this.hasChanged && now - this.lookedAt >= CHANGE) work.push(page.changed.bind(page));
    if (page.beat && now - this.lookedAt >= BEAT - 200) work.push(page.beat.bind(page));
    if (!work.length) return;
    this.hasChanged = false;
    this.isBusy = true;
    try {
      await Promise.all(work.map((each) => each()));
    } catch (failure) {
      ignoreLoss(failure);
    } finally {
      this.isBusy = false;
      this.lookedAt = Date.now();
    }
  }
}

/** While the server is away what is shown stays; the banner says how old it is. */
function ignoreLoss(failure) {
  if (failure instanceof ApiError || failure instanceof Unreachable || failure.name === "AbortError") return;
  throw failure;
}

function explain(failure, content) {
  if (!(failure instanceof ApiError || failure instanceof Unreachable)) throw failure;
  content.append(h("p", { class: "notice problem", role: "alert" }, sentence(failure.message)));
}

const shown = new Shown();

function markPage(name) {
  for (const link of byId("nav").querySelectorAll("a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  setMenu(false);
}

function drawNavigation() {
  const links = Object.entries(PAGES).filter(([, page]) => !page.role || live.has(page.role));
  fill(byId("nav"), h("ul", null, links.map(([name, { text }]) => h("li", null, h("a", { href: `#/${name}`, "data-page": name }, text)))));
  byId("lookup").hidden = !live.has("map-server");
  markPage(here().page);
}

// The connection

function drawState() {
  const { name, reason, retryAt } = live.condition;
  const words = { waiting: "Connecting", live: "Live", lost: "Not connected", refused: "No token" };
  const element = byId("link-state");
  element.dataset.state = name;
  element.querySelector(".text").textContent = words[name];
  const banner = byId("banner");
  const isLost = name === "lost";
  if (isLost) {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    banner.querySelector(".text").textContent = `${sentence(reason)} Trying again ${seconds ? `in ${counted(seconds, "second")}` : "now"}.`;
  }
  banner.hidden = !isLost;
}

let wasLive = false;
live.addEventListener("began", () => {
  drawNavigation();
  onFirst();
});
live.addEventListener("heard", ({ detail }) => {
  if (document.hidden) return;
  shown.page?.heard?.(detail.history, detail.lost)?.catch(ignoreLoss);
});
let seen = null;
live.addEventListener("heard", ({ detail: { overview: now } }) => {
  // Rejections are no lines of the mappings' own history.
  const mark = `${now.started} ${now.history_number} ${now.rejections} ${now.sessions} ${now.subscriptions}`;
  if (mark !== seen) shown.hasChanged = true;
  seen = mark;
  shown.look();
});
live.addEventListener("state", ({ detail: { name } }) => {
  drawState();
  if (name === "live" && !wasLive) say("Connected to the server.");
  wasLive = name === "live";
});

let isRouting = false;
function onFirst() {
  if (isRouting) {
    // Another process answers now: nothing that is shown holds.
    shown.show(here(), true);
    return;
  }
  isRouting = true;
  let isFirst = true;
  onRoute((route) => {
    shown.show(route, isFirst);
    isFirst = false;
  });
}

// The token

function askForToken(reason) {
  if (document.querySelector("dialog.token")) return;
  const input = h("input", { type: "password", id: "token-input", autocomplete: "off", spellcheck: "false", required: true });
  const submit = (event) => {
    event.preventDefault();
    setToken(input.value);
    dialog.close();
    restart();
  };
  const forget = () => {
    setToken("");
    dialog.close();
    restart();
  };
  const dialog = h("dialog", { class: "token", "aria-labelledby": "token-title", onclose: () => dialog.remove() },
    h("h2", { id: "token-title" }, "Token"),
    h("p", null, reason ? `${sentence(reason)} ` : "", "The token is in the file that ", h("code", null, "token-file"), " names. This browser tab forgets it when it is closed."),
    h("form", { onsubmit: submit }, h("label", { for: "token-input" }, "Token"), input,
      h("div", { class: "actions" }, hasToken() ? h("button", { type: "button", class: "plain", onclick: forget }, "Forget it") : null,
        h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit" }, "Use it"))));
  document.body.append(dialog);
  dialog.showModal();
}

function restart() {
  live.stream.connect();
  if (isRouting) shown.show(here(), true);
}

onTokenWanted(askForToken);
byId("token").addEventListener("click", () => askForToken(""));
byId("try-now").addEventListener("click", () => live.stream.connect());

// Light and dark

function isDark() {
  const chosen = document.documentElement.dataset.scheme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function drawScheme() {
  byId("scheme").textContent = isDark() ? "Light" : "Dark";
  shown.page?.recolour?.();
}

byId("scheme").addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.scheme = chosen;
  try {
    localStorage.setItem("lispmsrt-scheme", chosen);
  } catch {
    // It holds as long as the page.
  }
  drawScheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawScheme);

// Menu, search, keyboard

function setMenu(isOpen) {
  byId("menu").setAttribute("aria-expanded", String(isOpen));
  byId("nav").classList.toggle("open", isOpen);
}

byId("menu").addEventListener("click", () => setMenu(byId("menu").getAttribute("aria-expanded") !== "true"));
byId("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId("lookup-eid");
  if (!input.value.trim()) return;
  go("eid", parseEid(input.value));
  input.value = "";
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

const KEYS = [
  ["/", "Look up an EID"], ["j or ↓", "Next row of a table"], ["k or ↑", "Row before it"], ["Enter", "Open the row"],
  ["n", "Next page of a list"], ["p", "Previous page of a list"], ["Esc", "Close, leave a field"], ["?", "This list"],
];

function showKeys() {
  const rows = KEYS.map(([key, meaning]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, meaning)));
  const dialog = h("dialog", { "aria-labelledby": "keys-title", onclose: () => dialog.remove() }, h("h2", { id: "keys-title" }, "Keyboard"), h("dl", { class: "keys" }, rows),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

byId("keys").addEventListener("click", showKeys);

const press = (selector) => () => main.querySelector(selector)?.click();
const BY_KEY = {
  "/": () => byId("lookup-eid").focus(), "?": showKeys, n: press(".next"), p: press(".previous"),
  j: () => moveByRows(1), k: () => moveByRows(-1), ArrowDown: () => moveByRows(1), ArrowUp: () => moveByRows(-1),
};

document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && inField && !inField.matches("dialog")) event.target.blur();
  if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
  // Arrows scroll, unless a row has been chosen already.
  if (event.key.startsWith("Arrow") && !document.activeElement?.closest("main tbody")) return;
  const act = BY_KEY[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

setInterval(() => {
  tick();
  if (live.condition.name === "lost") drawState();
}, 1000);
window.addEventListener("offline", () => live.stream.connect());
window.addEventListener("online", () => live.stream.connect());
document.addEventListener("visibilitychange", () => shown.look());
drawScheme();
drawState();
live.stream.connect();
