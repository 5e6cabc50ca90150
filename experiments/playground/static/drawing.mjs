/** The chart and the bars; they ask no server. */

import { grid, tangents, values } from '/shared/curves.mjs';
import { colour } from '/shared/neuron_map.mjs';

const SVG = 'http://www.w3.org/2000/svg';
const LEFT = 44;
export const HEIGHT = 300;
const NARROWEST = 280;
const TOP = 10;
const BOTTOM = 262;
const POINTS = 201;

/**
 * @param {number} probability
 * @returns {string}
 */
export function percent(probability) {
  const share = 100 * probability;
  const few = Math.abs(share) < 0.995 && share !== 0;
  return `${written(few ? share.toPrecision(2) : share.toFixed(1))}%`;
}

/**
 * @param {string | number} number
 * @returns {string} As readers see it: a minus is one.
 */
export function written(number) {
  return String(number).replaceAll('-', '−');
}

/**
 * @param {string} text Of a token.
 * @returns {string} In quotes, in one line.
 */
export function quoted(text) {
  return `“${text.replaceAll(' ', '\u00a0')}”`;
}

/**
 * Draws curves of all tokens, the answer's tangent, and a line that the slider moves.
 * @param {SVGSVGElement} chart
 * @param {any} curves As the server gives them.
 * @returns {(shift: number) => void} Moves the line.
 */
export function drawChart(chart, curves) {
  chart.replaceChildren();
  const width = Math.max(NARROWEST, Math.round(chart.getBoundingClientRect().width));
  chart.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  const right = width - 10;
  const shifts = grid(curves, POINTS);
  const x = (shift) => LEFT + ((shift / curves.radius + 1) / 2) * (right - LEFT);
  const y = (value) => BOTTOM - Math.min(1.2, Math.max(-0.2, value)) * (BOTTOM - TOP);
  const part = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) {
      element.setAttribute(key, String(value));
    }
    element.textContent = text ?? '';
    chart.append(element);
    return element;
  };
  const [line, soft, front] = [colour('--line'), colour('--soft'), colour('--front')];
  const words = { fill: soft, 'font-size': 12, 'font-family': 'system-ui, sans-serif' };
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    part('line', { x1: LEFT, x2: right, y1: y(share), y2: y(share), stroke: line });
    part('text', { x: LEFT - 6, y: y(share) + 4, 'text-anchor': 'end', ...words }, share);
  }
  for (const share of [-1, -0.5, 0, 0.5, 1]) {
    const at = Number((share * curves.radius).toPrecision(3));
    const anchor = share === 1 ? 'end' : 'middle';
    const tick = { x: x(share * curves.radius), y: 278, 'text-anchor': anchor };
    part('text', { ...tick, ...words }, written(at));
  }
  part('text', { x: LEFT, y: 297, ...words }, 'shift, in units of the activation');
  const inside = `M${LEFT} ${TOP}H${right}V${BOTTOM}H${LEFT}Z`;
  const clip = part('clipPath', { id: 'inside' });
  const frame = document.createElementNS(SVG, 'path');
  frame.setAttribute('d', inside);
  clip.append(frame);
  const path = (values) =>
    `M${shifts.map((shift, at) => `${x(shift).toFixed(2)} ${y(values[at]).toFixed(2)}`).join('L')}`;
  const every = shifts.map((shift) => values(curves, shift));
  const drawn = { fill: 'none', 'clip-path': 'url(#inside)' };
  curves.tokens.forEach((_, token) => {
    part('path', {
      d: path(every.map((row) => row[token])),
      stroke: colour(`--token-${token}`),
      'stroke-width': token === 0 ? 3.5 : 1.5,
      ...drawn,
    });
  });
  part('path', {
    d: path(shifts.map((shift) => tangents(curves, shift)[0])),
    stroke: colour('--token-0'),
    'stroke-width': 2,
    'stroke-dasharray': '6 5',
    ...drawn,
  });
  const marker = part('line', { y1: TOP, y2: BOTTOM, stroke: front, 'stroke-width': 1.5 });
  return (shift) => {
    marker.setAttribute('x1', String(x(shift)));
    marker.setAttribute('x2', String(x(shift)));
  };
}

/**
 * Rows of the tokens' table.
 * @param {HTMLElement} body
 * @param {any} curves As the server gives them.
 * @returns {(shift: number) => void} Sets the bars and numbers to a shift.
 */
export function drawBars(body, curves) {
  const rows = curves.tokens.map((token, number) => {
    const row = document.createElement('tr');
    row.className = number === 0 ? 'answer' : '';
    const cells = Array.from({ length: 5 }, () => row.insertCell());
    cells[0].textContent = token.text;
    cells[0].title = `token ${token.id}`;
    cells[4].textContent = percent(curves.baseline[number]);
    const track = document.createElement('div');
    track.className = 'track';
    track.setAttribute('aria-hidden', 'true');
    const bar = document.createElement('i');
    bar.style.background = `var(--token-${number})`;
    const mark = document.createElement('b');
    track.append(bar, mark);
    cells[1].append(track);
    body.append(row);
    return { row, bar, mark, exact: cells[2], predicted: cells[3] };
  });
  body.replaceChildren(...rows.map(({ row }) => row));
  return (shift) => {
    const predicted = tangents(curves, shift);
    values(curves, shift).forEach((value, number) => {
      const { bar, mark, exact, predicted: cell } = rows[number];
      bar.style.transform = `scaleX(${Math.min(1, Math.max(0, value))})`;
      mark.style.left = `${100 * Math.min(1, Math.max(0, predicted[number]))}%`;
      exact.textContent = percent(value);
      cell.textContent = percent(predicted[number]);
    });
  };
}
