// The last ten minutes of the overview, one sample a second, kept over a reload of the page.

export const SPAN = 600; // seconds that are shown
const STORE = "lispmsrt-series";
const LONGEST_STEP = 30; // seconds between samples over which no rate is drawn

/** Samples: [time, registrations, messages in, messages out, rejections, {transport: sessions}]. */
export class Series {
  constructor() {
    this.samples = [];
    this.started = null;
    window.addEventListener("pagehide", () => this.save());
  }

  /** Begin with what an earlier load of the page has seen of the same server. */
  restore(started) {
    this.started = started;
    this.samples = [];
    try {
      const kept = JSON.parse(sessionStorage.getItem(STORE) ?? "null");
      if (kept?.started === started) this.samples = kept.samples;
    } catch {
      // Without storage, or with somebody else's in it, the charts begin empty.
    }
  }

  save() {
    try {
      sessionStorage.setItem(STORE, JSON.stringify({ started: this.started, samples: this.samples }));
    } catch {
      // As above.
    }
  }

  add(overview) {
    const last = this.samples.at(-1);
    if (last && overview.now - last[0] < 0.2) return;
    const sessions = Object.fromEntries(overview.transports.filter((each) => each.transport !== "UDP").map((each) => [each.transport, each.sessions]));
    this.samples.push([overview.now, overview.registrations, overview.messages_in, overview.messages_out, overview.rejections, sessions]);
    while (this.samples[0][0] < overview.now - SPAN - 2) this.samples.shift();
  }

  get times() {
    return this.samples.map((each) => each[0]);
  }

  registrations() {
    return this.samples.map((each) => each[1]);
  }

  messagesIn() {
    return this.rates(2);
  }

  messagesOut() {
    return this.rates(3);
  }

  rejections() {
    return this.rates(4);
  }

  sessions(transport) {
    return this.samples.map((each) => each[5][transport] ?? 0);
  }

  rates(column) {
    return this.samples.map((each, i) => {
      const earlier = this.samples[i - 1];
      if (!earlier || each[0] - earlier[0] > LONGEST_STEP) return null;
      return Math.max(0, each[column] - earlier[column]) / (each[0] - earlier[0]);
    });
  }
}
