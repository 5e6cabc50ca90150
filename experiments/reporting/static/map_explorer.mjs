/**
 * The map of a report that can be pointed at: every neuron of some layers, beside what predicts it.
 *
 * @typedef {object} Neurons
 * @property {string[]} names Of `across`, the prediction, and of `up`, what was measured.
 * @property {Float32Array} layer Numbers of the layers.
 * @property {Float32Array} across Per unit of activation, layer by layer.
 * @property {Float32Array} up Per unit of activation, layer by layer.
 * @property {Float32Array} activation Of the neurons, without a shift.
 */

import { added, drawPoints, plain, signed } from './explorer.mjs';
import { enlarge, NeuronMap, wireMap } from './neuron_map.mjs';

/**
 * The neuron that is named by its layer and its number.
 * @param {Float32Array | number[]} layers Numbers of the layers of the map.
 * @param {number} neurons Of a layer.
 * @param {string} name Such as "20.133", or "20 133".
 * @returns {number[] | null} Row and index; null: the map has none.
 */
export function named(layers, neurons, name) {
  const [layer, index, ...more] = name.split(/[^0-9]+/).filter(Boolean).map(Number);
  const row = layers.indexOf(layer);
  return row >= 0 && index < neurons && more.length === 0 ? [row, index] : null;
}

/**
 * @param {Element} place
 * @param {Neurons} all
 */
export function exploreMap(place, all) {
  const [predicted, measured] = all.names;
  const neurons = all.across.length / all.layer.length;
  const shows = new Map([
    [measured, all.up],
    [predicted, all.across],
    [`${measured} − ${predicted}`, all.up.map((value, at) => value - all.across[at])],
  ]);
  added(
    place,
    'p',
    {},
    'Every neuron in its place: point at one to read it; a click marks it on the map and among the points below.',
  );
  const controls = added(place, 'p', { class: 'controls' });
  const chooser = added(added(controls, 'label', {}, 'Shown '), 'select', {});
  for (const name of shows.keys()) {
    added(chooser, 'option', {}, name);
  }
  const button = (text, act) => {
    const made = added(controls, 'button', { type: 'button' }, text);
    made.addEventListener('click', () => {
      act();
      draw();
    });
  };
  const canvas = added(place, 'canvas', {
    class: 'layers',
    tabindex: 0,
    role: 'application',
    'aria-label':
      `${all.layer.length} layers by ${neurons} neurons; arrow keys move, Enter chooses, plus and ` +
      'minus enlarge, 0 shows all',
  });
  const where = added(place, 'p', { class: 'where' });
  const said = added(place, 'p', { class: 'said', 'aria-live': 'polite' });
  const scatter = added(place, 'canvas', {
    class: 'scatter',
    role: 'img',
    'aria-label': `${measured} against ${predicted}; the chosen neuron is marked`,
  });

  const map = new NeuronMap(canvas, all.up, all.layer.length);
  const plot = drawPoints(scatter, { ...all, axes: all.names });
  let chosen = 0;
  const placed = (at) => [Math.floor(at / neurons), at % neurons];
  const draw = () => {
    map.draw([placed(chosen)]);
    const { view } = map;
    where.textContent =
      `Down: layers ${all.layer[view.layer]} to ${all.layer[view.layer + view.layers - 1]}; ` +
      `across: neurons ${view.neuron} to ${view.neuron + view.neurons - 1}.`;
  };
  const name = ([row, index]) => {
    const at = row * neurons + index;
    said.textContent =
      `Layer ${all.layer[row]}, neuron ${index}: ${measured} ${signed(all.up[at])}, ${predicted} ` +
      `${signed(all.across[at])} P per unit of activation; activation ${plain(all.activation[at])}.`;
  };
  const choose = (neuron) => {
    chosen = neuron[0] * neurons + neuron[1];
    map.cursor = neuron;
    map.reveal(neuron);
    draw();
    plot(chosen);
    name(neuron);
  };
  button('Enlarge', () => enlarge(map, true));
  button('Smaller', () => enlarge(map, false));
  button('Whole map', () => map.whole());
  const finder = added(added(controls, 'label', {}, 'Find layer.neuron '), 'input', {
    type: 'text',
    size: 9,
    inputmode: 'decimal',
  });
  finder.addEventListener('change', () => {
    const neuron = named(all.layer, neurons, finder.value);
    if (neuron === null) {
      said.textContent = `No neuron “${finder.value}” is on this map.`;
    } else {
      choose(neuron);
    }
  });
  chooser.addEventListener('change', () => {
    map.show(shows.get(chooser.value));
    draw();
  });
  wireMap(canvas, () => map, ({ neuron }) => name(neuron), choose, draw);
  canvas.addEventListener('pointerleave', () => name(placed(chosen)));
  scatter.addEventListener('click', (event) => {
    const at = plot.under(event);
    if (at >= 0) {
      choose(placed(at));
    }
  });
  addEventListener('resize', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  // The neuron that is predicted worst: what one would look for.
  const misses = shows.get(`${measured} − ${predicted}`);
  choose(placed(misses.reduce((most, miss, at) => (Math.abs(miss) > Math.abs(misses[most]) ? at : most), 0)));
}
