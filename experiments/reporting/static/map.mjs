/** The map of layers by neurons; it asks no server. */

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 10; // Columns of a step with the shift key.

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
   * @param {Float32Array} slopes Layer by layer.
   * @param {number} layers
   */
  constructor(canvas, slopes, layers) {
    this.canvas = canvas;
    this.slopes = slopes;
    this.layers = layers;
    this.neurons = slopes.length / layers;
    this.cursor = null;
    this.draw([]);
  }

  /**
   * @param {number[][]} chosen (layer, index) of neurons to mark.
   */
  draw(chosen) {
    const width = Math.max(200, Math.floor(this.canvas.getBoundingClientRect().width));
    this.columns = Math.min(this.neurons, width);
    this.strongest = new Int32Array(this.layers * this.columns).fill(-1);
    let most = 0;
    this.slopes.forEach((slope, at) => {
      const layer = Math.floor(at / this.neurons);
      const column = this.columnOf(at % this.neurons);
      const place = layer * this.columns + column;
      const before = this.strongest[place];
      if (before < 0 || Math.abs(slope) > Math.abs(this.slopes[before])) {
        this.strongest[place] = at;
      }
      most = Math.max(most, Math.abs(slope));
    });
    const height = Math.max(4, Math.min(14, Math.floor(420 / this.layers)));
    const across = Math.max(1, Math.floor(width / this.columns));
    this.canvas.width = this.columns * across;
    this.canvas.height = this.layers * height;
    const context = this.canvas.getContext('2d');
    context.fillStyle = colour('--back');
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const signs = [colour('--down'), colour('--up')];
    this.strongest.forEach((at, place) => {
      const slope = this.slopes[at];
      context.globalAlpha = most > 0 ? Math.sqrt(Math.abs(slope) / most) : 0;
      context.fillStyle = signs[Number(slope > 0)];
      const [layer, column] = [Math.floor(place / this.columns), place % this.columns];
      context.fillRect(column * across, layer * height, across, height);
    });
    context.globalAlpha = 1;
    context.strokeStyle = colour('--front');
    context.lineWidth = 2;
    for (const [layer, index] of chosen) {
      const radius = Math.max(5, height * 0.7);
      const inside = (place, end) => Math.min(end - radius - 1, Math.max(radius + 1, place));
      const x = inside((this.columnOf(index) + 0.5) * across, this.canvas.width);
      const y = inside((layer + 0.5) * height, this.canvas.height);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.cursor !== null) {
      const [layer, column] = this.cursor;
      context.strokeRect(column * across - 3, layer * height - 1, across + 6, height + 2);
    }
  }

  /**
   * @param {number} index Of a neuron.
   * @returns {number} The column that it shares with its neighbours.
   */
  columnOf(index) {
    return Math.floor((index * this.columns) / this.neurons);
  }

  /**
   * @param {number} x From 0 to 1, across the map.
   * @param {number} y From 0 to 1, down it.
   * @returns {{neuron: number[], slope: number}} The strongest neuron there.
   */
  at(x, y) {
    const layer = Math.min(this.layers - 1, Math.max(0, Math.floor(y * this.layers)));
    const column = Math.min(this.columns - 1, Math.max(0, Math.floor(x * this.columns)));
    const place = this.strongest[layer * this.columns + column];
    return { neuron: [layer, place - layer * this.neurons], slope: this.slopes[place] };
  }

  /**
   * Moves the cursor of the keyboard.
   * @param {number} across Columns.
   * @param {number} down Layers.
   * @returns {{neuron: number[], slope: number}} The strongest neuron there.
   */
  step(across, down) {
    const [layer, column] = this.cursor ?? [0, 0];
    this.cursor = [
      Math.min(this.layers - 1, Math.max(0, layer + down)),
      Math.min(this.columns - 1, Math.max(0, column + across)),
    ];
    return this.at((this.cursor[1] + 0.5) / this.columns, (this.cursor[0] + 0.5) / this.layers);
  }
}

/**
 * Lets pointer and keyboard name neurons and choose them.
 * @param {HTMLCanvasElement} canvas
 * @param {() => NeuronMap | null} present The map that is shown, if there is one.
 * @param {(place: {neuron: number[], slope: number}) => void} name
 * @param {(neuron: number[]) => void} choose
 * @param {() => void} redraw
 */
export function wireMap(canvas, present, name, choose, redraw) {
  const under = (event, then) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const map = present();
    if (map !== null) {
      then(map.at(x, y));
    }
  };
  canvas.addEventListener('pointermove', (event) => under(event, name));
  canvas.addEventListener('click', (event) => under(event, ({ neuron }) => choose(neuron)));
  canvas.addEventListener('keydown', (event) => {
    const map = present();
    if (map === null || !(event.key in STEPS || event.key === 'Enter')) {
      return;
    }
    event.preventDefault();
    const [across, down] = STEPS[event.key] ?? [0, 0];
    const place = map.step((event.shiftKey ? FAR : 1) * across, down);
    name(place);
    if (event.key === 'Enter') {
      choose(place.neuron);
    } else {
      redraw();
    }
  });
}
