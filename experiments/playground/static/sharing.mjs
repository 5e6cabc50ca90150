/** What leaves the page: a link, a file, a picture. */

import { colour } from '/shared/neuron_map.mjs';
import { HEIGHT, percent, written } from './drawing.mjs';
import { tangents, values } from '/shared/curves.mjs';

const VERSION = 1;

/**
 * What is asked, as a fragment of an address; browsers send no fragment to a server.
 * @param {object} view
 * @returns {string}
 */
export function toFragment(view) {
  return `#${encodeURIComponent(JSON.stringify({ v: VERSION, ...view }))}`;
}

/**
 * @param {string} fragment
 * @returns {any} What `toFragment` was given; null where there is none.
 * @throws {SyntaxError} It is no link of this page.
 */
export function fromFragment(fragment) {
  if (fragment.length < 2) {
    return null;
  }
  let view;
  try {
    view = JSON.parse(decodeURIComponent(fragment.slice(1)));
  } catch {
    throw new SyntaxError('the link is damaged: what follows # is no question of this page');
  }
  if (view?.v !== VERSION) {
    throw new SyntaxError(`the link is of version ${view?.v}, this page reads ${VERSION}`);
  }
  return view;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * @param {object} content
 */
export function saveJson(content) {
  const text = JSON.stringify(content, null, 1);
  download(new Blob([text], { type: 'application/json' }), 'negjax-playground.json');
}

/**
 * The chart with the question above and the tokens below.
 * @param {SVGSVGElement} chart
 * @param {any} found What the server gave: model, answer and curves.
 * @param {any} view What is asked: the chosen neurons and the shift.
 */
export async function savePng(chart, found, view) {
  const { curves } = found;
  const { shift } = view;
  const moved = view.chosen.map(
    ({ neuron, weight }) => `${neuron.join(':')} × ${written(weight.toPrecision(3))}`,
  );
  const lines = [
    found.answer.prompt.replaceAll('\n', ' ⏎ '),
    `${found.model.model}; neurons ${moved.join(', ')}; shift ${written(shift.toFixed(3))}`,
  ];
  const scale = 2;
  // Wide enough for the tokens below, whatever the page's width.
  const wide = Math.max(660, chart.viewBox.baseVal.width);
  const copy = chart.cloneNode(true);
  copy.setAttribute('width', String(wide * scale));
  copy.setAttribute('height', String(HEIGHT * scale));
  const text = new XMLSerializer().serializeToString(copy);
  const address = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }));
  const image = new Image();
  image.src = address;
  await image.decode();
  URL.revokeObjectURL(address);
  const head = 24 * lines.length + 12;
  const canvas = document.createElement('canvas');
  canvas.width = wide * scale;
  canvas.height = (head + HEIGHT + 22 * curves.tokens.length + 16) * scale;
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.fillStyle = colour('--back');
  context.fillRect(0, 0, wide, canvas.height);
  context.textBaseline = 'middle';
  context.fillStyle = colour('--front');
  lines.forEach((line, number) => {
    context.font = `${number === 0 ? 'bold ' : ''}14px system-ui, sans-serif`;
    context.fillText(line, 10, 20 + 24 * number, wide - 20);
  });
  context.drawImage(image, 0, head, wide, HEIGHT);
  context.font = '13px ui-monospace, monospace';
  const predicted = tangents(curves, shift);
  values(curves, shift).forEach((value, number) => {
    const y = head + HEIGHT + 16 + 22 * number;
    context.fillStyle = colour(`--token-${number}`);
    context.fillRect(150, y - 7, 260 * Math.min(1, Math.max(0, value)), 14);
    context.fillStyle = colour('--front');
    context.fillText(curves.tokens[number].text, 10, y, 130);
    context.fillText(`${percent(value)} (gradient: ${percent(predicted[number])})`, 420, y, 210);
  });
  const blob = await new Promise((done) => {
    canvas.toBlob(done, 'image/png');
  });
  download(blob, 'negjax-playground.png');
}

/**
 * Copies a text where the browser lets pages do that.
 * @param {string} text
 * @returns {Promise<boolean>} Whether it did.
 */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
