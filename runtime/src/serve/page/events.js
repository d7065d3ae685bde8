// What was heard, as lists of entries with the buttons that correct them; the questions; the history.

import { ask } from "/link.js";
import { chooser, guessButtons, label, message, NOTHING, was, wasNot } from "/say.js";
import { byId, clock, h, iso, percent, setText, when } from "/text.js";

const HELD = 60;
const QUESTIONS_SHOWN = 12;
const PAGE = 50;
// A finger that was on its way when the list moved must not hit another entry.
const MOVED_MS = 300;

/** One thing heard: while it sounds, and after. */
class Entry {
  constructor(event, showsSource) {
    this.event = event;
    this.at = event.at;
    this.begin = event.begin ?? event.span?.[0] ?? event.at;
    this.name = h("strong", { class: "name" }, event.class);
    this.share = h("span", { class: "share" });
    this.time = h("time", { datetime: iso(this.begin) }, when(this.begin));
    this.length = h("span", { class: "length" });
    const source = showsSource || event.id === undefined ? h("span", { class: "source" }, event.source) : undefined;
    const meta = h("p", { class: "meta" }, this.time, this.length, source);
    this.element = h("li", { class: "event", "data-class": event.class }, h("p", { class: "what" }, this.name, this.share), meta);
    if (event.id !== undefined) this.element.dataset.id = event.id;
    this.update(event);
  }

  update(event) {
    this.event = event;
    const isSounding = event.event === "began";
    this.element.dataset.state = isSounding ? "sounding" : "ended";
    const isNew = event.unknown >= 0.5 ? `, perhaps new (${percent(event.unknown)})` : "";
    setText(this.share, `${percent(event.probability)}${isNew}`);
    setText(this.length, isSounding ? "still sounding" : `${Math.max(0, event.end_s - event.begin_s).toFixed(1)} s`);
  }

  get isSounding() {
    return this.event.event === "began";
  }

  /** How long it has sounded, by the device's clock. */
  tick(now) {
    const ns = now.monotonic_ns - this.begin.monotonic_ns;
    if (this.isSounding && ns >= 0) setText(this.length, `still sounding, ${clock(ns / 1e9)}`);
  }

  /** With buttons that say what it was. */
  correctable() {
    const { id, class: name } = this.event;
    const target = { event: id };
    const where = `${name}, ${when(this.begin)}`;
    const button = (action, text, help, act) => h("button", { type: "button", "data-action": action, "aria-label": `${text}: ${help}`, onclick: act }, text);
    this.actions = h(
      "div",
      { class: "actions", role: "group", "aria-label": `Correct ${where}` },
      button("yes", "Yes", `it was ${where}`, () => this.say(target, was(name), "Yes.")),
      button("not", "Not this", `it was not ${where}`, () => this.say(target, wasNot(name), `Not ${name}.`)),
      button("other", "Another …", `it was another class than ${where}`, () => {
        chooser(`Taken for ${where}.`, [], (other) => this.say(target, was(other), `It was ${other}.`));
      }),
      button("nothing", "Nothing", `there was nothing, where it heard ${where}`, () => this.say(target, NOTHING, "It was nothing.")),
    );
    this.verdict = h("p", { class: "verdict", hidden: true });
    this.element.append(this.actions, this.verdict);
    return this;
  }

  async say(target, labels, text) {
    if (this.isBusy) return;
    this.isBusy = true;
    this.element.setAttribute("aria-busy", "true");
    await label(target, labels, (isTaken) => {
      setText(this.verdict, isTaken ? `You said: ${text}` : "");
      this.verdict.hidden = !isTaken;
    });
    this.element.removeAttribute("aria-busy");
    this.isBusy = false;
  }

  /** Of a time that the device knows nothing of any more. */
  close() {
    this.actions?.remove();
    this.actions = undefined;
    if (!this.isSounding) return;
    this.element.dataset.state = "ended";
    setText(this.length, "the end was not heard");
    this.event = { ...this.event, event: "closed" };
  }
}

/** The newest entries, the newest first. */
export class Heard {
  constructor() {
    this.list = byId("events");
    this.entries = [];
    this.showsSource = false;
    this.movedAt = 0;
    this.tickedAt = 0;
    this.list.addEventListener("click", (e) => this.guard(e), { capture: true });
  }

  /** Takes `began` and `heard`; the entry, where it is a new one. */
  add(event) {
    const same = this.entries.filter((e) => event.id !== undefined && e.event.id === event.id && e.event.source === event.source);
    const open = same.find((e) => e.isSounding);
    if (open && event.event === "heard") {
      open.update(event);
      return undefined;
    }
    // Its end came first, where messages were lost.
    if (event.event === "began" && same.some((e) => Math.abs(e.begin.monotonic_ns - event.begin.monotonic_ns) < 1e9)) return undefined;
    const entry = new Entry(event, this.showsSource);
    if (event.id !== undefined && this.isOfThisRun(entry)) entry.correctable();
    const isLater = (e) => e.at.boot_id.join() === entry.at.boot_id.join() && e.at.monotonic_ns > entry.at.monotonic_ns;
    const place = this.entries.findIndex((e) => !isLater(e));
    this.list.insertBefore(entry.element, this.entries[place]?.element ?? null);
    this.entries.splice(place < 0 ? this.entries.length : place, 0, entry);
    this.movedAt = performance.now();
    byId("heard-none").hidden = true;
    while (this.entries.length > HELD && !this.entries.at(-1).element.contains(document.activeElement)) {
      this.entries.pop().element.remove();
    }
    return entry;
  }

  /** The device was started at this moment of its clock: the numbers of events before it mean others now. */
  setRun(bootId, startNs) {
    this.run = { bootId, startNs };
    this.entries.filter((e) => !this.isOfThisRun(e)).forEach((e) => e.close());
  }

  isOfThisRun({ begin }) {
    return !this.run || (begin.boot_id.join() === this.run.bootId && begin.monotonic_ns >= this.run.startNs);
  }

  /** The device was started again. */
  clear() {
    this.entries = [];
    this.run = undefined;
    this.list.replaceChildren();
    byId("heard-none").hidden = false;
  }

  tick(now) {
    if (performance.now() - this.tickedAt < 1000) return;
    this.tickedAt = performance.now();
    this.entries.forEach((e) => e.tick(now));
  }

  guard(e) {
    const isPointer = e.detail > 0;
    if (!isPointer || performance.now() - this.movedAt > MOVED_MS) return;
    e.stopPropagation();
    message("The list moved just then. Press again.", "wait");
  }
}

/** Windows that a person is asked about. */
export class Questions {
  constructor(place) {
    this.list = byId("questions");
    // `place(ns)` makes a moment of the device's clock; by window, what the `asked` events say.
    this.place = place;
    this.asked = new Map();
    this.cards = new Map();
    this.waiting = [];
  }

  /** Takes an `asked` event; whether it is a new one. */
  add(event) {
    if (this.asked.has(event.window)) return false;
    this.asked.set(event.window, event);
    if (this.asked.size > 500) this.asked.delete(this.asked.keys().next().value);
    return true;
  }

  /** Asks the device what still waits. */
  async refresh() {
    this.waiting = await ask("/api/v1/questions");
    this.show();
  }

  show() {
    const shown = this.waiting.slice(-QUESTIONS_SHOWN).reverse();
    const windows = new Set(shown.map((q) => q.window));
    const hadFocus = this.list.contains(document.activeElement);
    for (const [window, card] of this.cards) {
      if (windows.has(window)) continue;
      card.remove();
      this.cards.delete(window);
    }
    shown.forEach((question, i) => {
      if (!this.cards.has(question.window)) this.cards.set(question.window, this.card(question));
      const card = this.cards.get(question.window);
      if (this.list.children[i] !== card) this.list.insertBefore(card, this.list.children[i] ?? null);
    });
    byId("asked").hidden = shown.length === 0;
    setText(byId("asked-count"), this.waiting.length > shown.length ? `${shown.length} of ${this.waiting.length}` : "");
    if (!hadFocus || this.list.contains(document.activeElement)) return;
    (this.list.querySelector("button") ?? byId("say-class")).focus();
  }

  card({ window, span_ns: [begin] }) {
    const event = this.asked.get(window);
    const guesses = event?.guesses ?? [];
    const time = when(event?.span[0] ?? this.place(begin));
    const target = { window };
    const say = async (labels) => {
      if (await label(target, labels)) {
        this.waiting = this.waiting.filter((q) => q.window !== window);
        this.show();
      }
    };
    const is = (name) => say(was(name));
    const isNew = event?.unknown >= 0.5 ? ` Perhaps new (${percent(event.unknown)}).` : "";
    const another = () => chooser(`Asked: ${time}.`, guesses, is);
    return h(
      "li",
      { class: "question card", "data-window": window },
      h("p", {}, `${time}: what was it?${isNew}`),
      h(
        "div",
        { class: "chips", role: "group", "aria-label": `What it was, ${time}` },
        ...guessButtons(guesses, is),
        h("button", { type: "button", "data-action": "other", "aria-label": `Another …: another class, ${time}`, onclick: another }, "Another …"),
        h("button", { type: "button", "data-action": "nothing", "aria-label": `Nothing: there was nothing, ${time}`, onclick: () => say(NOTHING) }, "Nothing"),
      ),
    );
  }
}

/** Older events, a page at a time. */
export class History {
  constructor() {
    // Numbers that the pages begin before; `undefined` is the newest page.
    this.pages = [undefined];
    byId("history-form").addEventListener("submit", (e) => {
      e.preventDefault();
      this.name = byId("history-class").value.trim();
      this.pages = [undefined];
      this.show();
    });
    byId("history-older").addEventListener("click", () => {
      this.pages.push(this.oldest);
      this.show();
    });
    byId("history-newer").addEventListener("click", () => {
      this.pages.pop();
      this.show();
    });
  }

  async show() {
    const query = new URLSearchParams({ kind: "heard", limit: PAGE });
    const before = this.pages.at(-1);
    if (before !== undefined) query.set("before", before);
    if (this.name) query.set("class", this.name);
    const turn = (this.turn = {});
    setText(byId("history-note"), "Looking …");
    let found;
    try {
      found = await ask(`/api/v1/events?${query}`);
    } catch (e) {
      return setText(byId("history-note"), e.message);
    }
    if (turn !== this.turn) return;
    byId("history-events").replaceChildren(...found.map(({ event }) => new Entry(event, true).element));
    this.oldest = found.at(-1)?.number;
    byId("history-older").hidden = found.length < PAGE;
    byId("history-newer").hidden = this.pages.length < 2;
    const of = this.name ? ` of ${this.name}` : "";
    setText(byId("history-note"), found.length === 0 ? `Nothing${before === undefined ? "" : " older"}${of}.` : `Page ${this.pages.length}: ${found.length} ${found.length === 1 ? "event" : "events"}${of}.`);
  }
}
