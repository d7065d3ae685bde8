// What a person says: the chooser of classes, labels and undo, and what the device answers to them.

import { ask, Refused } from "/link.js";
import { byId, h, millis, percent, quoted, said, setText, windows } from "/text.js";

const SERVING_WAIT_MS = 15000;
const MESSAGE_MS = 30000;
const WAITS = 8;
const CHIPS = 60;
const UNDO_HELD = 64;
const ORDINARY = "ordinary sound";

/** Known classes, those with the most rows first. */
export let classes = [];
let needsToken = () => {};
let messageTimer;
// Labels that wait for their head: `since` what served meanwhile, until the generation is known.
let waits = [];
// Labels as the device told them, the newest last, and this page's own, which know their place on the page.
let learned = [];
let own = [];

export function start(onNoToken) {
  needsToken = onNoToken;
  byId("undo").addEventListener("click", undo);
  const dialog = byId("chooser");
  byId("chooser-cancel").addEventListener("click", () => dialog.close());
  byId("chooser-class").addEventListener("input", () => chooserChips());
  byId("chooser-form").addEventListener("submit", (e) => {
    e.preventDefault();
    choose(byId("chooser-class").value.trim());
  });
  dialog.addEventListener("click", (e) => {
    if (e.target === dialog) dialog.close();
  });
}

/** Says something in the bar at the bottom; screen readers hear it. `kind`: wait, good, bad. */
export function message(text, kind) {
  const element = byId("message");
  element.dataset.kind = kind;
  setText(element, text);
  clearTimeout(messageTimer);
  if (kind === "good") messageTimer = setTimeout(() => message("", "none"), MESSAGE_MS);
}

/** Takes the known classes of a status, [{class, rows}]. */
export function know(list) {
  const before = classes.join("\n");
  classes = [...list].sort((a, b) => b.rows - a.rows || (a.class < b.class ? -1 : 1)).map((c) => c.class);
  // A list that is open must not close.
  if (classes.join("\n") !== before) byId("known").replaceChildren(...classes.slice(0, 500).map((c) => h("option", { value: c })));
}

let chosen = () => {};

/** Asks which class it was; `about` says of what, `say(class)` takes it. */
export function chooser(about, guesses, say) {
  chosen = say;
  setText(byId("chooser-about"), about);
  byId("chooser-class").value = "";
  chooserChips(guesses);
  byId("chooser").showModal();
  // On a phone the keyboard would hide the classes.
  const isTouch = matchMedia("(pointer: coarse)").matches && byId("chooser-list").querySelector("button");
  byId(isTouch ? "chooser-title" : "chooser-class").focus();
}

function chooserChips(guesses = []) {
  const typed = byId("chooser-class").value.trim().normalize("NFC").toLowerCase();
  const first = guesses.map(([name]) => name);
  const all = [...first, ...classes.filter((c) => !first.includes(c))];
  const fit = all.filter((c) => c.toLowerCase().includes(typed));
  const chips = fit.slice(0, CHIPS).map((c) => h("button", { type: "button", "data-class": c, onclick: () => choose(c) }, c));
  if (fit.length > CHIPS) chips.push(h("span", { class: "quiet" }, `and ${fit.length - CHIPS} more: type a part of the name`));
  if (fit.length === 0) chips.push(h("span", { class: "quiet" }, all.length === 0 ? "None yet: type the first." : "A new class."));
  byId("chooser-list").replaceChildren(...chips);
}

function choose(name) {
  if (name === "") return byId("chooser-class").focus();
  byId("chooser").close();
  chosen(name);
}

/** Labels of one class: it was, it was not, or it was nothing. */
export const was = (name) => ({ text: quoted(name), classes: [name], says: name });
export const wasNot = (name) => ({ text: `!${quoted(name)}`, classes: [`!${name}`], says: `not ${name}` });
export const NOTHING = { text: "!*", classes: [], says: "that it was nothing" };

/** Sends a label; true when it was learned. `taken(isTaken)` is told whether it still stands. */
export async function label(target, labels, taken = () => {}) {
  message(`Saying ${labels.says} …`, "wait");
  const mine = { classes: labels.classes, says: labels.says, taken };
  own = [...own, mine].slice(-UNDO_HELD);
  const done = await send("/api/v1/labels", { target, labels: labels.text }, "Known now", (answer) => {
    mine.rows = answer.rows;
    return `Learned ${labels.says}: ${windows(answer.rows)}, generation ${answer.generation}, ${durable(answer)}.`;
  });
  if (done) {
    taken(true);
    link();
  } else {
    own = own.filter((o) => o !== mine);
  }
  return done;
}

async function undo() {
  const button = byId("undo");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  message("Taking the last label back …", "wait");
  await send("/api/v1/undo", { labels: 1 }, "Forgotten now", (answer) => {
    return `Took ${windows(answer.rows)} back, generation ${answer.generation}, ${durable(answer)}.`;
  });
  button.removeAttribute("aria-disabled");
}

const durable = (answer) => (answer.durable ? "durable" : "not durable yet: a power cut may lose it");

async function send(path, body, done, tell) {
  const wait = { since: [], generation: Infinity, done };
  waits = [...waits, wait].slice(-WAITS);
  try {
    const answer = await ask(path, body);
    wait.generation = answer.generation;
    wait.text = tell(answer);
    message(`${wait.text} Waiting for the new head …`, "wait");
    wait.since.forEach((event) => settle(wait, event));
    if (waits.includes(wait)) wait.timer = setTimeout(() => overdue(wait), SERVING_WAIT_MS);
    return true;
  } catch (e) {
    waits = waits.filter((w) => w !== wait);
    message(e.message, "bad");
    if (e instanceof Refused && e.status === 401) needsToken();
    else if (!(e instanceof Refused)) throw e;
    return false;
  }
}

/** Takes a `serving` event. */
export function serving(event) {
  for (const wait of [...waits]) {
    if (wait.text === undefined) wait.since.push(event);
    else settle(wait, event);
  }
}

function settle(wait, event) {
  // A head on trial bridges; it, and a refusal, may carry the generation of the head before.
  const fits = event.generation >= wait.generation || event.untried || event.refused;
  if (!fits || !waits.includes(wait)) return;
  const isNewest = wait === waits.at(-1);
  if (!event.untried) drop(wait);
  if (!isNewest) return;
  if (event.refused) message(`${wait.text} The new head was refused, the one before serves on: ${event.refused}`, "bad");
  else if (event.classes.length === 0) message(`${wait.text} It knows no class any more.`, "good");
  else if (event.untried) message(`${wait.text} ${wait.done}, after ${millis(event.took_ms)}; the head is still on trial.`, "good");
  else message(`${wait.text} ${wait.done}, after ${millis(event.took_ms)}.`, "good");
}

function drop(wait) {
  clearTimeout(wait.timer);
  waits = waits.filter((w) => w !== wait);
}

/** No head was told of, for example because the link broke: the status knows. */
async function overdue(wait) {
  const isNewest = wait === waits.at(-1);
  drop(wait);
  const status = await ask("/api/v1/status").catch(() => undefined);
  if (!isNewest || waits.length > 0) return;
  if (!status) message(`${wait.text} Whether it is known already cannot be told: the device does not answer.`, "bad");
  else if (status.adapter.refused) message(`${wait.text} The new head was refused, the one before serves on: ${status.adapter.refused}`, "bad");
  else if (status.counts.serving >= wait.generation) message(`${wait.text} ${wait.done}.`, "good");
  else message(`${wait.text} No new head yet; the one before serves on.`, "wait");
}

/** Takes a `learned` event: what undo takes back next, which passes over what nobody has named. */
export function onLearned({ classes, rows, by }) {
  if (by === ORDINARY) return;
  learned = [...learned, { classes, rows }].slice(-UNDO_HELD);
  link();
}

/** Takes an `undone` event: the newest labels up to its rows are gone. */
export function onUndone({ rows }) {
  let left = rows;
  do {
    const last = learned.pop();
    if (!last) break;
    left -= last.rows;
    if (last.mine) {
      own = own.filter((o) => o !== last.mine);
      last.mine.taken(false);
    }
  } while (left > 0);
  showUndo();
}

/** Forgets what was learned before the device was started again. */
export function forgetLabels() {
  learned = [];
  own = [];
  showUndo();
}

/** Finds which of the labels that the device tells are this page's. */
function link() {
  for (const mine of own.filter((o) => o.rows !== undefined && !o.isLinked)) {
    const same = (l) => !l.mine && l.rows === mine.rows && l.classes.join("\n") === mine.classes.join("\n");
    const told = learned.findLast(same);
    if (told) [told.mine, mine.isLinked] = [mine, true];
  }
  showUndo();
}

function showUndo() {
  const last = learned.at(-1);
  setText(byId("undo"), last ? `Undo: ${last.mine?.classes.length > 0 ? last.mine.says : said(last.classes)}` : "Undo last label");
}

/** A button for each guess, `[class, probability]`. */
export function guessButtons(guesses, say) {
  return guesses.map(([name, p]) => {
    return h("button", { type: "button", "data-action": "guess", "data-class": name, onclick: () => say(name) }, h("span", { class: "name" }, name), ` ${percent(p)}`);
  });
}
