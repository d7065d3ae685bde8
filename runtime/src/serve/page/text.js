// Words on the page: elements, times, shares and class names. What comes from the device is set as text, never as markup.

/** An element with attributes, listeners (`onclick`) and children, each an element or text. */
export function h(tag, attributes = {}, ...children) {
  const [name, space] = tag.startsWith("svg:") ? [tag.slice(4), "http://www.w3.org/2000/svg"] : [tag, "http://www.w3.org/1999/xhtml"];
  const element = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((c) => c !== undefined && c !== null && c !== ""));
  return element;
}

/** The element of this id. */
export const byId = (id) => document.getElementById(id);

/** Sets text where it differs, so that screen readers are not told what they know. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A share as a person reads it. */
export function percent(p) {
  return `${Math.round(100 * p)}\u00a0%`;
}

/** Milliseconds to three digits. */
export function millis(ms) {
  return ms >= 10000 ? `${(ms / 1000).toFixed(1)}\u00a0s` : ms >= 10 || ms === 0 ? `${Math.round(ms)}\u00a0ms` : `${ms.toFixed(1)}\u00a0ms`;
}

/** A whole number with its thousands apart. */
export const count = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");

/** `1 window`, `6 windows`. */
export const windows = (n) => `${count(n)} ${n === 1 ? "window" : "windows"}`;

/** h:mm:ss. */
export function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** When it was: local time where the device knew it, with the day where that is not today; else since the device was switched on. */
export function when(moment) {
  if (moment === undefined || moment === null) return "at an unknown time";
  if (moment.wall_ms === null || moment.wall_ms === undefined) return `after start +${clock(moment.monotonic_ns / 1e9)}`;
  const date = new Date(moment.wall_ms);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" })}, `;
  const within = moment.uncertainty_ms;
  const about = within >= 1000 && within < 0xffffffff ? ` ± ${clock(Math.ceil(within / 1000))}` : "";
  return `${day}${time}${about}`;
}

/** A moment as ISO 8601, where it is known. */
export function iso(moment) {
  const date = new Date(moment?.wall_ms ?? NaN);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** A class name, in quotes where labels need them. */
export function quoted(name) {
  const needs = name.includes(";") || /^[!"]/.test(name) || name === "*";
  return needs ? `"${name.replaceAll('"', '""')}"` : name;
}

/** Labels as a sentence goes on: `wren, not jay`; none is `nothing`. */
export function said(classes) {
  if (classes.length === 0) return "nothing";
  return classes.map((c) => (c.startsWith("!") ? `not ${c.slice(1)}` : c)).join(", ");
}
