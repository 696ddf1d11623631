// The HTTP API: JSON with the operator's token, which this tab keeps and no other sees.

const BASE = new URL("api/v1/", document.baseURI);
const TOKEN = "lispmsrt-token";

/** What the server refused, in its own words. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** The server can't be reached at all. */
export class Unreachable extends Error {}

const listeners = new Set();
let token = "";
let isTrusted = false;
try {
  token = sessionStorage.getItem(TOKEN) ?? "";
} catch {
  // Storage is switched off: the token lives as long as the page.
}

/** Have a function called when the server wants a (new) token. */
export function onTokenWanted(listener) {
  listeners.add(listener);
}

/** Keep a token, or forget it (""). */
export function setToken(text) {
  token = text.trim();
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // As above.
  }
}

export function hasToken() {
  return token !== "";
}

/** Whether actions are worth offering: with a token, or where the server says it needs none. */
export function mayAct() {
  return hasToken() || isTrusted;
}

/** Send a request; the answer is of a good status, else ApiError or Unreachable is thrown. */
export async function send(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), { cache: "no-store", credentials: "omit", ...options, headers });
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Unreachable("the server can't be reached");
  }
  isTrusted = answer.headers.get("Lispmsrt-Actions") === "allowed";
  if (answer.ok) return answer;
  const reason = await reasonOf(answer);
  if (answer.status === 401) for (const listener of listeners) listener(reason);
  throw new ApiError(answer.status, reason);
}

async function reasonOf(answer) {
  try {
    const { error } = await answer.json();
    if (error) return String(error);
  } catch {
    // No JSON: something between us and the server has answered.
  }
  return `the server answered with status ${answer.status}`;
}

/** Return what a view has to say. Query values that are empty are left out. */
export async function get(path, query = {}, signal) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept).toString();
  return (await send(text ? `${path}?${text}` : path, { signal })).json();
}

/** Have an action done. */
export async function act(name, body) {
  const headers = { "Content-Type": "application/json" };
  return (await send(`actions/${name}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
}
