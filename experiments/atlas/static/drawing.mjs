/** Elements whose texts are never markup, bars, and the chart of a curve. */

import { grid } from './curves.mjs';
import { percent, signed } from './table.mjs';

const SVG = 'http://www.w3.org/2000/svg';
const POINTS = 161;

/**
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {...(Node | string)} children Texts stay texts.
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** As `make`, of SVG. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * A list of names with bars to either side of a middle.
 * @param {{name: Node, value: number}[]} entries
 * @param {number} most Size of a bar of full length.
 * @returns {HTMLElement}
 */
export function bars(entries, most) {
  const rows = entries.map(({ name, value }) => {
    const length = most > 0 ? Math.min(1, Math.abs(value) / most) * 50 : 0;
    const bar = draw('rect', { x: value < 0 ? 50 - length : 50, y: 0, width: length, height: 10 });
    bar.setAttribute('fill', `var(--${value < 0 ? 'down' : 'up'})`);
    const middle = draw('line', { x1: 50, x2: 50, y1: 0, y2: 10, stroke: 'var(--soft)' });
    const shown = { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' };
    return make('li', {}, name, draw('svg', shown, bar, middle), make('output', {}, signed(value)));
  });
  return make('ul', { class: 'bars' }, ...rows);
}

/**
 * Round steps of an axis.
 * @param {number} low
 * @param {number} high
 * @returns {number[]}
 */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, at) => (first + at) * step);
}

/**
 * A curve of P(answer), its tangent, and the range in which they are alike.
 * @param {SVGElement} chart
 * @param {{radius: number, straight: number | null, baseline: number,
 *     value: (shift: number) => number, tangent: (shift: number) => number}} curve
 * @returns {(shift: number) => void} Moves the line that marks a shift.
 */
export function drawCurve(chart, curve) {
  const width = Math.max(280, Math.round(chart.getBoundingClientRect().width));
  const [left, right, top, bottom] = [58, width - 12, 10, 215];
  chart.replaceChildren();
  chart.setAttribute('viewBox', `0 0 ${width} 260`);
  const shifts = grid({ radius: curve.radius }, POINTS);
  const values = shifts.map(curve.value);
  const spread = Math.max(...values) - Math.min(...values) || curve.baseline || 1e-9;
  const low = Math.max(-0.05, Math.min(...values) - 0.12 * spread);
  const high = Math.min(1.05, Math.max(...values) + 0.12 * spread);
  const x = (shift) => left + ((shift / curve.radius + 1) / 2) * (right - left);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const put = (...given) => chart.appendChild(draw(...given));
  if (curve.straight !== null) {
    const [from, to] = [x(-curve.straight), x(curve.straight)];
    put('rect', { class: 'range', x: from, y: top, width: to - from, height: bottom - top });
  }
  for (const value of ticks(low, high)) {
    put('line', { class: 'axis', x1: left, x2: right, y1: y(value), y2: y(value) });
    put('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, percent(value));
  }
  for (const shift of ticks(-curve.radius, curve.radius)) {
    put('text', { x: x(shift), y: bottom + 16, 'text-anchor': 'middle' }, String(Number(shift.toPrecision(3))).replace('-', '−'));
  }
  put('text', { x: (left + right) / 2, y: bottom + 36, 'text-anchor': 'middle' }, 'shift, in units of the activation');
  put('line', { class: 'axis', x1: x(0), x2: x(0), y1: top, y2: bottom });
  const path = (height) => {
    const inside = shifts.filter((shift) => height(shift) >= low && height(shift) <= high);
    // A curve that is no number has no path.
    return inside.length === 0 ? '' : `M${inside.map((shift) => `${x(shift).toFixed(1)} ${y(height(shift)).toFixed(1)}`).join('L')}`;
  };
  put('path', { class: 'tangent', d: path(curve.tangent) });
  put('path', { class: 'curve', d: path(curve.value) });
  const now = put('line', { class: 'now', y1: top, y2: bottom });
  return (shift) => {
    now.setAttribute('x1', String(x(shift)));
    now.setAttribute('x2', String(x(shift)));
  };
}
