// The page of a device: what it hears now, what it is told, and how it is.

import { showCharts, showClasses, showFacts } from "/device.js";
import { Meter, Picture } from "/draw.js";
import { Heard, History, Questions } from "/events.js";
import { ask, follow, hasToken, keepToken, takeToken, tryNow } from "/link.js";
import { classes, forgetLabels, know, label, message, NOTHING, onLearned, onUndone, serving, start, was } from "/say.js";
import { byId, h, percent, setText, when } from "/text.js";

const STATUS_MS = 10000;
const SOON_MS = 300;
const GUESSES = 3;
const CHIPS = 12;
const NOTICES = 20;
const SEEN = 2000;
const CATCH_UP_MS = 3000;
const NEWS_MS = 1000;
const DEAF_S = 5;

const picture = new Picture(byId("picture"));
const heard = new Heard();
const questions = new Questions(place);
const past = new History();

let status;
let statusAt = 0;
let lastId;
let hasPast = false;
// Events that were taken, the oldest first.
const seen = new Set();
let lostMessages = 0;
// The newest moment of the device's clock.
let now;
let tiles = [];

function place(ns) {
  const wall = now?.wall_ms === null || now === undefined ? null : now.wall_ms + (ns - now.monotonic_ns) / 1e6;
  return { monotonic_ns: ns, wall_ms: wall, uncertainty_ms: 0xffffffff };
}

// ---- the link

async function greet() {
  const before = status && status.uptime_s + (performance.now() - statusAt) / 1000;
  await refresh();
  const isRestarted = before !== undefined && status.uptime_s < before - 5;
  if (isRestarted) {
    heard.clear();
    forgetLabels();
    [lastId, now, hasPast] = [undefined, undefined, false];
  }
  byId("token").hidden = true;
  return lastId;
}

async function opened() {
  if (!hasPast) await catchUp(false);
  hasPast = true;
  await questions.refresh();
  past.show();
}

/** Takes the newest events that are not known yet. Their numbers are not those of the stream where a log outlives the daemon. */
async function catchUp(isNow) {
  const held = await ask("/api/v1/events?limit=200");
  held.reverse().forEach(({ event }) => take(event, isNow));
}

let lostTimer;

/** Messages were lost: the page was too slow, or the network. */
function lost(n) {
  lostMessages += n;
  lostTimer ??= setTimeout(() => {
    lostTimer = undefined;
    catchUp(true).catch(() => {});
  }, CATCH_UP_MS);
}

function linkState(what, text) {
  document.body.dataset.state = what;
  setText(byId("state-text"), text);
  byId("retry").hidden = what !== "lost";
  if (what === "token") needToken();
}

function needToken() {
  const section = byId("token");
  setText(byId("token-note"), hasToken() ? "The device does not take the token it was given. Type the right one." : "It is kept in this browser only.");
  byId("token-note").dataset.kind = hasToken() ? "bad" : "none";
  if (!section.hidden) return;
  section.hidden = false;
  byId("token-text").focus();
}

function tell(name, value, id) {
  if (name === "sound") onSound(value);
  else if (name === "window") onWindow(value);
  else if (name === "event") {
    lastId = id;
    take(value, true);
  }
}

/** Takes an event, once: of now, or of the past. */
function take(event, isNow) {
  const key = [event.event, event.at.boot_id, event.at.monotonic_ns, event.id, event.window, event.text].join();
  if (seen.has(key)) return;
  seen.add(key);
  if (seen.size > SEEN) seen.delete(seen.values().next().value);
  if (event.event === "began" || event.event === "heard") {
    const entry = heard.add(event);
    if (isNow && entry) announce(`${event.class}, ${percent(event.probability)}, ${when(entry.begin)}`);
  } else if (event.event === "asked") {
    const isNew = questions.add(event);
    if (isNow && isNew) {
      announce(`It asks what it was, ${when(event.span[0])}`);
      soon();
    }
  } else if (event.event === "learned") onLearned(event);
  else if (event.event === "undone") onUndone(event);
  else if (event.event === "serving" && isNow) serving(event);
  else if (event.event === "notice") notice(event, isNow);
  if (isNow && ["learned", "undone", "serving"].includes(event.event)) soon();
}

let news = [];
let newsTimer;

/** Tells screen readers, not more often than they can speak. */
function announce(text) {
  news.push(text);
  newsTimer ??= setTimeout(() => {
    const more = news.length > 3 ? `; and ${news.length - 3} more` : "";
    setText(byId("news"), news.slice(-3).join("; ") + more);
    news = [];
    newsTimer = undefined;
  }, NEWS_MS);
}

function notice({ at, level, source, text }, isNow) {
  const list = byId("notices");
  byId("notices-none").hidden = true;
  const line = `${source}: ${text}`;
  list.prepend(h("li", { class: "notice", "data-level": level }, h("b", {}, level), ` ${when(at)} · ${line}`));
  while (list.children.length > NOTICES) list.lastChild.remove();
  if (!isNow || level === "info") return;
  byId("alarm").hidden = false;
  byId("alarm").dataset.level = level;
  setText(byId("alarm-text"), `${when(at)} · ${line}`);
  announce(`${level}: ${line}`);
}

// ---- what is heard now

function chosenMicrophone() {
  return Number(byId("microphone").value || 1);
}

function microphones(list) {
  if (tiles.map((t) => t.name).join("\n") === list.map((m) => m.name).join("\n")) return;
  byId("microphone").replaceChildren(...list.map((m) => h("option", { value: m.number }, m.name)));
  byId("microphone-choice").hidden = list.length < 2;
  heard.showsSource = list.length > 1;
  tiles = list.map((m) => {
    const meter = new Meter(m.name);
    const rows = Array.from({ length: GUESSES }, () => {
      const [name, bar, share] = [h("span", { class: "name" }), h("span", { class: "fill" }), h("span", { class: "share" })];
      return { name, bar, share, element: h("li", { class: "none" }, name, h("span", { class: "bar", "aria-hidden": "true" }, bar), share) };
    });
    const note = h("p", { class: "quiet note" }, "Waiting for the first window.");
    const guesses = h("ol", { class: "guesses plain", role: "list", "aria-label": `Guesses for ${m.name}` }, ...rows.map((r) => r.element));
    const head = h("div", { class: "tile-head" }, h("h3", {}, m.name), meter.element);
    const element = h("div", { class: "tile", "data-microphone": m.number }, head, guesses, note);
    return { name: m.name, meter, rows, note, element };
  });
  byId("microphones").replaceChildren(...tiles.map((t) => t.element));
}

function onSound(sound) {
  tiles[sound.source]?.meter.show(sound);
  if (sound.source === chosenMicrophone() - 1) picture.add(sound);
}

function onWindow({ source, at, silent, guesses, unknown }) {
  const isFirst = now === undefined || now.boot_id.join() !== at.boot_id.join();
  now = at;
  if (isFirst) setRun();
  heard.tick(at);
  const tile = tiles[source];
  if (!tile) return;
  tile.toldAt = performance.now();
  tile.rows.forEach((row, i) => {
    const [name, p] = (silent ? undefined : guesses[i]) ?? ["", 0];
    setText(row.name, name);
    setText(row.share, name === "" ? "" : percent(p));
    row.bar.style.transform = `scaleX(${p})`;
    row.element.classList.toggle("none", name === "");
  });
  const isNew = unknown >= 0.005 ? `Of no known class: ${percent(unknown)}` : "\u00a0";
  setText(tile.note, silent ? "Silent." : guesses.length === 0 ? "It knows no class yet. Say what it was." : isNew);
}

/** Says where a microphone gives no windows any more, though the device answers. */
function deaf() {
  for (const tile of tiles) {
    const s = Math.floor((performance.now() - (tile.toldAt ?? Infinity)) / 1000);
    if (s >= DEAF_S && !document.hidden) setText(tile.note, `No window for ${s}\u00a0s.`);
  }
}

/** From when on events can be corrected: the device numbers them anew at each start. */
function setRun() {
  if (!now || !status) return;
  const startNs = now.monotonic_ns - (status.uptime_s + (performance.now() - statusAt) / 1000 + 2) * 1e9;
  heard.setRun(now.boot_id.join(), startNs);
}

// ---- what the device says of itself

let soonTimer;

/** Asks for the status in a moment: several events may be one change. */
function soon() {
  soonTimer ??= setTimeout(() => {
    soonTimer = undefined;
    Promise.all([refresh(), questions.refresh()]).catch(() => {});
  }, SOON_MS);
}

async function refresh() {
  const [next, updates] = await Promise.all([ask("/api/v1/status"), ask("/api/v1/updates")]);
  [status, statusAt] = [next, performance.now()];
  microphones(status.microphones);
  know(status.adapter.classes);
  showChips();
  showFacts(status, lostMessages);
  showClasses(status.adapter);
  showCharts(updates);
  const refused = status.adapter.refused;
  byId("refused").hidden = !refused;
  setText(byId("refused"), refused ? `The newest head was refused, the one before serves on: ${refused}` : "");
}

// ---- what a person says of the last seconds

let isNothing = false;

function showChips() {
  const typed = byId("say-class").value.trim();
  const chip = (text, isChosen, choose, name) => {
    return h("button", { type: "button", "aria-pressed": String(isChosen), "data-class": name, "data-action": name === undefined ? "nothing" : undefined, onclick: choose }, text);
  };
  const shown = classes.slice(0, CHIPS).sort((a, b) => a.localeCompare(b));
  const choose = (name) => () => {
    isNothing = name === undefined;
    byId("say-class").value = name ?? "";
    press();
  };
  const group = byId("say-chips");
  const key = shown.join("\n");
  if (group.dataset.key !== key || group.children.length === 0) {
    group.dataset.key = key;
    const had = group.contains(document.activeElement) ? document.activeElement.dataset.class : null;
    group.replaceChildren(...shown.map((c) => chip(c, c === typed, choose(c), c)), chip("nothing", isNothing, choose(undefined)));
    if (had !== null) [...group.children].find((c) => c.dataset.class === had)?.focus();
  }
}

function press() {
  const typed = byId("say-class").value.trim();
  if (typed !== "") isNothing = false;
  for (const chip of byId("say-chips").children) {
    chip.setAttribute("aria-pressed", String(chip.dataset.class === undefined ? isNothing : chip.dataset.class === typed));
  }
}

async function sayLast(e) {
  e.preventDefault();
  const button = e.submitter ?? byId("say-form").querySelector("[data-last]");
  const name = byId("say-class").value.trim();
  if (name === "" && !isNothing) {
    message("Say first what it was: type a class or choose one.", "bad");
    return byId("say-class").focus();
  }
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  const target = { last_ms: Number(button.dataset.last) };
  if (tiles.length > 1) target.microphone = chosenMicrophone();
  await label(target, isNothing ? NOTHING : was(name));
  button.removeAttribute("aria-disabled");
}

// ---- start

takeToken();
start(needToken);
byId("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  keepToken(byId("token-text").value);
  byId("token-text").value = "";
  setText(byId("token-note"), "Trying it …");
});
byId("retry").addEventListener("click", tryNow);
byId("alarm-seen").addEventListener("click", () => (byId("alarm").hidden = true));
byId("microphone").addEventListener("change", () => picture.clear());
byId("say-form").addEventListener("submit", sayLast);
byId("say-class").addEventListener("input", press);
addEventListener("hashchange", () => location.hash.startsWith("#token=") && (takeToken(), tryNow()));
document.addEventListener("visibilitychange", () => !document.hidden && tryNow());
setInterval(deaf, 1000);
setInterval(() => !document.hidden && document.body.dataset.state === "connected" && refresh().catch(() => {}), STATUS_MS);
follow({ greet, opened, tell, lost, state: linkState });
