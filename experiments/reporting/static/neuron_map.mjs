/** A map of layers by neurons, which may be enlarged; it asks nobody. */

const LEAST_NEURONS = 24; // That an enlarged map still shows of a layer.
const LEAST_LAYERS = 4;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 10; // Columns of a step with the shift key.
const CLOSER = 2; // What one step enlarges by.
const HEIGHT = 420;

/**
 * @param {string} name Of a custom property.
 * @returns {string} Its value, as the present theme has it.
 */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The map of layers by neurons: which neuron a place is of, and its picture. */
export class NeuronMap {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Float32Array} given Values of all neurons, layer by layer.
   * @param {number} layers
   */
  constructor(canvas, given, layers) {
    this.canvas = canvas;
    this.layers = layers;
    this.neurons = given.length / layers;
    this.cursor = null;
    this.whole();
    this.show(given);
  }

  /** @param {Float32Array} given Values of the same neurons. */
  show(given) {
    this.values = given;
    this.most = given.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  }

  /** Shows all layers and neurons. */
  whole() {
    this.view = { layer: 0, layers: this.layers, neuron: 0, neurons: this.neurons };
  }

  /**
   * Enlarges the map, or makes it smaller; the place stays where it is.
   * @param {number} factor
   * @param {number} x From 0 to 1, across the map.
   * @param {number} y From 0 to 1, down it.
   */
  zoom(factor, x = 0.5, y = 0.5) {
    const { layer, layers, neuron, neurons } = this.view;
    const part = (first, count, share, least, all) => {
      const wanted = Math.min(all, Math.max(Math.min(least, all), Math.round(count / factor)));
      const start = Math.round(first + share * (count - wanted));
      return [Math.min(all - wanted, Math.max(0, start)), wanted];
    };
    const [top, rows] = part(layer, layers, y, LEAST_LAYERS, this.layers);
    const [left, columns] = part(neuron, neurons, x, LEAST_NEURONS, this.neurons);
    this.view = { layer: top, layers: rows, neuron: left, neurons: columns };
  }

  /**
   * Moves an enlarged map so that a neuron is in it.
   * @param {number[]} neuron (layer, index).
   */
  reveal([row, index]) {
    const { layer, layers, neuron, neurons } = this.view;
    const moved = (first, count, at, all) =>
      at >= first && at < first + count
        ? first
        : Math.min(all - count, Math.max(0, at - Math.floor(count / 2)));
    this.view.layer = moved(layer, layers, row, this.layers);
    this.view.neuron = moved(neuron, neurons, index, this.neurons);
  }

  /** @param {number[][]} chosen (layer, index) of neurons to mark. */
  draw(chosen) {
    const width = Math.max(200, Math.floor(this.canvas.getBoundingClientRect().width));
    this.columns = Math.min(this.view.neurons, width);
    this.fill();
    const height = Math.max(4, Math.min(24, Math.floor(HEIGHT / this.view.layers)));
    const across = Math.max(1, Math.floor(width / this.columns));
    this.canvas.width = this.columns * across;
    this.canvas.height = this.view.layers * height;
    const context = this.canvas.getContext('2d');
    context.fillStyle = colour('--back');
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const signs = [colour('--down'), colour('--up')];
    this.strongest.forEach((at, place) => {
      const value = this.values[at];
      context.globalAlpha = this.most > 0 ? Math.sqrt(Math.abs(value) / this.most) : 0;
      context.fillStyle = signs[Number(value > 0)];
      const [row, column] = [Math.floor(place / this.columns), place % this.columns];
      context.fillRect(column * across, row * height, across, height);
    });
    context.globalAlpha = 1;
    context.strokeStyle = colour('--front');
    context.lineWidth = 2;
    for (const [layer, index] of chosen.filter((place) => this.holds(place))) {
      const radius = Math.max(5, height * 0.7);
      const inside = (place, end) => Math.min(end - radius - 1, Math.max(radius + 1, place));
      const x = inside((this.columnOf(index) + 0.5) * across, this.canvas.width);
      const y = inside((layer - this.view.layer + 0.5) * height, this.canvas.height);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.cursor !== null && this.holds(this.cursor)) {
      const [row, column] = [this.cursor[0] - this.view.layer, this.columnOf(this.cursor[1])];
      context.strokeRect(column * across - 3, row * height - 1, across + 6, height + 2);
    }
  }

  /** Finds the strongest neuron of each column that is shown, layer by layer. */
  fill() {
    const { layer, layers, neuron, neurons } = this.view;
    this.strongest = new Int32Array(layers * this.columns).fill(-1);
    for (let row = 0; row < layers; row += 1) {
      for (let index = neuron; index < neuron + neurons; index += 1) {
        const at = (layer + row) * this.neurons + index;
        const place = row * this.columns + this.columnOf(index);
        const before = this.strongest[place];
        if (before < 0 || Math.abs(this.values[at]) > Math.abs(this.values[before])) {
          this.strongest[place] = at;
        }
      }
    }
  }

  /** Whether a neuron, (layer, index), is shown. */
  holds([row, index]) {
    const { layer, layers, neuron, neurons } = this.view;
    return row >= layer && row < layer + layers && index >= neuron && index < neuron + neurons;
  }

  /**
   * @param {number} index Of a neuron that is shown.
   * @returns {number} The column that it shares with its neighbours.
   */
  columnOf(index) {
    return Math.floor(((index - this.view.neuron) * this.columns) / this.view.neurons);
  }

  /**
   * @param {number} x From 0 to 1, across the map.
   * @param {number} y From 0 to 1, down it.
   * @returns {{neuron: number[], slope: number}} The strongest neuron there.
   */
  at(x, y) {
    const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const row = within(y, this.view.layers);
    const place = row * this.columns + within(x, this.columns);
    const at = this.strongest[place];
    const layer = Math.floor(at / this.neurons);
    return { neuron: [layer, at - layer * this.neurons], slope: this.values[at] };
  }

  /**
   * Moves the cursor of the keyboard.
   * @param {number} across Columns.
   * @param {number} down Layers.
   * @returns {{neuron: number[], slope: number}} The strongest neuron there.
   */
  step(across, down) {
    const { layer, layers, neuron } = this.view;
    const [row, index] = this.cursor ?? [layer, neuron];
    const column = this.columnOf(index) + across;
    const x = (Math.min(this.columns - 1, Math.max(0, column)) + 0.5) / this.columns;
    const y = (Math.min(layers - 1, Math.max(0, row - layer + down)) + 0.5) / layers;
    const place = this.at(x, y);
    this.cursor = place.neuron;
    return place;
  }
}

/**
 * Lets pointer and keyboard name neurons and choose them, and enlarge the map.
 * @param {HTMLCanvasElement} canvas
 * @param {() => NeuronMap | null} present The map that is shown, if there is one.
 * @param {(place: {neuron: number[], slope: number}) => void} name
 * @param {(neuron: number[]) => void} choose
 * @param {() => void} redraw
 */
export function wireMap(canvas, present, name, choose, redraw) {
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const under = (event, then) => {
    const map = present();
    if (map !== null) {
      then(map.at(...place(event)));
    }
  };
  canvas.addEventListener('pointermove', (event) => under(event, name));
  canvas.addEventListener('click', (event) => under(event, ({ neuron }) => choose(neuron)));
  canvas.addEventListener('wheel', (event) => {
    const map = present();
    // Without a key the wheel moves the page.
    if (map !== null && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      map.zoom(event.deltaY < 0 ? CLOSER : 1 / CLOSER, ...place(event));
      redraw();
    }
  });
  canvas.addEventListener('keydown', (event) => {
    const map = present();
    if (map === null) {
      return;
    }
    if (event.key in STEPS || event.key === 'Enter') {
      event.preventDefault();
      const [across, down] = STEPS[event.key] ?? [0, 0];
      const found = map.step((event.shiftKey ? FAR : 1) * across, down);
      name(found);
      if (event.key === 'Enter') {
        choose(found.neuron);
        return;
      }
    } else if (event.key === '+' || event.key === '-') {
      enlarge(map, event.key === '+');
    } else if (event.key === '0') {
      map.whole();
    } else {
      return;
    }
    redraw();
  });
}

/**
 * Enlarges a map about its cursor, or makes it smaller.
 * @param {NeuronMap} map
 * @param {boolean} closer
 */
export function enlarge(map, closer) {
  const { layer, layers, neuron, neurons } = map.view;
  const inside = map.cursor !== null && map.holds(map.cursor);
  const x = inside ? (map.cursor[1] - neuron) / neurons : 0.5;
  const y = inside ? (map.cursor[0] - layer) / layers : 0.5;
  map.zoom(closer ? CLOSER : 1 / CLOSER, x, y);
}
