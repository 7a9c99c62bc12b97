// The curves: certified accuracy against the radius, a line a step function, and around it its 95% interval.

const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2"];
const EDGE = { left: 52, right: 22, top: 10, bottom: 42 };

// Okabe and Ito's colours; what is black on paper is white in the dark.
function colour(number) {
  const found = page.colours[number % page.colours.length];
  return found === "#000000" ? "currentColor" : found;
}

function stroke(number) {
  const dashes = DASHES[number % DASHES.length];
  return { stroke: colour(number), "stroke-dasharray": dashes, "stroke-width": 2, fill: "none" };
}

function swatch(number) {
  const line = vector("line", { x1: 0, y1: 6, x2: 34, y2: 6, ...stroke(number) });
  return vector("svg", { width: 34, height: 12, class: "swatch", "aria-hidden": "true" }, line);
}

// Round numbers that divide an axis: a step of 1, 2 or 5 times a power of ten, as a quotient of whole numbers, whose
// multiples are the decimals they are written as.
function steps(largest, pieces) {
  const power = Math.floor(Math.log10(largest / pieces));
  const lead = [1, 2, 5, 10].find((each) => each * 10 ** power >= (largest / pieces) * (1 - 1e-9));
  const at = power < 0 ? (i) => (i * lead) / 10 ** -power : (i) => i * lead * 10 ** power;
  return { at, count: Math.ceil(largest / at(1) - 1e-9) };
}

class Chart {
  // A slider's thumb is kept below the radius that it stands for.
  constructor(svg, slider, pick) {
    const thumb = 8;
    slider.style.marginLeft = `${EDGE.left - thumb}px`;
    slider.style.width = `calc(100% - ${EDGE.left + EDGE.right - 2 * thumb}px)`;
    this.svg = svg;
    this.lines = [];
    new ResizeObserver(() => this.draw()).observe(svg);
    const drag = (event) => {
      if (event.buttons & 1) pick(this.radiusAt(event.clientX - svg.getBoundingClientRect().left));
    };
    svg.addEventListener("pointerdown", drag);
    svg.addEventListener("pointermove", drag);
  }

  show(lines, largest, label) {
    Object.assign(this, { lines, largest, label });
    this.draw();
  }

  x(radius) {
    return EDGE.left + (Math.min(radius, this.largest) / this.largest) * (this.width - EDGE.left - EDGE.right);
  }

  y(share) {
    return EDGE.top + (1 - share) * (this.height - EDGE.top - EDGE.bottom);
  }

  radiusAt(x) {
    const share = (x - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    return Math.min(Math.max(share, 0), 1) * this.largest;
  }

  draw() {
    const box = this.svg.getBoundingClientRect();
    if (!box.width || !this.largest) return;
    [this.width, this.height] = [box.width, box.height];
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    this.cross = vector("line", { class: "cross", y1: this.y(1), y2: this.y(0) });
    this.dots = this.lines.map(({ style }) => vector("circle", { r: 4, fill: colour(style) }));
    const bands = this.lines.map((line) => this.band(line));
    const curves = this.lines.map((line) => vector("path", { d: this.curve(line), ...stroke(line.style) }));
    this.svg.replaceChildren(...this.axes(), ...bands, ...curves, this.cross, ...this.dots);
    if (this.radius !== undefined) this.mark(this.radius);
  }

  mark(radius) {
    this.radius = radius;
    if (!this.cross) return;
    this.cross.setAttribute("x1", this.x(radius));
    this.cross.setAttribute("x2", this.x(radius));
    this.lines.forEach(({ certified }, i) => {
      this.dots[i].setAttribute("cx", this.x(radius));
      this.dots[i].setAttribute("cy", this.y(certified.count(radius) / certified.held.length));
    });
  }

  axes() {
    const made = [];
    for (let i = 0; i <= 5; i++) {
      const y = this.y(i / 5);
      made.push(vector("line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y }));
      made.push(vector("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, `${20 * i}%`));
    }
    const ticks = steps(this.largest, this.width < 500 ? 4 : 8);
    for (let i = 0; ticks.at(i) <= this.largest * (1 + 1e-9); i++) {
      const x = this.x(ticks.at(i));
      made.push(vector("line", { class: "grid", x1: x, x2: x, y1: this.y(0), y2: this.y(1) }));
      made.push(vector("text", { x, y: this.y(0) + 17, "text-anchor": "middle" }, String(ticks.at(i))));
    }
    const middle = (EDGE.left + this.width - EDGE.right) / 2;
    made.push(vector("text", { x: middle, y: this.height - 6, "text-anchor": "middle" }, this.label));
    return made;
  }

  // The corners of a line: from each radius on, how many examples are certified. Those closer than a quarter of a pixel
  // to the one before are left out.
  corners({ certified: { held } }) {
    const found = [[this.x(0), held.length - held.findLastIndex((radius) => radius <= 0) - 1]];
    for (let i = held.length - found[0][1]; i < held.length && held[i] <= this.largest; i++) {
      const left = held.length - i - 1;
      const before = found.at(-1);
      const near = this.x(held[i]) - before[0] < 0.25 && left > 0;
      if (near && (before[1] - left) * (this.y(0) - this.y(1)) < 0.25 * held.length) continue;
      found.push([this.x(held[i]), left]);
    }
    return found;
  }

  curve(line) {
    const size = line.certified.held.length;
    const [first, ...rest] = this.corners(line);
    const path = rest.map(([x, count]) => `H${x.toFixed(2)}V${this.y(count / size).toFixed(2)}`);
    const beyond = [first, ...rest].at(-1)[1] > 0 ? `H${this.x(this.largest)}` : "";
    return `M${first[0]},${this.y(first[1] / size).toFixed(2)}${path.join("")}${beyond}`;
  }

  band(line) {
    const corners = this.corners(line);
    corners.push([this.x(this.largest), corners.at(-1)[1]]);
    const side = (which) =>
      corners.slice(1).flatMap(([x], i) => {
        const y = this.y(line.certified.interval(corners[i][1])[which]).toFixed(2);
        return [`${corners[i][0].toFixed(2)},${y}`, `${x.toFixed(2)},${y}`];
      });
    const points = [...side(1), ...side(0).reverse()].join(" ");
    return vector("polygon", { points, fill: colour(line.style), class: "band" });
  }
}
