/** The page of one neuron. */

import { numbers, ragged, rowOf, shares } from './arrays.mjs';
import { tangents, values } from './curves.mjs';
import { bars, draw, drawCurve, make } from './drawing.mjs';
import { percent, share, signed } from './table.mjs';

const NAMED = 3; // Tokens beside a neuron's name.

/**
 * A layer's file, unpacked once.
 * @param {any} content
 * @returns {any} Functions of a neuron's index.
 */
export function layerOf(content) {
  const plain = (name) => {
    const unpacked = numbers(content[name]);
    return (at) => rowOf(unpacked, content[name].shape, at);
  };
  const multiplied = (name) => {
    const unpacked = shares(content[name]);
    return (at) => rowOf(unpacked, content[name].shares.shape, at);
  };
  const first = numbers(content.first);
  const names = ['fact', 'slope', 'error', 'neg', 'pearson', 'straight'];
  const columns = names.map((name) => [name, numbers(content[`curve_${name}`])]);
  const change = ragged(content.change, content.change_largest, content.change_first);
  const near = multiplied('sample_near');
  const degrees = content.sample_near.shares.shape.at(-1);
  return {
    fact: plain('fact'),
    slope: multiplied('slope'),
    relations: multiplied('relations'),
    sample_neg: plain('sample_neg'),
    sample_slope: plain('sample_slope'),
    near: (at, sample) => near(at).slice(sample * degrees, (sample + 1) * degrees),
    context: plain('context'),
    context_value: plain('context_value'),
    neighbour: plain('neighbour'),
    cosine: plain('cosine'),
    curves: (at) =>
      Array.from({ length: first[at + 1] - first[at] }, (_, own) => {
        const place = first[at] + own;
        const told = Object.fromEntries(columns.map(([name, every]) => [name, every[place]]));
        return { ...told, change: change(place) };
      }),
  };
}

/**
 * A curve as the module of series reads it, with P at no shift.
 * @param {number} radius
 * @param {number[]} change Coefficients of P less P at no shift.
 * @param {number} slope
 * @param {number} baseline
 */
export function curveOf(radius, change, slope, baseline) {
  const coefficients = [change[0] + baseline, ...change.slice(1)];
  return { radius, coefficients: [coefficients], slopes: [slope], baseline: [baseline] };
}

/**
 * @param {any} book What is loaded: `about`, `facts`, `tokens`, `contexts`, `columns`.
 * @param {any} layer As `layerOf` gives it.
 * @param {number} number Of the neuron among all shown.
 * @returns {{parts: Node[], drawn: () => void}} Sections; `drawn` is called when they are shown.
 */
export function neuronPage(book, layer, number) {
  const { about } = book;
  const at = number % about.width;
  const choices = followed(book, layer, at);
  const { part, redraw } = curvePart(book, choices);
  const parts = [opening(book, number, choices[0]), part, factsPart(book, layer, at)];
  parts.push(relationsPart(book, layer, at), tokensPart(book, number), contextsPart(book, layer, at));
  parts.push(neighboursPart(book, layer, at), numbersPart(book, choices));
  return { parts, drawn: redraw };
}

/** @returns {string} As in an address. */
export function nameOf(about, number) {
  return `${about.layers[Math.floor(number / about.width)]}.${number % about.width}`;
}

/** @returns {HTMLElement} A link to a neuron. */
export function neuronLink(about, number) {
  const name = nameOf(about, number);
  return make('a', { href: `#/L${name}` }, name);
}

/** @returns {HTMLElement} A link to a neuron, and some tokens that its write promotes. */
export function neuronNamed(book, number) {
  const { tokens } = book;
  const own = rowOf(tokens.written, tokens.shape, number).slice(0, NAMED);
  const named = own.flatMap((token) => [' ', tokenLink(book, token)]);
  return make('span', {}, neuronLink(book.about, number), ...named);
}

/** @returns {HTMLElement} A link to a fact, by its words. */
export function factLink(book, fact) {
  const { prompts, answers } = book.facts;
  const name = `${prompts[fact]} → ${answers[fact].trim()}`;
  return make('a', { href: `#/fact/${fact}` }, name);
}

/** @returns {HTMLElement} A link to a token. */
export function tokenLink(book, token) {
  const text = book.tokens.texts[token].replaceAll(' ', '\u00a0');
  return make('a', { class: 'token', href: `#/token/${token}` }, text === '' ? '\u00a0' : text);
}

export function section(head, kind, ...children) {
  return make('section', { class: kind }, make('h2', {}, head), ...children);
}

function followed(book, layer, at) {
  const { about, facts } = book;
  const own = layer.curves(at).map((curve) => ({
    ...curve,
    curve: curveOf(about.curve_radius, curve.change, curve.slope, facts.probability[curve.fact]),
    sampled: false,
  }));
  const slopes = layer.sample_slope(at);
  const sampled = layer.sample_neg(at).map((neg, sample) => ({
    fact: about.sample[sample],
    slope: slopes[sample],
    neg,
    straight: null,
    pearson: null,
    error: null,
    curve: curveOf(
      about.near_radius,
      layer.near(at, sample),
      slopes[sample],
      facts.probability[about.sample[sample]],
    ),
    sampled: true,
  }));
  return [...own, ...sampled];
}

function opening(book, number, strongest) {
  const { about } = book;
  const beside = [number - 1, number + 1].map((other) =>
    other >= 0 && other < about.layers.length * about.width
      ? neuronLink(about, other)
      : make('span', {}, '·'),
  );
  const { prompts, answers, probability } = book.facts;
  const { fact, slope, straight, curve } = strongest;
  const high = values(curve, curve.radius)[0];
  const low = values(curve, -curve.radius)[0];
  const verb = slope > 0 ? 'raises' : 'lowers';
  const size = share(book.columns.raises[number]);
  const straightness = Number.isNaN(straight)
    ? ''
    : `The curve follows its tangent up to a shift of ${straight.toPrecision(2)}. `;
  return make(
    'section',
    { class: 'opening' },
    make('div', { class: 'row' }, beside[0], make('h2', { class: 'name' }, `Neuron ${nameOf(about, number)}`), beside[1]),
    make(
      'p',
      {},
      `Turned up, it ${verb} “${answers[fact].trim()}” after “${prompts[fact]}” by ` +
        `${Math.abs(100 * slope).toPrecision(2)} percentage points per unit of activation at first (NeurGrad): the strongest of its effects on ${about.facts} facts. ` +
        `There P is ${percent(probability[fact])}; shifted by −${curve.radius} it becomes ${percent(low)}, by +${curve.radius} ${percent(high)}. ` +
        `${straightness}It raises the answers of ${size} of all facts.`,
    ),
  );
}

function curvePart(book, choices) {
  const chart = draw('svg', { class: 'chart', role: 'img' });
  const read = make('p', { class: 'read', 'aria-live': 'polite' });
  const about = make('p', { class: 'note' });
  const select = make('select', { 'aria-label': 'Fact whose answer is drawn' });
  const slider = make('input', { type: 'range', 'aria-label': 'Shift of the neuron' });
  choices.forEach(({ fact, sampled }, place) => {
    const { prompts, answers } = book.facts;
    const name = `${prompts[fact]} → ${answers[fact].trim()}${sampled ? ' (sample)' : ''}`;
    select.append(make('option', { value: place }, name));
  });
  let move = () => {};
  const tell = () => {
    const { curve } = choices[Number(select.value)];
    const shift = Number(slider.value);
    move(shift);
    read.textContent =
      `shift ${signed(shift)}: P = ${percent(values(curve, shift)[0])}, ` +
      `tangent ${percent(tangents(curve, shift)[0])}`;
  };
  const redraw = () => {
    const chosen = choices[Number(select.value)];
    const { curve } = chosen;
    Object.assign(slider, { min: -curve.radius, max: curve.radius, step: curve.radius / 200 });
    slider.value = '0';
    chart.setAttribute('aria-label', `P of the answer by the shift, within ±${curve.radius}`);
    move = drawCurve(chart, {
      radius: curve.radius,
      straight: Number.isNaN(chosen.straight) ? null : chosen.straight,
      baseline: curve.baseline[0],
      value: (shift) => values(curve, shift)[0],
      tangent: (shift) => tangents(curve, shift)[0],
    });
    about.textContent = chosen.sampled
      ? `Of the sample: a polynomial through exact shifts within ±${curve.radius} and the derivative. Dashed: the tangent, NeurGrad.`
      : `A series through exact replays; estimated error ${chosen.error.toExponential(0)}. Dashed: the tangent, NeurGrad. Grey: where the change is off the tangent’s by at most ${100 * book.about.straight}%.`;
    tell();
  };
  select.addEventListener('change', redraw);
  slider.addEventListener('input', tell);
  const part = section('What a shift does to the answer', 'wide', select, chart, slider, read, about);
  return { part, redraw };
}

function factsPart(book, layer, at) {
  const ids = layer.fact(at);
  const slopes = layer.slope(at);
  const half = ids.length / 2;
  const most = Math.max(...slopes.map(Math.abs));
  const side = (head, from, wanted) => {
    const entries = ids
      .slice(from, from + half)
      .map((fact, place) => ({ name: factLink(book, fact), value: slopes[from + place] }))
      .filter(({ value }) => Math.sign(value) === wanted);
    const shown = entries.length > 0 ? bars(entries, most) : make('p', {}, 'none');
    return make('div', {}, make('h3', {}, head), shown);
  };
  const note = `NeurGrad: change of P(answer) per unit of activation; the ${half} largest either way, of ${book.about.facts} facts.`;
  const both = make('div', { class: 'pair' }, side('Raises', 0, 1), side('Lowers', half, -1));
  return section('Answers that it raises and lowers', 'wide', both, make('p', { class: 'note' }, note));
}

function relationsPart(book, layer, at) {
  const means = layer.relations(at);
  const names = book.about.relations;
  const order = [...means.keys()].sort((a, b) => Math.abs(means[b]) - Math.abs(means[a]));
  const entries = order.slice(0, 12).map((relation) => ({
    name: make('span', {}, names[relation].replaceAll('_', ' ')),
    value: means[relation],
  }));
  const note = `Mean NeurGrad over the facts of a kind; the largest ${entries.length} of ${names.length} kinds.`;
  const most = Math.max(...means.map(Math.abs));
  return section('By kind of fact', 'tall', bars(entries, most), make('p', { class: 'note' }, note));
}

function tokensPart(book, number) {
  const { about, tokens } = book;
  const row = rowOf(tokens.written, tokens.shape, number);
  const half = row.length / 2;
  const side = (head, ids) =>
    make('div', {}, make('h3', {}, head), make('p', { class: 'row' }, ...ids.map((id) => tokenLink(book, id))));
  const both = make('div', { class: 'pair' }, side('Promotes', row.slice(0, half)), side('Demotes', row.slice(half)));
  const way =
    about.site === 'up' && about.gated
      ? 'The write of a positive act(gate); where that is negative, the two change places.'
      : 'The write of a rise of the activation.';
  const note = `Tokens whose logits its row of the down-projection raises and lowers most, past later layers. ${way}`;
  return section('Tokens that its write promotes and demotes', '', both, make('p', { class: 'note' }, note));
}

function contextsPart(book, layer, at) {
  const values_ = layer.context_value(at);
  const shown = layer.context(at).flatMap((context, place) => {
    const [before, token, after] = book.contexts[context];
    if (context === 0) return [];
    const text = [before, make('mark', {}, token), after];
    return [make('p', { class: 'context' }, ...text, ' ', make('span', { class: 'note' }, signed(values_[place])))];
  });
  const note = `Its largest activations over the tokens of ${book.about.texts}.`;
  return section('Where in texts it is most active', '', ...shown, make('p', { class: 'note' }, note));
}

function neighboursPart(book, layer, at) {
  const cosines = layer.cosine(at);
  const entries = layer.neighbour(at).map((neuron, place) => ({
    name: neuronNamed(book, neuron),
    value: cosines[place],
  }));
  const note = 'Cosine of the NeurGrads over all facts, the largest in size: those below 0 act the other way round. Beside the names: tokens that they promote.';
  const shown = entries.filter(({ value }) => value !== 0);
  return section('Neurons of the most similar effects', '', bars(shown, 1), make('p', { class: 'note' }, note));
}

function numbersPart(book, choices) {
  const cell = (value) => make('td', {}, value);
  const rows = choices.map(({ fact, slope, neg, pearson, straight, sampled }) =>
    make(
      'tr',
      {},
      make('td', { class: 'text' }, factLink(book, fact), sampled ? ' (sample)' : ''),
      cell(percent(book.facts.probability[fact])),
      cell(signed(slope)),
      cell(signed(neg)),
      cell(pearson === null ? '—' : pearson.toFixed(3).replace('-', '−')),
      cell(straight === null || Number.isNaN(straight) ? '—' : straight.toPrecision(2)),
    ),
  );
  const heads = ['P', 'NeurGrad', 'NEG', 'r', 'straight to'].map((head) => make('th', { scope: 'col' }, head));
  const head = make('thead', {}, make('tr', {}, make('th', { class: 'text', scope: 'col' }, 'fact'), ...heads));
  const table = make('table', {}, head, make('tbody', {}, ...rows));
  const note = `NeurGrad and NEG: P per unit of activation, ${book.about.convention} shifts; NEG over shifts within ±${book.about.near_radius}.`;
  return section('Measured exactly', '', make('div', { class: 'scroll' }, table), make('p', { class: 'note' }, note));
}
