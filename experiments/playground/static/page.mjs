/** The page: what is asked, what was found, and what follows when something is moved. */

import { unpacked } from '/shared/curves.mjs';
import { ask, giveUp, keepToken } from './asking.mjs';
import { drawBars, drawChart, percent, quoted, written } from './drawing.mjs';
import { clearErrors, show } from './errors.mjs';
import { NeuronMap, wireMap } from '/shared/neuron_map.mjs';
import { messagesOf, showMessages, addMessage } from './messages.mjs';
import { showNeurons, showChosen } from './neurons.mjs';
import { copied, fromFragment, saveJson, savePng, toFragment } from './sharing.mjs';

const at = (id) => document.getElementById(id);
const WAIT = 250; // Milliseconds after the last change before a ray is measured.

/** What is asked, as it was when it was measured; the form may say something else by now. */
const view = { prompt: '', answer: '', chosen: [], radius: 10, shift: 0 };
/** What was found. */
const found = { model: null, answer: null, neg: null, curves: null, steered: null, written: null };
let map = null;
let move = null;
let later = 0;
let automatic = false; // Whether the page chose the neurons.

const question = () => ({ prompt: view.prompt, answer: view.answer });
const ray = () => ({
  ...question(),
  neurons: view.chosen.map(({ neuron }) => neuron),
  weights: view.chosen.map(({ weight }) => weight),
  radius: view.radius,
});

function forget(...names) {
  for (const name of names) {
    found[name] = null;
  }
  at('written').hidden ||= found.written === null;
  at('steered').textContent = '';
  at('code').hidden = true;
  at('kept').textContent = '';
}

/** Runs something that asks the server; says so meanwhile, and shows its error. */
async function doing(words, work, button) {
  clearErrors();
  at('state').textContent = words;
  button?.setAttribute('aria-busy', 'true');
  try {
    const seconds = await work();
    at('state').textContent = seconds === undefined ? '' : `measured in ${seconds.toFixed(1)} s`;
  } catch (error) {
    show(error);
  } finally {
    button?.removeAttribute('aria-busy');
  }
}

function remember() {
  const { prompt, answer, chosen, radius, shift } = view;
  history.replaceState(null, '', toFragment({ prompt, answer, chosen, radius, shift }));
}

function asChat() {
  return document.querySelector('input[name="mode"]:checked').value === 'chat';
}

function showMode() {
  at('prompt').hidden = asChat();
  at('messages').hidden = !asChat();
  at('add-message').hidden = !asChat();
}

/** What was found, or, of a question that cannot be asked, nothing. */
function showFound(there) {
  for (const id of there ? ['found', 'neurons', 'keep'] : ['found', 'neurons', 'move', 'beyond', 'keep']) {
    at(id).hidden = !there;
  }
}

async function measure() {
  giveUp();
  view.prompt = asChat() ? messagesOf(at('messages')) : at('prompt').value;
  view.answer = at('answer').value;
  forget('answer', 'neg', 'curves', 'steered', 'written');
  const answer = await ask('answer', question()).catch((error) => {
    showFound(false);
    throw error;
  });
  found.answer = answer;
  showFound(true);
  const own = answer.answer;
  at('says').textContent =
    `P(${quoted(own.text)}) = ${percent(own.probability)}, number ${own.rank} of all tokens. ` +
    `Likeliest: ${answer.likeliest
      .map((token) => `${quoted(token.text)} ${percent(token.probability)}`)
      .join(', ')}.`;
  at('cut').hidden = !own.cut;
  at('cut').textContent = `The answer is several tokens; its first one, ${quoted(own.text)}, counts.`;
  at('rendered').textContent = answer.prompt;
  map = new NeuronMap(at('map'), unpacked(answer.map), found.model.layers);
  if (view.chosen.length === 0) {
    view.chosen = [{ neuron: answer.neurons[0].neuron, weight: 1 }];
    automatic = true;
  }
  showAll();
  const neurons = answer.neurons.map(({ neuron }) => neuron);
  measureRay().catch(show);
  ask('neg', { ...question(), neurons }).then((neg) => {
    found.neg = neg;
    at('neg-radius').textContent = `±${neg.radius}`;
    showAll();
  }, show);
  return answer.seconds;
}

/** Measures the ray of the chosen neurons; until it is there the slider rests. */
async function measureRay() {
  found.curves = null;
  move = null;
  at('shift').disabled = true;
  remember();
  const some = view.chosen.length > 0;
  at('move').hidden = false;
  at('beyond').hidden = !some;
  if (!some) {
    at('chart').replaceChildren();
    at('bars').replaceChildren();
    at('sum').textContent = 'Choose a neuron above.';
    at('exactness').textContent = '';
    return;
  }
  at('sum').textContent = 'measuring the curve…';
  const curves = await ask('curves', ray()).catch((error) => {
    at('sum').textContent = '';
    throw error;
  });
  found.curves = curves;
  showCurves();
}

function showCurves() {
  const { curves } = found;
  const moveLine = drawChart(at('chart'), curves);
  const moveBars = drawBars(at('bars'), curves);
  move = (shift) => {
    moveLine(shift);
    moveBars(shift);
  };
  const slider = at('shift');
  slider.min = String(-curves.radius);
  slider.max = String(curves.radius);
  slider.step = String(curves.radius / 500);
  slider.disabled = false;
  const worst = Math.max(...curves.error);
  const several = view.chosen.length > 1;
  at('exactness').textContent =
    `Curves are series through ${curves.nodes} exact replays${several ? ' of all neurons moved together' : ''}, ` +
    `at most ${written(worst.toExponential(1))} away from any other (estimated). ` +
    'The dashed line and the marks are the gradient at no shift.';
  setShift(view.shift);
}

function setShift(shift) {
  view.shift = Math.min(view.radius, Math.max(-view.radius, shift));
  const slider = at('shift');
  slider.value = String(view.shift);
  at('shift-value').textContent = written(view.shift.toFixed(3));
  if (move !== null) {
    move(view.shift);
    const first = at('bars').querySelector('tr');
    const token = quoted(found.curves.tokens[0].text);
    const words = `P(${token}) ${first.cells[2].textContent}, unmoved ${first.cells[4].textContent}`;
    slider.setAttribute('aria-valuetext', `shift ${written(view.shift.toFixed(2))}: ${words}`);
    at('sum').textContent = `${words}, predicted ${first.cells[3].textContent}`;
  }
}

function showAll() {
  map.draw(view.chosen.map(({ neuron }) => neuron));
  showNeurons(at('list'), found.answer.neurons, found.neg, view.chosen, at('order').value, toggle);
  showChosen(at('chosen'), view.chosen, toggle, () => changed());
}

/** Something about the ray is other than what was measured. */
function changed() {
  if (found.answer === null) {
    return;
  }
  forget('steered', 'written');
  at('written').hidden = true;
  clearErrors();
  showAll();
  clearTimeout(later);
  later = setTimeout(() => measureRay().catch(show), WAIT);
}

function toggle(neuron) {
  automatic = false;
  const same = (own) => own.neuron[0] === neuron[0] && own.neuron[1] === neuron[1];
  view.chosen = view.chosen.some(same)
    ? view.chosen.filter((own) => !same(own))
    : [...view.chosen, { neuron, weight: 1 }];
  changed();
}

async function steer() {
  const wanted = Number(at('probability').value);
  const steered = await ask('steer', { ...ray(), probability: wanted });
  found.steered = steered;
  const most = Math.max(...steered.shifts.map(Math.abs));
  if (most > 0) {
    view.chosen = view.chosen.map(({ neuron }, number) => ({
      neuron,
      weight: steered.shifts[number] / most,
    }));
    view.radius = Number(Math.max(1.5 * most, 1).toPrecision(3));
    view.shift = most;
    at('radius').value = String(view.radius);
    showAll();
    await measureRay();
  }
  at('steered').textContent =
    `${steered.reached ? 'Reached' : 'Not reached by the search: nearest'} ${percent(steered.probability)} ` +
    `(wanted ${percent(steered.wanted)}, was ${percent(steered.before)}), ` +
    `by a shift of L2 norm ${steered.norm.toFixed(3)}; KL ${steered.kl.toFixed(3)} nats. ` +
    'The neurons above have its shares, and the slider stands at it.';
  remember();
  return steered.seconds;
}

async function write() {
  const tokens = Number(at('max_tokens').value);
  const written = await ask('write', { ...ray(), shift: view.shift, max_tokens: tokens });
  found.written = { ...written, shift: view.shift };
  at('written').hidden = false;
  at('plain').textContent = written.plain.text;
  at('moved').textContent = written.moved.text;
  at('moved-caption').textContent =
    `moved by ${written(view.shift.toFixed(3))} where each token is written after`;
  return written.seconds;
}

async function copyPython() {
  const tokens = found.curves?.tokens.map(({ id }) => id) ?? [];
  const { python } = await ask('python', { ...ray(), shift: view.shift, tokens });
  await keep(python, 'Python');
}

async function keep(text, what) {
  const done = await copied(text);
  at('kept').textContent = done ? `${what} copied.` : `This browser does not let a page copy; ${what}:`;
  at('code').hidden = false;
  at('code').textContent = text;
}

function open(saved) {
  const chat = Array.isArray(saved.prompt);
  document.querySelector(`input[name="mode"][value="${chat ? 'chat' : 'text'}"]`).checked = true;
  showMode();
  at('prompt').value = chat ? '' : String(saved.prompt);
  showMessages(at('messages'), chat ? saved.prompt : []);
  at('answer').value = String(saved.answer);
  view.chosen = saved.chosen.map(({ neuron, weight }) => ({ neuron, weight }));
  view.radius = Number(saved.radius);
  view.shift = Number(saved.shift);
  at('radius').value = String(view.radius);
}

function wire() {
  at('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    if (automatic) {
      view.chosen = [];
      view.shift = 0;
    }
    doing('measuring…', measure, event.submitter);
  });
  for (const radio of document.querySelectorAll('input[name="mode"]')) {
    radio.addEventListener('change', showMode);
  }
  at('add-message').addEventListener('click', () => addMessage(at('messages')));
  at('order').addEventListener('change', showAll);
  at('choose').addEventListener('click', () =>
    toggle([Number(at('layer').value), Number(at('index').value)]),
  );
  let frame = 0;
  at('shift').addEventListener('input', () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => setShift(Number(at('shift').value)));
  });
  at('shift').addEventListener('change', remember);
  at('rest').addEventListener('click', () => {
    setShift(0);
    remember();
  });
  at('radius').addEventListener('change', () => {
    view.radius = Number(at('radius').value);
    view.shift = Math.min(view.radius, Math.max(-view.radius, view.shift));
    changed();
  });
  at('steer').addEventListener('click', () => doing('steering…', steer, at('steer')));
  at('write').addEventListener('click', () => doing('writing…', write, at('write')));
  at('copy-link').addEventListener('click', () => {
    remember();
    keep(location.href, 'link');
  });
  at('copy-python').addEventListener('click', () => copyPython().catch(show));
  at('save-json').addEventListener('click', () => saveJson({ ...view, ...found }));
  at('save-png').addEventListener('click', () => {
    if (found.curves !== null) {
      savePng(at('chart'), found, view).catch(show);
    }
  });
  // Drawings have the colours of the theme, and the width of the page, when they are drawn.
  const again = () => {
    if (found.answer !== null) showAll();
    if (found.curves !== null) showCurves();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  addEventListener('resize', again);
  addEventListener('pagehide', giveUp);
  const name = ({ neuron: [layer, index], slope }) => {
    at('map-place').textContent = `layer ${layer}, neuron ${index}: NeurGrad ${written(slope.toPrecision(3))}`;
  };
  const redraw = () => map.draw(view.chosen.map(({ neuron }) => neuron));
  wireMap(at('map'), () => map, name, toggle, redraw);
}

async function start() {
  keepToken();
  wire();
  showMode();
  showMessages(at('messages'), []);
  at('prompt').value = 'The capital of France is';
  at('answer').value = 'Paris';
  const { model } = (found.model = await ask('model'));
  const { layers, neurons, site, causal, chat, prompt_tokens: most } = found.model;
  at('model').textContent =
    `${model}: ${layers} layers of ${neurons} neurons (${site}); prompts of at most ${most} tokens`;
  document.querySelector('input[value="chat"]').disabled = !chat;
  at('write').disabled = !causal;
  if (!causal) {
    at('prompt').value = 'The capital of France is [MASK].';
  }
  const saved = fromFragment(location.hash);
  if (saved !== null) {
    open(saved);
    await doing('measuring…', measure);
  }
}

start().catch(show);
