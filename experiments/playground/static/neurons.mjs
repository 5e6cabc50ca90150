/** The list of strongest neurons, and those that are chosen. */

import { written } from './drawing.mjs';

/**
 * @typedef {object} Chosen
 * @property {number[]} neuron (layer, index).
 * @property {number} weight Of the shift, from -1 to 1.
 */

const WIDTH = 5;

/**
 * @param {number[]} one
 * @param {number[]} other
 * @returns {boolean}
 */
const same = (one, other) => one[0] === other[0] && one[1] === other[1];

/**
 * @param {number} value
 * @returns {string}
 */
const signed = (value) => (value > 0 ? '+' : '') + written(value.toPrecision(3));

/**
 * Rows of the list, with boxes that choose.
 * @param {HTMLElement} body
 * @param {any[]} neurons As the server lists them, by |NeurGrad|.
 * @param {any} neg Their NEG; null while it is measured.
 * @param {Chosen[]} chosen
 * @param {string} order `neurgrad` or `neg`.
 * @param {(neuron: number[]) => void} toggle
 */
export function showNeurons(body, neurons, neg, chosen, order, toggle) {
  const places = neurons.map((_, place) => place);
  if (order === 'neg' && neg !== null) {
    places.sort((one, other) => Math.abs(neg.neg[other]) - Math.abs(neg.neg[one]));
  }
  // The box that has the keyboard keeps it.
  const held = document.activeElement?.dataset?.neuron;
  const rows = places.map((place) => {
    const own = neurons[place];
    const [layer, index] = own.neuron;
    const row = document.createElement('tr');
    const cells = Array.from({ length: 7 }, () => row.insertCell());
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = chosen.some(({ neuron }) => same(neuron, own.neuron));
    box.dataset.neuron = `${layer},${index}`;
    box.setAttribute('aria-label', `layer ${layer}, neuron ${index}`);
    box.addEventListener('change', () => toggle(own.neuron));
    cells[0].append(box);
    cells[1].textContent = `${layer}, ${index}`;
    cells[2].textContent = signed(own.activation);
    cells[3].textContent = signed(own.neurgrad);
    cells[4].textContent = neg === null ? '…' : signed(neg.neg[place]);
    cells[5].textContent = own.promotes.slice(0, WIDTH).join(' ');
    cells[6].textContent = own.demotes.slice(0, WIDTH).join(' ');
    return row;
  });
  body.replaceChildren(...rows);
  if (held !== undefined) {
    body.querySelector(`[data-neuron="${CSS.escape(held)}"]`)?.focus();
  }
}

/**
 * Chosen neurons, with the weight of each and a button that lets it go.
 * @param {HTMLElement} list
 * @param {Chosen[]} chosen Their weights are set by what is typed.
 * @param {(neuron: number[]) => void} toggle
 * @param {() => void} changed
 */
export function showChosen(list, chosen, toggle, changed) {
  const items = chosen.map((own) => {
    const [layer, index] = own.neuron;
    const item = document.createElement('li');
    const name = document.createElement('span');
    name.textContent = `layer ${layer}, neuron ${index} ×`;
    const weight = document.createElement('input');
    weight.type = 'number';
    weight.min = '-1';
    weight.max = '1';
    weight.step = 'any';
    weight.value = String(Number(own.weight.toPrecision(4)));
    weight.setAttribute('aria-label', `weight of layer ${layer}, neuron ${index}, from -1 to 1`);
    weight.addEventListener('change', () => {
      own.weight = Number(weight.value);
      changed();
    });
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.textContent = '✕';
    remove.setAttribute('aria-label', `let go of layer ${layer}, neuron ${index}`);
    remove.addEventListener('click', () => toggle(own.neuron));
    item.append(name, weight, remove);
    return item;
  });
  list.replaceChildren(...items);
}
