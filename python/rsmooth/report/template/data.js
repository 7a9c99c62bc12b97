// What the page was given, decoded, and what certificates of a run come to at a radius.

// Arrays come as base64 of little-endian numbers.
const KINDS = { f8: Float64Array, i4: Int32Array };

function unpack({ kind, base64 }) {
  return new KINDS[kind](Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
}

// Every array of the payload is decoded when it is first asked for.
const unpacked = new Map();

function array(packed) {
  if (!unpacked.has(packed)) unpacked.set(packed, unpack(packed));
  return unpacked.get(packed);
}

class Run {
  constructor(payload, number) {
    Object.assign(this, payload);
    this.number = number;
    this.index = array(payload.index);
    this.label = array(payload.label);
    this.selected = array(payload.selected);
    this.place = array(payload.place);
    this.size = this.index.length;
    this.pictureOf = new Map();
    if (this.pictures.clean) array(this.pictures.rows).forEach((row, tile) => this.pictureOf.set(row, tile));
    this.found = new Map();
  }

  // Its certificates under a rule; null where the rule's bound does not hold, or its counts are not known.
  under({ bound, norm, alpha }) {
    const name = `${bound} ${norm} ${alpha}`;
    if (!this.found.has(name)) {
      // Radii whose level is not told are shown at every one, as are those at 0, which hold at every one.
      const at = (each) => each.alpha === alpha || !each.alpha;
      const rule = this.rules.find((each) => each.bound === bound && each.norm === norm && at(each));
      const level = this.levels.find(at);
      this.found.set(name, rule ? new Certified(this, rule, level) : null);
    }
    return this.found.get(name);
  }

  className(number) {
    return number < 0 ? "" : this.classes?.[number] ?? String(number);
  }
}

class Certified {
  constructor(run, rule, level) {
    const radii = array(run.columns[rule.radius]);
    this.run = run;
    this.rule = rule;
    this.radius = Float64Array.from(run.place, (place) => radii[place]);
    this.probability = level && [array(run.columns[level.p1]), array(run.columns[level.p2])];
    // The radius in which the true class is certified, 0 where it is not, in ascending order.
    this.held = this.radius.map((radius, i) => (this.right(i) ? radius : 0)).sort();
    this.abstained = this.radius.reduce((sum, radius) => sum + (radius > 0 ? 0 : 1), 0);
  }

  abstains(i) {
    return !(this.radius[i] > 0);
  }

  right(i) {
    return this.radius[i] > 0 && this.run.selected[i] === this.run.label[i];
  }

  // Certificates of a wrong class are worse the larger they are.
  margin(i) {
    return this.run.selected[i] === this.run.label[i] ? this.radius[i] : -this.radius[i];
  }

  p1(i) {
    return this.probability[0][this.run.place[i]];
  }

  p2(i) {
    return this.probability[1][this.run.place[i]];
  }

  // How many examples are certified and right with a radius above `at`.
  count(at) {
    let low = 0;
    let high = this.held.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.held[middle] > at) high = middle;
      else low = middle + 1;
    }
    return this.held.length - low;
  }

  // The certified accuracy, as it is written.
  share(at) {
    return percent(this.count(at) / this.held.length, this.held.length);
  }

  interval(count) {
    const { lower, upper } = page.intervals[this.held.length];
    return [array(lower)[count], array(upper)[count]];
  }

  // The largest radius below which the certified accuracy is at least one half everywhere.
  get atHalf() {
    return this.held[this.held.length - Math.ceil(this.held.length / 2)];
  }

  get average() {
    return this.held.reduce((sum, radius) => sum + radius, 0) / this.held.length;
  }
}

const page = JSON.parse(document.getElementById("data").textContent);
const runs = page.runs.map((payload, number) => new Run(payload, number));

// How numbers are written.

// To four digits, of a certificate or of several: never more than they say.
function below(radius) {
  if (radius === 0) return "0";
  if (!Number.isFinite(radius)) return "∞";
  const text = radius.toPrecision(4);
  // What was rounded up is at most half a unit of the last digit above.
  const unit = 10 ** (Math.floor(Math.log10(radius)) - 3);
  return Number(text) > radius ? (radius - 0.6 * unit).toPrecision(4) : text;
}

// To so many places, p1 down and p2 up. (A product with a power of ten is rounded, and may reach the next whole number.)
function atLeast(p1, places) {
  const text = p1.toFixed(places);
  return Number(text) > p1 ? (p1 - 0.6 * 10 ** -places).toFixed(places) : text;
}

function atMost(p2, places) {
  const text = p2.toFixed(places);
  return Number(text) < p2 ? (p2 + 0.6 * 10 ** -places).toFixed(places) : text;
}

function percent(share, size) {
  return `${(100 * share).toFixed(size > 1000 ? 2 : 1)}%`;
}

function whole(number) {
  return number.toLocaleString("en");
}

// Elements, which get text and attributes, never markup.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function vector(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function byId(id) {
  return document.getElementById(id);
}
