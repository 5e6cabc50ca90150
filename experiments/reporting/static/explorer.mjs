/**
 * Points of a report's figure that can be pointed at, and the curve behind each.
 *
 * A report holds this module and what it reads: nothing is loaded, and nobody is asked.
 *
 * @typedef {object} Points
 * @property {string[]} axes Names of the two predictions that are compared: across, up.
 * @property {number} radius Largest shift of the curves, in units of the activation.
 * @property {{text: string, answer: string}[]} prompts
 * @property {Float32Array} prompt Of each of P points, its prompt's place.
 * @property {Float32Array} layer
 * @property {Float32Array} neuron
 * @property {Float32Array} across Per unit of activation; the slope at no shift as well.
 * @property {Float32Array} up Per unit of activation.
 * @property {Float32Array} baseline P(answer) at no shift.
 * @property {Float32Array} error Estimated largest error of the curve.
 * @property {Float32Array} coefficients Chebyshev series of P(answer), as many a point as another.
 */

import { grid, tangents, unpacked, values } from './curves.mjs';

const SVG = 'http://www.w3.org/2000/svg';
const SIZE = { width: 460, height: 340, left: 62, right: 448, top: 12, bottom: 300 };
const INK = { point: '#0072B2', chosen: '#D55E00', soft: '#555', line: '#ccc' };
const DRAWN = 161;
const NEAR = 14; // Pixels between the pointer and a point that it means.

/**
 * @param {any} given As the report holds it: arrays of numbers as base64.
 * @returns {Points}
 */
export function points(given) {
  const arrays = Object.entries(given.arrays).map(([name, text]) => [name, unpacked(text)]);
  return { ...given, ...Object.fromEntries(arrays) };
}

/**
 * The curve behind a point, as the functions of series read it.
 * @param {Points} all
 * @param {number} at
 */
export function curveOf(all, at) {
  const count = all.coefficients.length / all.prompt.length;
  return {
    radius: all.radius,
    coefficients: [Array.from(all.coefficients.subarray(at * count, (at + 1) * count))],
    slopes: [all.across[at]],
    baseline: [all.baseline[at]],
  };
}

/**
 * A scale that is linear about 0 and logarithmic beyond, from -1 to 1.
 * @param {Float32Array[]} columns What it is to hold.
 * @returns {{linear: number, most: number, place: (value: number) => number}}
 */
export function scale(columns) {
  const sizes = columns.flatMap((column) => Array.from(column, Math.abs)).filter((size) => size > 0);
  sizes.sort((a, b) => a - b);
  const linear = sizes[Math.floor(sizes.length / 2)] ?? 1;
  const most = sizes.at(-1) ?? 1;
  const place = (value) =>
    (Math.sign(value) * Math.log1p(Math.abs(value) / linear)) / Math.log1p(most / linear);
  return { linear, most, place };
}

/**
 * The point that lies nearest to a place, if one is near.
 * @param {{x: number, y: number}[]} places In pixels.
 * @param {number} x
 * @param {number} y
 * @returns {number} -1: none is near.
 */
export function nearest(places, x, y) {
  let best = -1;
  let least = NEAR * NEAR;
  places.forEach((place, at) => {
    const distance = (place.x - x) ** 2 + (place.y - y) ** 2;
    if (distance < least) {
      [best, least] = [at, distance];
    }
  });
  return best;
}

/**
 * The point of a neuron that is named by its layer and its number.
 * @param {Points} all
 * @param {string} name Such as "20.133", or "20 133".
 * @param {number} after The search begins behind this point, so that asking again goes on.
 * @returns {number} -1: there is none.
 */
export function found(all, name, after) {
  const [layer, neuron] = name.split(/[^0-9]+/).filter(Boolean).map(Number);
  const count = all.prompt.length;
  for (let step = 1; step <= count; step += 1) {
    const at = (after + step) % count;
    if (all.layer[at] === layer && all.neuron[at] === neuron) {
      return at;
    }
  }
  return -1;
}

/**
 * @param {number} value
 * @param {number} digits
 * @returns {string}
 */
export function plain(value, digits = 3) {
  return value.toPrecision(digits).replaceAll('-', '−');
}

/**
 * @param {number} value
 * @returns {string} Three digits, with a sign.
 */
export function signed(value) {
  return `${value < 0 ? '' : '+'}${plain(value)}`;
}

/**
 * Draws what a page holds of one kind.
 * @param {ParentNode} page
 * @param {string} selector Of the elements.
 * @param {(place: Element, all: any) => void} draw
 */
export function begin(page, selector, draw) {
  for (const place of page.querySelectorAll(selector)) {
    // Before it is drawn: what is hidden has no width.
    place.hidden = false;
    draw(place, points(JSON.parse(place.querySelector('script').textContent)));
  }
}

/**
 * A new element within another.
 * @param {Element} within
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} text
 */
export function added(within, name, attributes, text = '') {
  const drawn = ['svg', 'path', 'line', 'circle', 'text'].includes(name);
  const element = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, String(value));
  }
  element.textContent = text;
  within.append(element);
  return element;
}

/**
 * @param {Element} place
 * @param {Points} all
 */
export function explore(place, all) {
  const { prompts, prompt, layer, neuron, across, up, axes } = all;
  const name = (at) =>
    `layer ${layer[at]}, neuron ${neuron[at]}: “${prompts[prompt[at]].text}” → ` +
    `“${prompts[prompt[at]].answer}”`;
  const order = Array.from(across.keys()).sort((a, b) => across[a] - across[b]);
  const both = added(place, 'div', { class: 'both' });
  const canvas = added(both, 'canvas', {
    tabindex: 0,
    role: 'application',
    'aria-label': `${prompt.length} neurons by ${axes.join(' and ')}; arrow keys go from one to the next`,
  });
  const chart = added(both, 'svg', {
    role: 'img',
    'aria-label': 'Curve of the chosen neuron',
    viewBox: `0 0 ${SIZE.width} ${SIZE.height}`,
  });
  const said = added(place, 'p', { class: 'said', 'aria-live': 'polite' });
  const controls = added(place, 'p', { class: 'controls' });
  const shiftLabel = added(controls, 'label', {}, 'Shift ');
  const slider = added(shiftLabel, 'input', {
    type: 'range',
    min: -all.radius,
    max: all.radius,
    step: all.radius / 200,
    value: 0,
  });
  const findLabel = added(controls, 'label', {}, 'Find layer.neuron ');
  const finder = added(findLabel, 'input', { type: 'text', size: 9, inputmode: 'decimal' });
  const value = added(place, 'p', { class: 'value', 'aria-live': 'polite' });

  const plot = drawPoints(canvas, all);
  // The point where the two differ most: what one would look for.
  let chosen = order.reduce((best, at) =>
    Math.abs(up[at] - across[at]) > Math.abs(up[best] - across[best]) ? at : best,
  );
  let shown = chosen; // Another one while the pointer is over it.
  let curve = curveOf(all, chosen);
  let move = () => {};

  const read = () => {
    const shift = Number(slider.value);
    const [exact] = values(curve, shift);
    const [line] = tangents(curve, shift);
    move(shift, exact);
    value.textContent =
      `Shift ${signed(shift)}: P = ${plain(exact, 4)} (series, estimated error ` +
      `${plain(all.error[shown], 1)}); along ${axes[0]} ${plain(line, 4)}.`;
  };
  const show = (at) => {
    shown = at;
    curve = curveOf(all, at);
    plot(at);
    said.textContent =
      `${name(at)}. ${axes[0]} ${signed(across[at])}, ${axes[1]} ${signed(up[at])} P per unit.`;
    move = drawCurve(chart, curve);
    read();
  };
  const choose = (at) => {
    chosen = at;
    show(at);
  };
  // Once a frame, however often the pointer is said to have moved.
  let frame = 0;
  canvas.addEventListener('pointermove', (event) => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      const at = plot.under(event);
      if (at >= 0 && at !== shown) {
        show(at);
      }
    });
  });
  canvas.addEventListener('pointerleave', () => {
    cancelAnimationFrame(frame);
    if (shown !== chosen) {
      show(chosen);
    }
  });
  canvas.addEventListener('click', (event) => {
    const at = plot.under(event);
    if (at >= 0) {
      choose(at);
    }
  });
  canvas.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      const next = order.indexOf(chosen) + step;
      choose(order[Math.min(order.length - 1, Math.max(0, next))]);
    }
  });
  slider.addEventListener('input', read);
  finder.addEventListener('change', () => {
    const at = found(all, finder.value, chosen);
    if (at >= 0) {
      choose(at);
    } else {
      said.textContent = `No curve of neuron “${finder.value}” is in this report.`;
    }
  });
  choose(chosen);
}

/**
 * Draws all points.
 * @param {HTMLCanvasElement} canvas
 * @param {Points} all Of which it reads `axes`, `across` and `up`.
 * @returns Marks one; `under(event)` is the point that the pointer means, or -1.
 */
export function drawPoints(canvas, all) {
  canvas.width = 2 * SIZE.width;
  canvas.height = 2 * SIZE.height;
  const pen = canvas.getContext('2d');
  const { linear, most, place } = scale([all.across, all.up]);
  const x = (number) => SIZE.left + ((place(number) + 1) / 2) * (SIZE.right - SIZE.left);
  const y = (number) => SIZE.bottom - ((place(number) + 1) / 2) * (SIZE.bottom - SIZE.top);
  const places = Array.from(all.across, (number, at) => ({ x: x(number), y: y(all.up[at]) }));
  const stroke = (colour, ...ends) => {
    pen.strokeStyle = colour;
    pen.beginPath();
    ends.forEach(([a, b], at) => (at === 0 ? pen.moveTo(a, b) : pen.lineTo(a, b)));
    pen.stroke();
  };
  // Once: a mark on another point is drawn upon a copy.
  const drawn = document.createElement('canvas');
  const drawAll = () => {
    pen.setTransform(2, 0, 0, 2, 0, 0);
    for (const tick of [-most, -linear, 0, linear, most]) {
      stroke(INK.line, [x(tick), SIZE.top], [x(tick), SIZE.bottom]);
      stroke(INK.line, [SIZE.left, y(tick)], [SIZE.right, y(tick)]);
    }
    stroke(INK.soft, [x(-most), y(-most)], [x(most), y(most)]);
    pen.fillStyle = INK.soft;
    pen.font = '12px Arial, Helvetica, sans-serif';
    for (const tick of [-most, 0, most]) {
      const text = tick === 0 ? '0' : signed(Number(tick.toPrecision(2)));
      pen.textAlign = tick < 0 ? 'left' : tick > 0 ? 'right' : 'center';
      pen.fillText(text, x(tick), SIZE.bottom + 16);
      pen.textAlign = 'right';
      pen.fillText(text, SIZE.left - 4, y(tick) + (tick > 0 ? 10 : tick < 0 ? 0 : 4));
    }
    pen.textAlign = 'center';
    pen.fillText(`${all.axes[0]}, P per unit of activation`, (SIZE.left + SIZE.right) / 2, 334);
    pen.save();
    pen.translate(12, (SIZE.top + SIZE.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(all.axes[1], 0, 0);
    pen.restore();
    pen.fillStyle = INK.point;
    pen.globalAlpha = 0.5;
    for (const at of places) {
      pen.fillRect(at.x - 1.5, at.y - 1.5, 3, 3);
    }
    pen.globalAlpha = 1;
    [drawn.width, drawn.height] = [canvas.width, canvas.height];
    drawn.getContext('2d').drawImage(canvas, 0, 0);
  };
  drawAll();
  const draw = (chosen) => {
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(drawn, 0, 0);
    pen.setTransform(2, 0, 0, 2, 0, 0);
    pen.strokeStyle = INK.chosen;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(places[chosen].x, places[chosen].y, 7, 0, 2 * Math.PI);
    pen.stroke();
    pen.lineWidth = 1;
  };
  draw.under = (event) => {
    const box = canvas.getBoundingClientRect();
    const ratio = SIZE.width / box.width;
    return nearest(places, (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
  };
  return draw;
}

/** Draws a curve and its tangent; returns what moves the mark along it. */
function drawCurve(chart, curve) {
  chart.replaceChildren();
  const shifts = grid(curve, DRAWN);
  const exact = shifts.map((shift) => values(curve, shift)[0]);
  const line = shifts.map((shift) => tangents(curve, shift)[0]);
  const [least, largest] = [Math.min(...exact), Math.max(...exact)];
  const spare = (largest - least || 1e-6) * 0.08;
  const [low, high] = [least - spare, largest + spare];
  const x = (shift) => SIZE.left + ((shift / curve.radius + 1) / 2) * (SIZE.right - SIZE.left);
  const y = (p) => SIZE.bottom - ((p - low) / (high - low)) * (SIZE.bottom - SIZE.top);
  const words = { fill: INK.soft, 'font-size': 12, 'font-family': 'Arial, Helvetica, sans-serif' };
  for (const p of [low, (low + high) / 2, high]) {
    added(chart, 'line', { x1: SIZE.left, x2: SIZE.right, y1: y(p), y2: y(p), stroke: INK.line });
    const at = { x: SIZE.left - 4, y: y(p) + 4, 'text-anchor': 'end' };
    added(chart, 'text', { ...at, ...words }, plain(p));
  }
  for (const [share, anchor] of [[-1, 'start'], [0, 'middle'], [1, 'end']]) {
    const shift = share * curve.radius;
    added(chart, 'line', { x1: x(shift), x2: x(shift), y1: SIZE.top, y2: SIZE.bottom, stroke: INK.line });
    const at = { x: x(shift), y: SIZE.bottom + 16, 'text-anchor': anchor };
    added(chart, 'text', { ...at, ...words }, String(Number(shift.toPrecision(3))).replace('-', '−'));
  }
  const middle = { x: (SIZE.left + SIZE.right) / 2, y: 334, 'text-anchor': 'middle' };
  added(chart, 'text', { ...middle, ...words }, 'shift, in units of the activation; up: P(answer)');
  const inside = shifts.map((_, at) => at).filter((at) => line[at] >= low && line[at] <= high);
  // Of a curve that hardly moves, rounding may put the whole tangent outside.
  const path = (rows, kept) =>
    kept.length === 0 ? '' : `M${kept.map((at) => `${x(shifts[at]).toFixed(1)} ${y(rows[at]).toFixed(1)}`).join('L')}`;
  const dashed = { stroke: INK.soft, fill: 'none', 'stroke-dasharray': '6 4' };
  added(chart, 'path', { d: path(line, inside), ...dashed });
  const every = Array.from(shifts.keys());
  added(chart, 'path', { d: path(exact, every), stroke: INK.point, fill: 'none', 'stroke-width': 2 });
  const mark = added(chart, 'circle', { r: 5, fill: INK.chosen });
  return (shift, p) => {
    mark.setAttribute('cx', String(x(shift)));
    mark.setAttribute('cy', String(y(p)));
  };
}
