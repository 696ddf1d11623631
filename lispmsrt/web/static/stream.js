// The stream: an object a second, read by fetch so that it can carry the token. Comes back by itself.
import { ApiError, get, send } from "./api.js";

const SILENCE = 15_000; // ms without an object after which a connection is taken for dead
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/**
 * Follow the server until stopped. `listener` has
 *   began(overview)          connected, for the first time or to a server that was started anew,
 *   heard(overview, history, lost)   every second,
 *   state(name, reason, retryAt)     "live", "lost" (next attempt at retryAt, ms) or "refused".
 */
export class Stream {
  constructor(listener) {
    this.listener = listener;
    this.number = null;
    this.started = null;
    this.pause = FIRST_PAUSE;
    this.timer = null;
    this.abort = null;
  }

  /** Connect now, whatever has been planned. */
  connect() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = new AbortController();
    this.follow(this.abort);
  }

  async follow(abort) {
    const watch = new Silence(() => abort.abort());
    let reason = "the connection has ended";
    try {
      await this.begin(abort.signal);
      const answer = await send(`stream?history=${this.number}`, { signal: abort.signal });
      this.pause = FIRST_PAUSE;
      this.listener.state("live");
      for await (const each of objects(answer.body)) {
        watch.heard();
        this.take(each);
      }
    } catch (failure) {
      if (failure instanceof ApiError && failure.status === 401) {
        this.listener.state("refused", failure.message);
        return;
      }
      reason = failure.message;
    } finally {
      watch.end();
    }
    // Else somebody has called connect() meanwhile.
    if (this.abort === abort) this.again(reason);
  }

  async begin(signal) {
    const overview = await get("overview", {}, signal);
    if (overview.started !== this.started) {
      this.started = overview.started;
      this.number = overview.history_number;
      this.listener.began(overview);
    }
    this.listener.heard(overview, [], false);
  }

  take({ overview, history = [], lost = false }) {
    this.number = overview.history_number;
    this.listener.heard(overview, history, lost);
  }

  again(reason) {
    // Not all pages at the same moment after the server was away.
    const pause = this.pause * (0.8 + 0.4 * Math.random());
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    this.listener.state("lost", reason, Date.now() + pause);
    this.timer = setTimeout(() => this.connect(), pause);
  }
}

/** Calls back when nothing was heard for too long. */
class Silence {
  constructor(callback) {
    this.callback = callback;
    this.heard();
  }

  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.callback, SILENCE);
  }

  end() {
    clearTimeout(this.timer);
  }
}

async function* objects(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let tail = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (tail + value).split("\n");
      tail = lines.pop();
      for (const line of lines) if (line) yield JSON.parse(line);
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already
  }
}
