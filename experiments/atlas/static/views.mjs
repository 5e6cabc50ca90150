/** Pages of a fact, of a token, and of what a search found. */

import { rowOf } from './arrays.mjs';
import { matches } from './asking.mjs';
import { bars, make } from './drawing.mjs';
import { factLink, neuronNamed, section, tokenLink } from './neuron.mjs';
import { percent } from './table.mjs';

const SHOWN = 60;

/**
 * @param {any} book
 * @param {number} fact
 * @returns {Node[]}
 */
export function factPage(book, fact) {
  const { facts } = book;
  const ids = rowOf(facts.neurons, facts.shape, fact);
  const slopes = rowOf(facts.slopes, facts.shape, fact);
  const half = ids.length / 2;
  const most = Math.max(...slopes.map(Math.abs));
  const side = (head, from) =>
    section(
      head,
      '',
      bars(
        ids.slice(from, from + half).map((id, place) => ({
          name: neuronNamed(book, id),
          value: slopes[from + place],
        })),
        most,
      ),
    );
  const opening = make(
    'section',
    { class: 'opening' },
    make('h2', { class: 'name' }, `${facts.prompts[fact]} → ${facts.answers[fact].trim()}`),
    make('p', {}, `P(answer) is ${percent(facts.probability[fact])}. NeurGrad of the ${half} neurons that move it most, either way: change of P per unit of activation. Beside their names: tokens that their writes promote.`),
  );
  return [opening, side('Neurons that raise the answer', 0), side('Neurons that lower it', half)];
}

/**
 * Neurons that write for or against a token.
 * @param {any} book
 * @param {number} token Place among the tokens that are written.
 * @returns {{neurons: number[], promoted: number}} Those that promote it first.
 */
export function writersOf(book, token) {
  const { written, shape } = book.tokens;
  const [, , each] = shape;
  const found = [new Set(), new Set()];
  for (let at = 0; at < written.length; at += 1) {
    if (written[at] === token) {
      found[Math.floor(at / each) % 2].add(Math.floor(at / (2 * each)));
    }
  }
  return { neurons: [...new Set([...found[0], ...found[1]])], promoted: found[0].size };
}

/**
 * @param {any} book
 * @param {string} text
 * @returns {Node[]}
 */
export function foundPage(book, text) {
  const tokens = matches(book.tokens.texts, text);
  const facts = matches(
    book.facts.prompts.map((prompt, at) => `${prompt} ${book.facts.answers[at].trim()}`),
    text,
  );
  const list = (items) => make('ul', {}, ...items.map((item) => make('li', {}, item)));
  const said = (count, noun) =>
    count > SHOWN ? `${noun}: the first ${SHOWN} of ${count}` : `${noun}: ${count}`;
  return [
    make('section', { class: 'opening' }, make('h2', { class: 'name' }, `Found for “${text}”`)),
    section(
      said(tokens.length, 'Tokens that neurons promote or demote'),
      '',
      make('p', { class: 'row' }, ...tokens.slice(0, SHOWN).map((token) => tokenLink(book, token))),
    ),
    section(
      said(facts.length, 'Facts'),
      '',
      list(facts.slice(0, SHOWN).map((fact) => factLink(book, fact))),
    ),
  ];
}
