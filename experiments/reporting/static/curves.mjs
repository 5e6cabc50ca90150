/**
 * Responses to a shift, evaluated in a browser: Chebyshev series as `negjax.response` makes them.
 *
 * A series holds for shifts in [-radius, radius]; its coefficients are of the Chebyshev polynomials
 * in shift / radius. Nothing here asks a server, and nothing is loaded.
 *
 * @typedef {object} Curves
 * @property {number} radius Largest shift, in units of the activation.
 * @property {number[][]} coefficients Of each of K tokens, m numbers, those of low degree first.
 * @property {number[]} slopes d value / d shift at no shift, of each token; measured, not read off
 *     the series.
 * @property {number[]} baseline Value of each token at no shift.
 */

/**
 * The sum of c_i · T_i(x) by Clenshaw's recurrence.
 * @param {number[]} coefficients Low degree first, one or more.
 * @param {number} x From -1 to 1.
 * @returns {number}
 */
export function chebyshev(coefficients, x) {
  let later = 0;
  let latest = 0;
  for (let degree = coefficients.length - 1; degree > 0; degree -= 1) {
    [later, latest] = [latest, coefficients[degree] + 2 * x * latest - later];
  }
  return coefficients[0] + x * latest - later;
}

/**
 * Values of all tokens at a shift.
 * @param {Curves} curves
 * @param {number} shift
 * @returns {number[]} In the unit of the series: of probabilities, P.
 * @throws {RangeError} A shift outside ±radius.
 */
export function values(curves, shift) {
  const x = scaled(curves, shift);
  return curves.coefficients.map((own) => chebyshev(own, x));
}

/**
 * What the derivatives at no shift predict: baseline + shift × slope, which may leave [0, 1].
 * @param {Curves} curves
 * @param {number} shift
 * @returns {number[]}
 * @throws {RangeError} A shift outside ±radius.
 */
export function tangents(curves, shift) {
  const inside = scaled(curves, shift) * curves.radius;
  return curves.baseline.map((value, token) => value + inside * curves.slopes[token]);
}

/**
 * Evenly spaced shifts from -radius to radius, for a drawing.
 * @param {Curves} curves
 * @param {number} count Two or more.
 * @returns {number[]}
 */
export function grid(curves, count) {
  return Array.from(
    { length: count },
    (_, place) => curves.radius * ((2 * place) / (count - 1) - 1),
  );
}

/**
 * Float32 numbers, little-endian, from base64.
 * @param {string} text
 * @returns {Float32Array}
 */
export function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, at) => view.getFloat32(4 * at, true));
}

/**
 * @param {Curves} curves
 * @param {number} shift
 * @returns {number} shift / radius
 */
function scaled(curves, shift) {
  const x = shift / curves.radius;
  // A slider's step may end a rounding outside; NaN is no shift either.
  if (!(Math.abs(x) <= 1 + 1e-9)) {
    throw new RangeError(`shift ${shift} is outside ±${curves.radius}, the range measured`);
  }
  return Math.min(1, Math.max(-1, x));
}
