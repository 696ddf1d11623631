// What the server tells every second, for whatever page is shown.
import { setNow } from "./format.js";
import { Series } from "./series.js";
import { Stream } from "./stream.js";

const KEPT_LINES = 100;

/** The newest overview, the newest lines of the history, and the last ten minutes. */
class Live extends EventTarget {
  constructor() {
    super();
    this.overview = null;
    this.lines = []; // newest first
    this.series = new Series();
    this.stream = new Stream(this);
    this.condition = { name: "waiting", reason: "", retryAt: 0 };
  }

  has(role) {
    return this.overview?.roles.includes(role) ?? false;
  }

  began(overview) {
    this.lines = [];
    this.series.restore(overview.started);
    this.overview = overview;
    setNow(overview.now);
    this.dispatchEvent(new CustomEvent("began", { detail: overview }));
  }

  heard(overview, history, lost) {
    this.overview = overview;
    setNow(overview.now);
    this.series.add(overview);
    // With a gap behind them the new lines are not the newest of all that is known.
    this.lines = [...history].reverse().concat(lost ? [] : this.lines).slice(0, KEPT_LINES);
    this.dispatchEvent(new CustomEvent("heard", { detail: { overview, history, lost } }));
  }

  state(name, reason = "", retryAt = 0) {
    this.condition = { name, reason, retryAt };
    this.dispatchEvent(new CustomEvent("state", { detail: this.condition }));
  }
}

export const live = new Live();
