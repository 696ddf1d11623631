// Line charts of the last ten minutes.
import uPlot from "./vendor/uplot/uPlot.esm.js";
import { fill, h } from "./dom.js";
import { clock, short } from "./format.js";
import { SPAN } from "./series.js";

const HEIGHT = 150;
const SHORTEST = 60; // seconds: a page that was just opened shows less than ten minutes
const STEPS = [1, 2, 5].flatMap((first) => Array.from({ length: 10 }, (_, i) => first * 10 ** i)).sort((a, b) => a - b);
const SMALL_STEPS = [0.1, 0.2, 0.5, ...STEPS];

/** What a variable of style.css comes to in light or dark, as the canvas wants it. */
function colour(name) {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  probe.style.color = `var(${name})`;
  const text = getComputedStyle(probe).color;
  probe.remove();
  return text;
}

/** From zero, or around the values where a change would not be seen otherwise. */
function range(fromZero) {
  return (_chart, low, high) => {
    const top = high ?? 0;
    if (fromZero || low === null || low < top / 2) return [0, Math.max(top * 1.1, 1)];
    const margin = Math.max((top - low) * 0.2, top * 0.005, 2);
    return [Math.max(0, low - margin), top + margin];
  };
}

/**
 * A chart with its legend. `lines` are { label, colour (variable), of(series), show(value) };
 * they may change with setLines().
 */
export class Chart {
  constructor(title, lines, { fromZero = true, area = false, whole = true } = {}) {
    this.title = title;
    this.options = { fromZero, area, whole };
    this.lines = lines;
    this.data = [[]];
    this.now = Date.now() / 1000;
    this.legend = h("ul", { class: "legend" });
    this.at = h("span", { class: "at" });
    this.plot = h("div", { class: "plot", role: "img" });
    this.element = h("figure", { class: "chart card" }, h("figcaption", null, h("h2", null, title), this.at, this.legend), this.plot);
    this.chart = null;
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.plot);
  }

  setLines(lines) {
    if (lines.map((each) => each.label).join() === this.lines.map((each) => each.label).join()) return;
    this.lines = lines;
    this.redraw();
  }

  /** Draw again from nothing: with other lines, or in other colours. */
  redraw() {
    this.chart?.destroy();
    this.chart = null;
    this.fit();
  }

  fit() {
    const width = this.plot.clientWidth;
    if (!width) return;
    if (this.chart) this.chart.setSize({ width, height: HEIGHT });
    else this.draw(width);
  }

  draw(width) {
    while (this.data.length <= this.lines.length) this.data.push(this.data[0].map(() => null));
    this.data.length = this.lines.length + 1;
    const axis = { stroke: colour("--faint"), font: "11px system-ui, sans-serif", grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const shown = () => [this.now - this.span(), this.now];
    this.chart = new uPlot({
      width, height: HEIGHT, padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "overview" }, points: { size: 7 } },
      scales: { x: { time: true, range: shown }, y: { range: range(this.options.fromZero) } },
      axes: [
        { ...axis, space: 70, size: 26, values: (_chart, times) => times.map((at) => clock(at).slice(-8, this.span() < 240 ? undefined : -3)) },
        { ...axis, size: 52, space: 28, incrs: this.options.whole ? STEPS : SMALL_STEPS, values: (_chart, values) => values.map(short) },
      ],
      series: [{}, ...this.lines.map((line) => this.style(line))],
      hooks: { setCursor: [(chart) => this.describe(chart.cursor.idx)] },
    }, this.data, this.plot);
  }

  style(line) {
    const stroke = colour(line.colour);
    const tint = this.options.area ? stroke.replace("rgb(", "rgba(").replace(")", ", 0.14)") : undefined;
    return { label: line.label, stroke, fill: tint, width: 1.75, points: { show: false }, dash: line.dash };
  }

  span() {
    return Math.min(Math.max(this.now - (this.data[0][0] ?? this.now), SHORTEST), SPAN);
  }

  update(series) {
    this.now = series.times.at(-1) ?? Date.now() / 1000;
    this.data = [series.times, ...this.lines.map((line) => line.of(series))];
    this.chart?.setData(this.data);
    this.fit();
    this.describe(this.chart?.cursor.idx);
  }

  /** Say the values under the pointer, or the newest. */
  describe(index) {
    const isPast = index !== null && index !== undefined && index < this.data[0].length;
    const values = this.lines.map((line, i) => {
      const value = isPast ? this.data[i + 1][index] : this.data[i + 1]?.findLast((each) => each !== null);
      return value === null || value === undefined ? "–" : line.show(value);
    });
    this.at.textContent = isPast ? clock(this.data[0][index]) : "";
    fill(this.legend, this.lines.map((line, i) => this.entry(line, values[i])));
    if (!isPast) this.plot.setAttribute("aria-label", `${this.title}, the last ten minutes. Now: ${this.lines.map((line, i) => `${line.label} ${values[i]}`).join(", ")}`);
  }

  entry(line, value) {
    return h("li", null, h("span", { class: `swatch swatch${line.colour.slice(1)}`, "aria-hidden": "true" }), line.label ? `${line.label} ` : null, h("b", null, value));
  }

  close() {
    this.observer.disconnect();
    this.chart?.destroy();
    this.chart = null;
  }
}
