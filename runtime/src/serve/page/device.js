// How the device is: facts, classes and the charts over updates.

import { chart } from "/draw.js";
import { byId, clock, count, h, millis, percent, setText } from "/text.js";

const UPDATES = 200;
const CLASSES = 50;

/** What the device says of itself, and how many messages the page lost. */
export function showFacts(status, lostMessages) {
  const { backbone, adapter, counts, statistics, temperature_c: celsius } = status;
  const known = (value, format) => (value === null || value === undefined ? "not known" : format(value));
  const pair = (value) => known(value, ([median, high]) => `${millis(median)}, 99 of 100 within ${millis(high)}`);
  const share = (value) => known(value, percent);
  const small = (value) => known(value, (v) => v.toFixed(3));
  const facts = [
    ["up", clock(status.uptime_s)],
    ["provider", backbone.provider],
    ["backbone", `${backbone.name}, ${backbone.dim} numbers, ${millis(backbone.window_ms)} every ${millis(backbone.hop_ms)}`],
    ["windows", `${count(counts.windows)}${counts.stride > 1 ? `, one in ${counts.stride} answered` : ""}`],
    ["windows lost", `${count(counts.windows_dropped)} dropped, ${count(counts.windows_skipped)} skipped, ${count(counts.windows_failed)} failed`, counts.windows_dropped + counts.windows_skipped + counts.windows_failed],
    ["samples lost", `${count(counts.frames_lost)} of ${count(counts.frames)}`, counts.frames_lost],
    ["signals lost", count(counts.signals_dropped), counts.signals_dropped],
    ["window to event", pair(counts.event_ms)],
    ["of that, to answer", pair(counts.answer_ms)],
    ["numbers clipped", count(counts.clipped)],
    ["generation", `${adapter.generation}, of the head ${counts.serving}`],
    ["rows", `${count(adapter.rows)}, ${count(adapter.background_rows)} of them of background`],
    ["right before learned", `${share(statistics.accuracy)} of ${count(Math.round(statistics.windows))}`],
    ["confidence", `${share(statistics.confidence)}, off by ${share(statistics.calibration)}`],
    ["forgetting, drift", `${small(statistics.forgetting)}, ${small(statistics.drift)}`],
    ["temperature", known(celsius, (c) => `${c.toFixed(1)} °C`)],
    ["listeners", count(status.clients)],
    ["version", status.version],
    ["lost by this page", `${count(lostMessages)} messages`, lostMessages],
  ];
  const list = byId("facts");
  if (list.children.length !== facts.length) list.replaceChildren(...facts.map(([name]) => h("div", {}, h("dt", {}, name), h("dd"))));
  facts.forEach(([, text, lost], i) => {
    const shown = list.children[i].lastChild;
    setText(shown, text);
    shown.classList.toggle("lost", lost > 0);
  });
}

/** The classes, those with the most rows first. */
export function showClasses(adapter) {
  const all = [...adapter.classes].sort((a, b) => b.rows - a.rows);
  const most = Math.max(1, ...all.map((c) => c.rows));
  const rows = all.slice(0, CLASSES).map((c) => {
    const bar = h("span", { class: "fill" });
    bar.style.transform = `scaleX(${c.rows / most})`;
    return h("tr", {}, h("th", { scope: "row" }, h("span", { class: "name" }, c.class), h("span", { class: "bar", "aria-hidden": "true" }, bar)), h("td", {}, count(c.rows)));
  });
  byId("classes").tBodies[0].replaceChildren(...rows);
  setText(byId("classes-count"), `${all.length > CLASSES ? `${CLASSES} shown of ` : ""}${count(all.length)}, at most ${count(adapter.max_classes)}`);
}

/** How accuracy and the rest went over the heads that came to serve, the newest last. */
export function showCharts(updates) {
  const newest = updates.slice(-UPDATES);
  const values = (key) => newest.map((u) => u[key]);
  const small = (v) => v.toFixed(3);
  byId("charts").replaceChildren(
    chart("Accuracy", values("accuracy"), percent, [0, 1]),
    chart("Forgetting", values("forgetting"), small, [0, 0.05]),
    chart("Drift", values("drift"), small, [0, 0.05]),
    chart("Update time", values("took_ms"), millis),
    chart("Temperature", values("temperature_c"), (c) => `${c.toFixed(1)} °C`, [20, 40]),
  );
}
