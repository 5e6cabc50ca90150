/** What is asked for, by an address or in the search field; nothing here knows the page. */

const NEURON = /^\s*(?:L|layer\s*)?(\d+)\s*(?:[.:/]|,?\s+(?:neuron\s*)?)\s*(\d+)\s*$/i;
const LAYER = /^\s*(?:L|layer\s+)(\d+)\s*$/i;

/**
 * @param {string} hash Of the page's address.
 * @returns {{kind: string, at: any}} `neuron` (layer, index), `fact`, `token`, `layer` (numbers),
 *     `find` (a text), or `all`.
 */
export function placeOf(hash) {
  const neuron = /^#\/L(\d+)\.(\d+)$/.exec(hash);
  if (neuron !== null) {
    return { kind: 'neuron', at: [Number(neuron[1]), Number(neuron[2])] };
  }
  const numbered = /^#\/(fact|token|layer)\/(\d+)$/.exec(hash);
  if (numbered !== null) {
    return { kind: numbered[1], at: Number(numbered[2]) };
  }
  const find = /^#\/find\/(.+)$/.exec(hash);
  return find === null ? { kind: 'all', at: null } : { kind: 'find', at: plain(find[1]) };
}

/**
 * @param {string} text As typed.
 * @returns {string} The address of what it asks for.
 */
export function addressOf(text) {
  const neuron = NEURON.exec(text);
  if (neuron !== null) {
    return `#/L${Number(neuron[1])}.${Number(neuron[2])}`;
  }
  const layer = LAYER.exec(text);
  if (layer !== null) {
    return `#/layer/${Number(layer[1])}`;
  }
  // Half of a surrogate pair has no address.
  const whole = text.trim().replace(/[\ud800-\udfff]/gu, '');
  return whole === '' ? '#/' : `#/find/${encodeURIComponent(whole)}`;
}

/**
 * @param {string[]} names
 * @param {string} text
 * @returns {number[]} Places of the names that are the text, then of those that begin with it, then
 *     of those that hold it; letters' case and spaces around do not count.
 */
export function matches(names, text) {
  const sought = normal(text);
  const found = [[], [], []];
  if (sought === '') {
    return [];
  }
  names.forEach((name, at) => {
    const own = normal(name);
    if (own === sought) {
      found[0].push(at);
    } else if (own.startsWith(sought)) {
      found[1].push(at);
    } else if (own.includes(sought)) {
      found[2].push(at);
    }
  });
  return found.flat();
}

function normal(text) {
  return text.trim().toLowerCase();
}

function plain(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
