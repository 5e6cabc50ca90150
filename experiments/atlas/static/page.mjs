/** The page: loads what it shows, keeps to its address, sorts its table. */

import { numbers, rowOf } from './arrays.mjs';
import { addressOf, placeOf } from './asking.mjs';
import { make } from './drawing.mjs';
import { NeuronMap, wireMap } from './neuron_map.mjs';
import { factLink, layerOf, nameOf, neuronLink, neuronPage, tokenLink } from './neuron.mjs';
import { COLUMNS, ordered } from './table.mjs';
import { factPage, foundPage, writersOf } from './views.mjs';

const ROWS = 50;
const TOKENS = 4;
const loading = new Map();
const book = { layers: new Map() };
const view = { column: 'slope', descending: true, first: 0, chosen: null, kept: '' };
let map = null;
let turn = 0;

const byId = (id) => document.getElementById(id);

/** Brings a data file, once; its script calls `atlasData`. */
function load(name) {
  if (!loading.has(name)) {
    const wait = {};
    wait.promise = new Promise((resolve, reject) => {
      wait.resolve = resolve;
      const script = document.createElement('script');
      script.src = `data/${name}.js`;
      script.addEventListener('error', () => {
        loading.delete(name);
        reject(new Error(`${script.src} could not be read; is the whole folder here?`));
      });
      document.head.append(script);
    });
    loading.set(name, wait);
  }
  return loading.get(name).promise;
}

async function loadTable() {
  const [about, table, facts] = await Promise.all(['about', 'table', 'facts'].map(load));
  book.about = about;
  const unpacked = Object.entries(table.columns).map(([name, packed]) => [name, numbers(packed)]);
  book.columns = Object.fromEntries(unpacked);
  book.fact = numbers(table.fact);
  book.facts = {
    ...facts,
    probability: numbers(facts.probability),
    neurons: numbers(facts.neurons),
    slopes: numbers(facts.slopes),
    shape: facts.neurons.shape,
  };
}

async function loadTokens() {
  const tokens = await load('tokens');
  book.tokens ??= { texts: tokens.texts, written: numbers(tokens.written), shape: tokens.written.shape };
}

async function loadLayer(layer) {
  if (!book.layers.has(layer)) {
    book.layers.set(layer, layerOf(await load(`layer_${layer}`)));
  }
  return book.layers.get(layer);
}

function showAll(chosen, kept) {
  const { about } = book;
  const total = about.layers.length * about.width;
  view.chosen = chosen ?? [...Array(total).keys()];
  view.kept = kept;
  view.first = 0;
  byId('one').hidden = true;
  byId('all').hidden = false;
  document.title = `Atlas of neurons: ${about.model}`;
  showMap();
  showRows();
}

function showLead() {
  const { about } = book;
  const total = about.layers.length * about.width;
  const [label] = COLUMNS.find(([name]) => name === 'slope').slice(1);
  const only = about.layers.length < about.all_layers ? `, ${about.layers.length} of ${about.all_layers} layers` : '';
  byId('model').textContent = `${about.model}${only}`;
  byId('lead').replaceChildren(
    make(
      'p',
      {},
      `What happens to the model’s answers if one neuron is turned up? Here is that for each of ${total.toLocaleString('en')} neurons, ` +
        `over ${about.facts} facts (${about.source}). Click a neuron, or look for one by its name (layer.index), a token or a fact.`,
    ),
    make(
      'p',
      { class: 'note' },
      `${label}: derivative of P(answer) by the activation (site ${about.site}, ${about.convention} shifts), for every neuron on every fact. ` +
        `Exact: each neuron’s curve on ${about.own_facts === 1 ? 'the fact' : `${about.own_facts} facts`} where its ${label} is largest ` +
        `(on ${about.strong_facts} for the ${about.strong_neurons.toLocaleString('en')} strongest neurons), and its NEG on ${about.sample.length} drawn at random. A signed shift turns a neuron up in the direction in which it already points; an additive one adds to its activation.`,
    ),
  );
}

function showMap() {
  const name = byId('shown').value;
  map = new NeuronMap(byId('map'), book.columns[name], book.about.layers.length);
  map.draw([]);
}

function placed(neuron) {
  return neuron[0] * book.about.width + neuron[1];
}

function showRows() {
  const { about, columns } = book;
  const [, , , , bySize] = COLUMNS.find(([name]) => name === view.column) ?? [];
  const values = view.column === 'neuron' ? null : columns[view.column];
  const sorted = ordered(values, view.chosen, view.descending, bySize ?? false);
  const shown = sorted.slice(view.first, view.first + ROWS);
  byId('rows').replaceChildren(
    ...shown.map((number) => {
      const cells = COLUMNS.map(([name, , , written]) => make('td', {}, written(columns[name][number])));
      const fact = make('td', { class: 'text' }, factLink(book, book.fact[number]));
      const tokens = make('td', { class: 'text' });
      if (book.tokens !== undefined) {
        const own = rowOf(book.tokens.written, book.tokens.shape, number).slice(0, TOKENS);
        tokens.append(...own.flatMap((token) => [tokenLink(book, token), ' ']));
      }
      return make('tr', {}, make('td', { class: 'text' }, neuronLink(about, number)), cells[0], fact, ...cells.slice(1), tokens);
    }),
  );
  const last = Math.min(view.first + ROWS, sorted.length);
  byId('which').textContent = `${sorted.length === 0 ? 0 : view.first + 1} to ${last} of ${sorted.length.toLocaleString('en')}`;
  byId('before').disabled = view.first === 0;
  byId('after').disabled = last === sorted.length;
  byId('kept').hidden = view.kept === '';
  byId('kept').replaceChildren(view.kept, make('a', { href: '#/' }, 'show all'));
  for (const head of byId('heads').children) {
    head.removeAttribute('aria-sort');
    if (head.dataset.name === view.column) {
      head.setAttribute('aria-sort', view.descending ? 'descending' : 'ascending');
    }
  }
}

function makeHeads() {
  const head = (name, label, title) => {
    const button = make('button', { type: 'button', title }, label);
    button.addEventListener('click', () => {
      const again = view.column === name;
      Object.assign(view, { column: name, descending: again ? !view.descending : name !== 'neuron', first: 0 });
      showRows();
    });
    const cell = make('th', { scope: 'col', 'data-name': name }, button);
    if (name === 'neuron') cell.className = 'text';
    return cell;
  };
  const sorting = COLUMNS.map(([name, label, title]) => head(name, label, title));
  const words = (label) => make('th', { scope: 'col', class: 'text' }, label);
  byId('heads').replaceChildren(head('neuron', 'neuron', 'Layer and index'), sorting[0], words('on the fact'), ...sorting.slice(1), words('its write promotes'));
  byId('shown').replaceChildren(...COLUMNS.map(([name, label]) => make('option', { value: name }, label)));
}

function showOne(title, parts) {
  byId('all').hidden = true;
  byId('one').hidden = false;
  byId('one').replaceChildren(...parts);
  document.title = `${title}: atlas of neurons`;
  window.scrollTo(0, 0);
}

async function showNeuron([layer, index]) {
  const { about } = book;
  const place = about.layers.indexOf(layer);
  if (place < 0 || index >= about.width) {
    const last = about.layers.at(-1);
    throw new Error(`There is no neuron ${layer}.${index} here: layers go from ${about.layers[0]} to ${last}, indices from 0 to ${about.width - 1}.`);
  }
  const own = turn;
  const [found, contexts] = await Promise.all([loadLayer(layer), load('contexts'), loadTokens()]);
  if (own !== turn) return;
  book.contexts = contexts.contexts;
  const number = place * about.width + index;
  const { parts, drawn } = neuronPage(book, found, number);
  showOne(`Neuron ${nameOf(about, number)}`, parts);
  drawn();
}

async function show() {
  turn += 1;
  const own = turn;
  const { about, facts } = book;
  const { kind, at } = placeOf(window.location.hash);
  byId('said').textContent = '';
  try {
    if (kind === 'neuron') {
      await showNeuron(at);
    } else if (kind === 'fact') {
      if (at >= about.facts) throw new Error(`There is no fact ${at}: they go from 0 to ${about.facts - 1}.`);
      await loadTokens();
      if (own !== turn) return;
      showOne(facts.prompts[at], factPage(book, at));
    } else if (kind === 'layer') {
      const place = about.layers.indexOf(at);
      if (place < 0) throw new Error(`There is no layer ${at} here; expected one of ${about.layers.join(', ')}.`);
      showAll([...Array(about.width).keys()].map((index) => place * about.width + index), `Neurons of layer ${at}.`);
    } else if (kind === 'token' || kind === 'find') {
      await loadTokens();
      if (own !== turn) return;
      if (kind === 'find') {
        showOne(at, foundPage(book, at));
      } else {
        const text = book.tokens.texts[at];
        if (text === undefined) throw new Error(`There is no token ${at} here.`);
        const { neurons, promoted } = writersOf(book, at);
        showAll(neurons, `“${text}” is among the ${book.tokens.shape[2]} tokens that ${promoted} neurons promote most, and that ${neurons.length - promoted} others demote most.`);
        byId('list').scrollIntoView();
      }
    } else {
      showAll(null, '');
    }
  } catch (error) {
    byId('said').textContent = error.message;
    if (byId('one').hidden) showAll(view.chosen, view.kept);
  }
}

/** Begins: called once, by the script that holds all modules. */
export async function start() {
  globalThis.atlasData = (name, content) => loading.get(name)?.resolve(content);
  makeHeads();
  byId('search').addEventListener('submit', (event) => {
    event.preventDefault();
    window.location.hash = addressOf(byId('asked').value);
  });
  const turned = (by) => () => {
    view.first += by;
    showRows();
  };
  byId('before').addEventListener('click', turned(-ROWS));
  byId('after').addEventListener('click', turned(ROWS));
  byId('shown').addEventListener('change', showMap);
  wireMap(
    byId('map'),
    () => map,
    ({ neuron, slope }) => {
      const [, label, , written] = COLUMNS.find(([name]) => name === byId('shown').value);
      byId('map-place').textContent = `${nameOf(book.about, placed(neuron))}: ${label} ${written(slope)}`;
    },
    (neuron) => {
      window.location.hash = `#/L${nameOf(book.about, placed(neuron))}`;
    },
    () => map.draw([]),
  );
  try {
    await loadTable();
  } catch (error) {
    byId('said').textContent = error.message;
    return;
  }
  showLead();
  window.addEventListener('hashchange', show);
  let width = window.innerWidth;
  const redraw = () => {
    if (!byId('all').hidden) showMap();
    else if (window.innerWidth !== width) show();
    width = window.innerWidth;
  };
  window.addEventListener('resize', redraw);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  await show();
  await loadTokens();
  if (!byId('all').hidden) showRows();
}
