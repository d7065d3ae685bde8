// Pictures: the scrolling spectrogram, level meters and the small charts.

import { h, setText } from "/text.js";

const SPAN_MS = 12000;
const MARKS_MS = [10000, 3000];
const FLOOR_DB = -80;
// Between the darkest and the brightest of the picture, at least; 255 steps are 100 dB.
const LEAST_STEPS = 90;
const STILL_MS = 1000;

const LIGHT = ["#fcfbf8", "#c9d6df", "#6d8ea8", "#2d4a63", "#0a131b"];
const DARK = ["#0c1116", "#22394e", "#50708b", "#e0965a", "#fff0d8"];

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The last seconds of sound on one canvas: the newest at the right, high sounds at the top. */
export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.bands = 0;
    this.columnMs = 0;
    this.isDue = false;
    this.drawnAt = 0;
    this.low = 0;
    this.high = LEAST_STEPS;
    this.levelledAt = 0;
    this.levels = new Uint32Array(256);
    this.colours = palette();
    dark.addEventListener("change", () => {
      this.colours = palette();
      this.due();
    });
    for (const ms of MARKS_MS) {
      const mark = h("span", { class: "mark", "aria-hidden": "true" }, `${ms / 1000} s`);
      mark.style.left = `${100 - (100 * ms) / SPAN_MS}%`;
      canvas.after(mark);
    }
  }

  /** Takes the columns of a `sound` message. */
  add({ bands, columns, column_ms: columnMs }) {
    if (!(bands >= 1 && bands <= 1024 && columnMs > 0)) return;
    if (bands !== this.bands || columnMs !== this.columnMs) this.shape(bands, columnMs);
    const bytes = atob(columns);
    for (let at = 0; at + bands <= bytes.length; at += bands) {
      const start = this.next * bands;
      for (let b = 0; b < bands; b++) this.held[start + b] = bytes.charCodeAt(at + b);
      this.next = (this.next + 1) % this.width;
    }
    this.due();
  }

  /** Forgets the sound, where another microphone is shown. */
  clear() {
    this.held?.fill(0);
    this.due();
  }

  shape(bands, columnMs) {
    [this.bands, this.columnMs] = [bands, columnMs];
    this.width = Math.min(2000, Math.max(16, Math.round(SPAN_MS / columnMs)));
    this.held = new Uint8Array(this.width * bands);
    this.next = 0;
    [this.canvas.width, this.canvas.height] = [this.width, bands];
    this.image = this.context.createImageData(this.width, bands);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  due() {
    if (this.isDue || !this.held) return;
    this.isDue = true;
    const wait = still.matches ? Math.max(0, this.drawnAt + STILL_MS - performance.now()) : 0;
    setTimeout(() => requestAnimationFrame((now) => this.draw(now)), wait);
  }

  draw(now) {
    [this.isDue, this.drawnAt] = [false, now];
    if (now - this.levelledAt > 1000) this.level(now);
    const { width, bands, held, pixels, colours } = this;
    const scale = 255 / (this.high - this.low);
    for (let x = 0; x < width; x++) {
      const column = ((this.next + x) % width) * bands;
      for (let b = 0; b < bands; b++) {
        const shade = Math.round((held[column + b] - this.low) * scale);
        pixels[(bands - 1 - b) * width + x] = colours[shade < 0 ? 0 : shade > 255 ? 255 : shade];
      }
    }
    this.context.putImageData(this.image, 0, 0);
  }

  /** The contrast follows the sound: from the quiet of the last seconds to the loudest of them. */
  level(now) {
    this.levels.fill(0);
    for (const value of this.held) this.levels[value]++;
    const total = this.held.length - this.levels[0];
    const share = (p) => {
      let left = p * total;
      for (let v = 1; v < 256; v++) if ((left -= this.levels[v]) <= 0) return v;
      return 255;
    };
    if (total > 0) {
      const low = share(0.3);
      const high = Math.max(share(0.999), low + LEAST_STEPS);
      const pace = this.levelledAt === 0 ? 1 : 0.3;
      this.low += pace * (low - this.low);
      this.high += pace * (high - this.high);
      this.levelledAt = now;
    }
  }
}

function palette() {
  const stops = (dark.matches ? DARK : LIGHT).map((c) => [1, 3, 5].map((at) => parseInt(c.slice(at, at + 2), 16)));
  const bytes = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(at));
    const mixed = stops[from].map((c, k) => c + (at - from) * (stops[from + 1][k] - c));
    bytes.set([...mixed, 255], 4 * i);
  }
  return new Uint32Array(bytes.buffer);
}

/** How loud a microphone is: the bar is the mean, the tick the peak. */
export class Meter {
  constructor(name) {
    this.bar = h("span", { class: "level" });
    this.tick = h("span", { class: "peak" });
    this.text = h("span", { class: "db" }, "– dB");
    const label = `Level of ${name}`;
    this.track = h(
      "span",
      { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": FLOOR_DB, "aria-valuemax": 0, "aria-valuenow": FLOOR_DB },
      this.bar,
      this.tick,
    );
    this.element = h("span", { class: "meter-row" }, this.track, this.text);
    this.shownAt = 0;
    this.peak = FLOOR_DB;
  }

  show({ rms, peak }) {
    const now = performance.now();
    const db = (x) => Math.min(0, Math.max(FLOOR_DB, 20 * Math.log10(Math.max(x, 1e-9))));
    // The tick falls 20 dB a second, so that a click can be seen.
    this.peak = Math.max(db(peak), this.peak - (now - (this.at ?? now)) * 0.02);
    this.at = now;
    const isShown = !still.matches || now - this.shownAt > STILL_MS;
    if (isShown) {
      this.bar.style.transform = `scaleX(${1 - db(rms) / FLOOR_DB})`;
      this.tick.style.left = `${100 - (100 * this.peak) / FLOOR_DB}%`;
      this.track.classList.toggle("clipped", peak >= 0.999);
    }
    if (now - this.shownAt > STILL_MS) {
      this.shownAt = now;
      const rounded = Math.round(db(rms));
      setText(this.text, peak >= 0.999 ? "clips" : `${rounded} dB`);
      this.track.setAttribute("aria-valuenow", rounded);
      this.track.setAttribute("aria-valuetext", peak >= 0.999 ? `${rounded} dB, clips` : `${rounded} dB`);
    }
  }
}

/** A small chart of values over updates; `null` is a gap. `format` says a value, `range` is what is shown at least. */
export function chart(title, values, format, range = [0, 0]) {
  const known = values.filter((v) => v !== null && v !== undefined && Number.isFinite(v));
  const last = known.at(-1);
  const card = h("figure", { class: "chart" }, h("figcaption", {}, title, h("b", {}, last === undefined ? "not known" : format(last))));
  if (known.length < 2) {
    card.append(h("p", { class: "quiet" }, known.length === 1 ? "One value so far." : "No value yet."));
    return card;
  }
  const low = Math.min(range[0], ...known);
  const high = Math.max(range[1], ...known);
  const x = (i) => ((100 * i) / (values.length - 1)).toFixed(2);
  const y = (v) => (high === low ? 25 : 48 - (46 * (v - low)) / (high - low)).toFixed(2);
  let path = "";
  let isBroken = true;
  values.forEach((v, i) => {
    if (v === null || v === undefined || !Number.isFinite(v)) return void (isBroken = true);
    path += `${isBroken ? "M" : "L"}${x(i)} ${y(v)}h0`;
    isBroken = false;
  });
  const text = `${title} over ${values.length} updates: from ${format(known[0])} to ${format(last)}, between ${format(Math.min(...known))} and ${format(Math.max(...known))}`;
  const lines = [0, 50].map((at) => h("svg:path", { class: "grid", d: `M0 ${at === 0 ? 2 : 48}H100` }));
  const svg = h("svg:svg", { viewBox: "0 0 100 50", preserveAspectRatio: "none", role: "img", "aria-label": text }, ...lines);
  svg.append(h("svg:path", { class: "line", d: path }), h("svg:path", { class: "end", d: `M${x(values.lastIndexOf(last))} ${y(last)}h0` }));
  const scale = h("span", { class: "scale", "aria-hidden": "true" }, h("span", {}, format(high)), h("span", {}, format(low)));
  card.append(h("div", { class: "plot" }, svg, scale));
  return card;
}
