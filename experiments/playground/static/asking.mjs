/** Requests of the page to its server; each kind's last one counts, an earlier one is given up. */

const running = new Map();
const TOKEN = 'playground-token';

/** An error that the page shows beside a field. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {string | null} field
   */
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** Takes the token out of the address, where links and pictures of the screen would show it. */
export function keepToken() {
  const address = new URL(location.href);
  const token = address.searchParams.get('token');
  if (token !== null) {
    sessionStorage.setItem(TOKEN, token);
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
  }
}

/**
 * @param {string} name Of what is asked: `model`, `answer`, `neg`, `curves`, `steer`, `write`,
 *     `python`.
 * @param {object} [body] Left out: a GET.
 * @returns {Promise<any>}
 * @throws {Refused} What the server says against it.
 * @throws {DOMException} `AbortError`: the same was asked again, or `giveUp` was called.
 */
export async function ask(name, body) {
  running.get(name)?.abort();
  const control = new AbortController();
  running.set(name, control);
  const headers = { 'x-playground-token': sessionStorage.getItem(TOKEN) ?? '' };
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
  }
  let response;
  try {
    response = await fetch(`/api/${name}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: control.signal,
    });
  } catch (error) {
    if (error.name === 'AbortError') {
      throw error;
    }
    throw new Refused('the server does not answer; is the program still running?', null);
  } finally {
    if (running.get(name) === control) {
      running.delete(name);
    }
  }
  const found = await response.json();
  if (!response.ok) {
    throw new Refused(found.error, found.field);
  }
  return found;
}

/** Gives up requests whose question is no longer asked; the server drops what it has not begun. */
export function giveUp() {
  for (const control of running.values()) {
    control.abort();
  }
  running.clear();
}
