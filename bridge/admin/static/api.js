// The bridge's side of the console: requests with the operator's token, and streams that come back.

const BASE = new URL("api/", document.baseURI);
const TOKEN_KEY = "bridge-admin-token";
const EVENT_CHARACTERS_MAX = 16 * 1024 * 1024;
const REQUEST_MILLISECONDS_MAX = 40_000; // Above what an errand on the bus may take.
const WAIT_MILLISECONDS_MIN = 500;
const WAIT_MILLISECONDS_MAX = 15_000;
const STEADY_MILLISECONDS_MIN = 5_000; // A stream that held so long starts the waits anew.

/** What the bridge says no with, or that it does not answer (status 0). */
export class ApiError extends Error {
  constructor(status, { code = "", message = "", field = null } = {}) {
    super(message || `The bridge answered with status ${status}.`);
    this.status = status;
    this.code = code;
    this.field = field;
  }
}

/** The operator's token, for as long as the tab is open. Tells "unauthorized" when it is wrong. */
class Session extends EventTarget {
  get token() {
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  }

  signIn(token) {
    sessionStorage.setItem(TOKEN_KEY, token);
  }

  signOut() {
    if (!this.token) return; // Several requests are refused at once.
    sessionStorage.removeItem(TOKEN_KEY);
    this.dispatchEvent(new Event("unauthorized"));
  }
}

export const session = new Session();

/** Ask for something. Throws ApiError, or what `signal` was aborted with. */
export function get(path, { signal } = {}) {
  return request(path, { signal });
}

/** Have something done. Throws ApiError, or what `signal` was aborted with. */
export function post(path, body, { signal } = {}) {
  return request(path, { signal, method: "POST", body: JSON.stringify(body) });
}

async function request(path, { signal, method = "GET", body } = {}) {
  const limit = AbortSignal.timeout(REQUEST_MILLISECONDS_MAX);
  try {
    const response = await send(path, { signal: signal ? AbortSignal.any([signal, limit]) : limit, method, body });
    return await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ApiError) throw error;
    // It can break off in the middle of an answer, too.
    throw new ApiError(0, { message: limit.aborted ? "The bridge takes too long to answer." : "The bridge does not answer." });
  }
}

/** Throws ApiError for what is refused, and what `fetch` throws. */
async function send(path, { signal, method, body, accept = "application/json" }) {
  const headers = { Accept: accept, Authorization: `Bearer ${session.token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(new URL(path, BASE), { method, body, headers, signal, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  if (response.status === 401) session.signOut();
  throw new ApiError(response.status, said.error);
}

/**
 * Read server-sent events until `signal` is aborted; come back when the stream ends.
 * @param {string} path
 * @param {{signal: AbortSignal, onEvent: (name: string, data: any) => void,
 *   onState: (state: "connecting" | "open" | "lost", more?: {seconds: number, error: Error}) => void,
 *   wake?: EventTarget}} options `wake` tells "wake" to try again at once
 */
export async function stream(path, { signal, onEvent, onState, wake }) {
  let tries = 0;
  onState("connecting");
  while (!signal.aborted) {
    const began = Date.now();
    let failure = new ApiError(0, { message: "The bridge has ended the stream." });
    try {
      const response = await send(path, { signal, method: "GET", accept: "text/event-stream" });
      onState("open");
      await read(response.body, onEvent);
    } catch (error) {
      failure = error;
    }
    if (signal.aborted || failure.status === 401) return;
    if (Date.now() - began > STEADY_MILLISECONDS_MIN) tries = 0;
    const longest = Math.min(WAIT_MILLISECONDS_MAX, WAIT_MILLISECONDS_MIN * 2 ** tries);
    const milliseconds = longest / 2 + (Math.random() * longest) / 2;
    tries += 1;
    onState("lost", { seconds: milliseconds / 1000, error: failure });
    await wait(milliseconds, signal, wake);
  }
}

async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r\n", "\n");
      const events = text.split("\n\n");
      text = events.pop();
      if (text.length > EVENT_CHARACTERS_MAX) throw new ApiError(0, { message: "The bridge sent an event that is too long." });
      for (const event of events) deliver(event, onEvent);
    }
  } finally {
    reader.cancel().catch(() => {}); // Else a stream that is given up here would stay open, one of the few that the node has.
  }
}

function deliver(event, onEvent) {
  let name = "message";
  const data = [];
  for (const line of event.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (data.length) onEvent(name, JSON.parse(data.join("\n")));
}

/** Wait; shorter if `signal` is aborted or `wake` tells "wake". */
export function wait(milliseconds, signal, wake) {
  return new Promise((resolve) => {
    const ending = new AbortController();
    const end = () => {
      clearTimeout(timer);
      ending.abort();
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { signal: ending.signal });
    wake?.addEventListener("wake", end, { signal: ending.signal });
  });
}

/**
 * Ask again and again until `signal` is aborted, but not while the page is hidden.
 * @returns {() => void} a function that asks at once
 */
export function poll(path, { seconds, signal, onValue, onError = () => {} }) {
  const wake = new EventTarget();
  const now = () => wake.dispatchEvent(new Event("wake"));
  document.addEventListener("visibilitychange", () => document.hidden || now(), { signal });
  (async () => {
    while (!signal.aborted) {
      if (!document.hidden) {
        try {
          const value = await get(path, { signal });
          onError(null);
          onValue(value);
        } catch (error) {
          if (signal.aborted || error.status === 401) return;
          if (!(error instanceof ApiError)) throw error;
          onError(error.status ? error : null); // That nobody answers, the banner says.
        }
      }
      await wait(seconds * 1000, signal, wake);
    }
  })();
  return now;
}
