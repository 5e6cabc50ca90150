/** Arrays as the atlas's files hold them; nothing here knows the page. */

const KINDS = {
  int8: [Int8Array, 'getInt8'],
  int16: [Int16Array, 'getInt16'],
  uint16: [Uint16Array, 'getUint16'],
  uint32: [Uint32Array, 'getUint32'],
  float32: [Float32Array, 'getFloat32'],
};
const FULL = { int8: 127, int16: 32767 };

/**
 * @typedef {object} Packed
 * @property {string} kind
 * @property {number[]} shape
 * @property {string} data Little-endian, as base64.
 */

/**
 * @param {Packed} packed
 * @returns {ArrayLike<number>} All numbers, the last axis running fastest.
 */
export function numbers({ kind, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [Made, read] = KINDS[kind];
  const size = Made.BYTES_PER_ELEMENT;
  return Made.from({ length: bytes.length / size }, (_, at) => view[read](size * at, true));
}

/**
 * @param {{shares: Packed, largest: Packed}} rounded Rows as shares of each one's largest size.
 * @returns {Float32Array} The numbers.
 */
export function shares({ shares: packed, largest }) {
  const width = packed.shape.at(-1);
  const most = numbers(largest);
  const full = FULL[packed.kind];
  return Float32Array.from(
    numbers(packed),
    (share, at) => (share / full) * most[Math.floor(at / width)],
  );
}

/**
 * Rows of several lengths, one after the other.
 * @param {Packed} packed Shares of each row's largest size.
 * @param {Packed} largest
 * @param {Packed} first Where each row begins, and where the last ends.
 * @returns {(at: number) => number[]} A row's numbers.
 */
export function ragged(packed, largest, first) {
  const [every, most, begins] = [numbers(packed), numbers(largest), numbers(first)];
  const factor = 1 / FULL[packed.kind];
  return (at) =>
    Array.from(every.slice(begins[at], begins[at + 1]), (share) => share * factor * most[at]);
}

/**
 * @param {ArrayLike<number>} values
 * @param {number[]} shape
 * @param {number} at Of the first axis.
 * @returns {number[]} What belongs to it.
 */
export function rowOf(values, shape, at) {
  const size = shape.slice(1).reduce((product, length) => product * length, 1);
  return Array.from(values.slice(at * size, (at + 1) * size));
}
