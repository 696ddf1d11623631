// Tables that show one page of a list, however long the list is.
import { fill, h, say } from "./dom.js";
import { ApiError, Unreachable } from "./api.js";
import { count, counted } from "./format.js";

export const PAGE_ROWS = 50;
const MOST_REQUESTS = 8; // for one page: a filter may pass over long parts of a list
const NEW_FOR = 4000; // ms that a new row is marked
const GONE_FOR = 4000; // ms that a row stays after its end

const positions = new Map(); // hash of a page and name of a table to the pages that led there

/** A plain table of rows that are there already. Columns: { title, show(row), className, phone }. */
export function plainTable(label, columns, rows, { empty = "None." } = {}) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const body = h("tbody", null, rows.map((row) => h("tr", null, columns.map((column) => cell(column, column.show(row))))));
  return h("div", { class: "scroll" }, h("table", { class: "cards" }, caption(label), head(columns), body));
}

function caption(label) {
  return h("caption", { class: "unseen" }, label);
}

function head(columns) {
  return h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.className }, column.title))));
}

function cell(column, content) {
  return h("td", { class: column.className, "data-label": column.title }, h("div", null, content));
}

/**
 * A table over a paged view.
 *   name, label, one (a row's noun), columns as above
 *   load(cursor, limit)   promise of { items, total, next_cursor }
 *   keyOf(row), addressOf(row)   what a row is known by, and the page it leads to (optional)
 *   ended(row)            what a row looks like that has gone (optional: it goes at once)
 */
export class PagedTable {
  constructor(options) {
    Object.assign(this, { rows: PAGE_ROWS, hasPager: true, empty: "Nothing matches.", keyOf: (row) => row.number, many: `${options.one}s` }, options);
    const place = `${location.hash} ${this.name}`;
    if (!positions.has(place)) positions.set(place, [{ cursor: null, first: 1 }]);
    this.pages = positions.get(place);
    this.next = null;
    this.count = 0; // rows of the page that is shown
    this.shown = new Map(); // key to { line, row, goneAt }
    this.requests = 0; // that the page took: a dear one is not refreshed by itself
    this.loading = null;
    this.isClosed = false;
    this.build();
  }

  build() {
    this.body = h("tbody", { onclick: (event) => this.follow(event) });
    this.table = h("table", { class: "cards", "aria-busy": "true" }, caption(this.label), head(this.columns), this.body);
    this.note = h("p", { class: "empty", hidden: true });
    this.range = h("span", { class: "range" });
    this.back = h("button", { type: "button", class: "previous", onclick: () => this.turn(-1), "aria-keyshortcuts": "p" }, "Previous");
    this.on = h("button", { type: "button", class: "next", onclick: () => this.turn(1), "aria-keyshortcuts": "n" }, "Next");
    this.pager = h("div", { class: "pager" }, this.range, h("span", { class: "turn" }, this.back, this.on));
    this.element = h("div", { class: "paged" }, h("div", { class: "scroll" }, this.table), this.note, this.hasPager ? this.pager : null);
    this.update({ items: [], total: null, next_cursor: null }, true);
    this.range.textContent = "Loading…";
  }

  /** Load the page that was shown here last, or the first. */
  async open() {
    await this.fetch(true);
  }

  /** Load the page again and change only what differs. */
  async refresh() {
    if (this.requests > 2 || this.loading || this.isClosed) return;
    await this.fetch(false);
  }

  close() {
    this.isClosed = true;
  }

  async turn(step) {
    if (step > 0 && this.next) this.pages.push({ cursor: this.next, first: this.pages.at(-1).first + this.count });
    else if (step < 0 && this.pages.length > 1) this.pages.pop();
    else return;
    await this.fetch(true);
    say(`${this.label}: ${this.range.textContent}`);
    this.element.scrollIntoView({ block: "nearest" });
  }

  async fetch(isOther) {
    const mine = (this.loading = {});
    if (isOther) this.table.setAttribute("aria-busy", "true");
    try {
      const page = await this.collect(() => this.loading === mine && !this.isClosed);
      if (this.loading !== mine || this.isClosed) return;
      this.update(page, isOther);
      this.table.setAttribute("aria-busy", "false");
    } catch (failure) {
      if (this.loading === mine) this.fail(failure);
    } finally {
      if (this.loading === mine) this.loading = null;
    }
  }

  /** A page may have fewer rows than asked for while more follow: go on, but not for ever. */
  async collect(isWanted) {
    const items = [];
    let { cursor } = this.pages.at(-1);
    let total = null;
    for (this.requests = 0; this.requests < MOST_REQUESTS && isWanted(); ) {
      const page = await this.load(cursor, this.rows - items.length);
      this.requests += 1;
      items.push(...page.items);
      total = page.total;
      cursor = page.next_cursor;
      if (!cursor || items.length >= this.rows) break;
      if (this.requests > 1) this.range.textContent = "Searching…";
    }
    return { items, total, next_cursor: cursor };
  }

  fail(failure) {
    if (failure instanceof ApiError && failure.status === 400 && this.pages.length > 1) {
      // The place where the page began is known no more, perhaps since the server was restarted.
      this.pages.length = 1;
      setTimeout(() => this.fetch(true), 0);
      return;
    }
    if (!(failure instanceof ApiError || failure instanceof Unreachable)) throw failure;
    // What is shown stays while the server is away: the banner says so.
    this.table.setAttribute("aria-busy", "false");
    if (failure instanceof ApiError || !this.shown.size) {
      this.note.hidden = false;
      this.note.textContent = sentence(failure.message);
      this.note.classList.add("problem");
      this.range.textContent = "";
    }
  }

  update(page, isOther) {
    const now = Date.now();
    const fresh = new Map(page.items.map((row) => [String(this.keyOf(row)), row]));
    const order = isOther ? [...fresh.keys()] : this.withGone(fresh, page, now);
    const lines = new Map();
    for (const key of order) {
      const old = isOther ? undefined : this.shown.get(key);
      const row = fresh.get(key);
      lines.set(key, row ? this.keep(old, row, isOther) : this.leave(old, now));
    }
    this.shown = lines;
    this.place([...lines.values()].map((each) => each.line));
    this.next = page.next_cursor;
    this.describe(page);
  }

  withGone(fresh, page, now) {
    const order = [...fresh.keys()];
    if (!this.ended) return order;
    const old = [...this.shown.keys()];
    const lastKept = old.findLastIndex((key) => fresh.has(key));
    old.forEach((key, i) => {
      const goneAt = this.shown.get(key).goneAt;
      // Behind the last row it may only have moved to the next page.
      const hasEnded = goneAt || !page.next_cursor || i < lastKept;
      if (fresh.has(key) || !hasEnded || (goneAt && now - goneAt > GONE_FOR)) return;
      const before = old.slice(0, i).findLast((each) => order.includes(each));
      order.splice(before === undefined ? 0 : order.indexOf(before) + 1, 0, key);
    });
    return order;
  }

  keep(old, row, isOther) {
    const line = old?.line ?? h("tr", null, this.columns.map((column) => cell(column, null)));
    if (!old || old.goneAt) line.className = isOther || old ? "" : "is-new";
    if (line.className) setTimeout(() => line.classList.remove("is-new"), NEW_FOR);
    this.show(line, row);
    return { line, row, goneAt: 0 };
  }

  leave(old, now) {
    if (old.goneAt) return old;
    old.line.className = "is-gone";
    const row = this.ended(old.row);
    this.show(old.line, row);
    setTimeout(() => this.refresh(), GONE_FOR + 100);
    return { line: old.line, row, goneAt: now };
  }

  show(line, row) {
    this.columns.forEach((column, i) => fill(line.cells[i].firstChild, column.show(row)));
    const address = this.addressOf?.(row);
    if (address) line.dataset.address = address;
    else delete line.dataset.address;
  }

  /** Put the rows in order; what stays where it was is not touched, so that focus stays. */
  place(lines) {
    const wanted = new Set(lines);
    for (const line of [...this.body.rows]) if (!wanted.has(line)) line.remove();
    lines.forEach((line, i) => {
      if (this.body.rows[i] !== line) this.body.insertBefore(line, this.body.rows[i] ?? null);
    });
  }

  describe({ items, total, next_cursor: next }) {
    const isFirst = this.pages.length === 1;
    this.back.disabled = isFirst;
    this.on.disabled = !next;
    this.note.classList.remove("problem");
    this.note.hidden = this.shown.size > 0;
    this.note.textContent = next ? "Nothing found so far; Next searches on." : this.empty;
    this.table.hidden = this.shown.size === 0;
    const { first } = this.pages.at(-1);
    this.count = items.length;
    const shown = items.length ? (isFirst && !next ? counted(items.length, this.one, this.many) : `${count(first)}–${count(first + items.length - 1)}`) : "";
    const all = total !== null && (next || !isFirst) ? ` of ${counted(total, this.one, this.many)}` : "";
    this.range.textContent = shown ? shown + all : "";
  }

  follow(event) {
    if (event.target.closest("a, button") || String(getSelection())) return;
    const address = event.target.closest("tr")?.dataset.address;
    if (address) location.hash = address;
  }
}

/** A message as a sentence of its own. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** Move the focus by rows: from anywhere to the first one. */
export function moveByRows(step) {
  const lines = [...document.querySelectorAll("main tbody tr")].filter((line) => line.querySelector("a"));
  const now = lines.indexOf(document.activeElement?.closest("tr"));
  const line = lines[now < 0 ? 0 : Math.min(Math.max(now + step, 0), lines.length - 1)];
  const target = line?.querySelector("a");
  target?.focus();
  line?.scrollIntoView({ block: "nearest" });
  return Boolean(target);
}
