/** Numbers by which neurons are sorted, and how they are written; nothing here knows the page. */

/** Columns: name of the data, head, what it means, how it is written, whether size alone counts. */
export const COLUMNS = [
  ['slope', 'NeurGrad', 'On the fact where it is largest in size: change of P(answer) per unit of activation', signed, true],
  ['neg', 'NEG', 'Exact slope of the line through the shifts, on the same fact', signed, true],
  ['pearson', 'r', 'Linearity: Pearson r of the shifts and changes that NEG is of', fixed(3), true],
  ['straight', 'straight to', 'Shift up to which the curve follows its tangent, in units of the activation; a dash where the curve is not resolved', fixed(2), false],
  ['size', 'mean |NeurGrad|', 'Over all facts', exponent, false],
  ['raises', 'raises', 'Share of the facts whose answer it raises', share, false],
  ['firing', 'fires', 'Share of the tokens of the texts at which it fires', share, false],
  ['mean', 'activation', 'Mean over the tokens of the texts', fixed(3), true],
];

/**
 * @param {ArrayLike<number> | null} values By neuron; null: by its number.
 * @param {number[]} chosen Numbers of neurons.
 * @param {boolean} descending
 * @param {boolean} bySize Whether signs do not count.
 * @returns {number[]} The same, sorted; what is no number comes last, equal ones by number.
 */
export function ordered(values, chosen, descending, bySize) {
  const way = descending ? -1 : 1;
  const key = (at) => (values === null ? at : bySize ? Math.abs(values[at]) : values[at]);
  return [...chosen].sort((a, b) => {
    const [first, second] = [key(a), key(b)];
    const lost = Number(Number.isNaN(first)) - Number(Number.isNaN(second));
    return lost || way * (first - second) || a - b;
  });
}

/** @param {number} value @returns {string} With its sign, three figures. */
export function signed(value) {
  if (Number.isNaN(value)) {
    return '—';
  }
  const size = Math.abs(value);
  const text = size !== 0 && size < 1e-3 ? size.toExponential(1) : size.toPrecision(3);
  return `${value < 0 ? '−' : '+'}${text.replace('e-', 'e−').replace('e+', 'e')}`;
}

/** @param {number} value @returns {string} In per cent. */
export function share(value) {
  return Number.isNaN(value) ? '—' : `${(100 * value).toFixed(1)}%`;
}

/** @param {number} value @returns {string} A probability, in per cent, small ones with two figures. */
export function percent(value) {
  const size = Math.abs(100 * value);
  return `${size !== 0 && size < 1 ? (100 * value).toPrecision(2) : (100 * value).toFixed(1)}%`;
}

function exponent(value) {
  return signed(value).slice(1);
}

function fixed(digits) {
  return (value) => (Number.isNaN(value) ? '—' : value.toFixed(digits).replace('-', '−'));
}
