// The link to the device: requests with the token, and the stream, which is taken up again where it broke off.

const KEY = "wheatear-token";
const REQUEST_MS = 20000;
// The device sends several messages a second; a line that is silent for so long is dead.
const QUIET_MS = 20000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
const LONGEST_LINE = 1 << 20;

let token = "";
let wake = () => {};

/** An answer that is an error, or no answer (`status` 0). */
export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

/** Takes the token from the address, or from the last visit, and takes it out of the address. */
export function takeToken() {
  try {
    token = localStorage.getItem(KEY) ?? "";
  } catch {
    // The browser keeps nothing: the token lives as long as the page.
  }
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    keepToken(decodeURIComponent(found[1]));
  } catch {
    keepToken(found[1]);
  }
}

/** Uses this token from now on. */
export function keepToken(text) {
  token = text.trim();
  try {
    localStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
  wake();
}

/** Whether a token is known. */
export const hasToken = () => token !== "";

/** Tries the stream at once, where it waits. */
export const tryNow = () => wake();

function headers(more) {
  // What no header can carry cannot be the token either.
  const sendable = /^[\x21-\x7e]+$/.test(token);
  return sendable ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function refusal(response) {
  let text = `the device answered ${response.status}`;
  try {
    text = (await response.json()).error.text;
  } catch {
    // Not an error of the API: the number has to do.
  }
  return new Refused(text, response.status);
}

/** GET, or POST where there is a body; the JSON of the answer. Throws `Refused`. */
export async function ask(path, body) {
  const init = { headers: headers({}), cache: "no-store", signal: AbortSignal.timeout(REQUEST_MS) };
  if (body !== undefined) {
    Object.assign(init, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new Refused("The device cannot be reached. Is it on, and on the same network?", 0);
  }
  if (!response.ok) throw await refusal(response);
  try {
    return await response.json();
  } catch {
    throw new Refused("The device broke off its answer.", 0);
  }
}

/** Reads text in pieces as server-sent events; calls `tell(name, data, id)` and `comment(text)`. */
export function parser(tell, comment) {
  let rest = "";
  let name = "";
  let id;
  let data = [];
  const line = (text) => {
    if (text === "") {
      if (data.length > 0) tell(name || "message", data.join("\n"), id);
      [name, id, data] = ["", undefined, []];
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "") comment(value);
    else if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
  };
  return (text) => {
    rest += text;
    // A line feed may yet follow a carriage return at the end.
    const whole = /\r$/.test(rest) ? rest.slice(0, -1) : rest;
    const lines = whole.split(/\r\n|\n|\r/);
    rest = lines.pop() + rest.slice(whole.length);
    if (rest.length > LONGEST_LINE) throw new Error("a line of the stream is too long");
    lines.forEach(line);
  };
}

/**
 * Follows the stream for ever. `greet()` is awaited before each try and gives the id of the last message known; `opened()` is awaited once
 * the stream is open, before its first message, so that nothing falls between the past and the stream. `tell(name, value, id)` takes each
 * message, `lost(count)` how many were lost, `state(what, text)` how the link is.
 */
export async function follow({ greet, opened, tell, lost, state }) {
  let wait = FIRST_WAIT_MS;
  for (;;) {
    let text = "";
    let wanted = false;
    try {
      const last = await greet();
      await once(last, tell, lost, async () => {
        await opened();
        wait = FIRST_WAIT_MS;
        state("connected", "Connected");
      });
      text = "The device ended the stream";
    } catch (e) {
      wanted = e.status === 401;
      text = e instanceof Refused && e.status !== 0 ? e.message : "The device cannot be reached";
    }
    if (wanted) {
      state("token", "Needs a token");
      await woken();
      state("connecting", "Connecting");
    } else {
      // Not all pages at once, when the device is back.
      const pause = wait * (0.75 + Math.random() / 2);
      state("lost", `${text.replace(/\.$/, "")}; trying again`);
      await woken(pause);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }
}

function woken(ms) {
  return new Promise((done) => {
    const timer = ms === undefined ? 0 : setTimeout(done, ms);
    wake = () => {
      clearTimeout(timer);
      done();
    };
  });
}

async function once(last, tell, lost, open) {
  const stop = new AbortController();
  let timer = setTimeout(() => stop.abort(), QUIET_MS);
  try {
    const more = last === undefined ? {} : { "Last-Event-ID": String(last) };
    const response = await fetch("/api/v1/stream?sound=1", { headers: headers(more), cache: "no-store", signal: stop.signal });
    if (!response.ok) throw await refusal(response);
    await open();
    const reader = response.body.getReader();
    const text = new TextDecoder();
    const parse = parser(
      (name, data, id) => tell(name, JSON.parse(data), id),
      (comment) => {
        const count = /^lost (\d+)/.exec(comment);
        if (count) lost(Number(count[1]));
      },
    );
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), QUIET_MS);
      parse(text.decode(value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
    // Where reading failed half-way, the connection must not stay open.
    stop.abort();
  }
}
