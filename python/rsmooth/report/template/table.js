// The examples of a run: sorted and filtered as numbers, and a page of them drawn at a time.

const STATES = {
  all: ["all", () => true],
  right: ["certified and right", (found, i) => found.right(i)],
  wrong: ["certified and wrong", (found, i) => !found.abstains(i) && !found.right(i)],
  abstained: ["abstained", (found, i) => found.abstains(i)],
  within: ["certified and right at this radius", (found, i, at) => found.right(i) && found.radius[i] > at],
  beyond: ["not so at this radius", (found, i, at) => !(found.right(i) && found.radius[i] > at)],
};

// A picture at its own size, as its pixels are; the page's style enlarges it.
function picture(run, i, kind, says) {
  const { width, height, columns } = run.pictures;
  const tile = run.pictureOf.get(i);
  const canvas = element("canvas", { width, height, role: "img", "aria-label": `${says} ${run.index[i]}` });
  sheet(run, kind).then((image) => {
    const [x, y] = [(tile % columns) * width, Math.floor(tile / columns) * height];
    canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  });
  return canvas;
}

// A run's pictures are one image each for the clean and for the noisy ones.
function sheet(run, kind) {
  run.sheets ??= {};
  run.sheets[kind] ??= new Promise((resolve) => {
    const image = new Image();
    image.addEventListener("load", () => resolve(image));
    image.src = run.pictures[kind];
  });
  return run.sheets[kind];
}

// From 0 to 1: above p1 the class, below p2 every other. What is between is the room that makes the radius.
function gauge(p1, p2) {
  const bar = (x, width, name) => vector("rect", { x, y: 2, width, height: 8, class: name });
  const [low, high] = [100 * p2, 100 * p1];
  return vector(
    "svg",
    { viewBox: "0 0 100 12", class: "gauge", "aria-hidden": "true" },
    bar(0, 100, "room"),
    bar(0, low, "others"),
    bar(high, 100 - high, "top"),
    vector("line", { x1: 50, x2: 50, y1: 0, y2: 12, class: "half" }),
  );
}

function verdict(found, i) {
  if (found.abstains(i)) return element("span", {}, "– abstains");
  const name = found.run.className(found.run.selected[i]);
  return element("span", {}, found.right(i) ? `✓ ${name}` : `✗ ${name}`);
}

const COLUMNS = {
  example: { title: "example", value: ({ run }, i) => run.index[i], cell: ({ run }, i) => String(run.index[i]) },
  image: { title: "image", wanted: ({ run }) => run.pictures.clean, cell: ({ run }, i) => pictureCell(run, i, "clean", "image") },
  noisy: { title: "noisy copy", wanted: ({ run }) => run.pictures.noisy, cell: ({ run }, i) => pictureCell(run, i, "noisy", "noisy copy of image") },
  label: { title: "true class", value: ({ run }, i) => run.label[i], cell: ({ run }, i) => run.className(run.label[i]) },
  vote: { title: "vote", value: (found, i) => (found.abstains(i) ? -1 : found.run.selected[i]), cell: verdict },
  radius: { title: "radius", number: true, value: (found, i) => found.radius[i], cell: (found, i) => below(found.radius[i]) },
  between: {
    title: "p2 to p1",
    wanted: (found) => found.probability,
    value: (found, i) => found.p1(i) - found.p2(i),
    cell: (found, i) => gauge(found.p1(i), found.p2(i)),
  },
  p1: { title: "p1 above", number: true, wanted: (found) => found.probability, value: (found, i) => found.p1(i), cell: (found, i) => atLeast(found.p1(i), 4) },
  p2: { title: "p2 below", number: true, wanted: (found) => found.probability, value: (found, i) => found.p2(i), cell: (found, i) => atMost(found.p2(i), 4) },
  votes: {
    title: "most votes",
    number: true,
    wanted: ({ run }) => run.votes,
    value: ({ run }, i) => ballot(run, i).most[0][1] / ballot(run, i).drawn,
    cell: ({ run }, i) => `${whole(ballot(run, i).most[0][1])} of ${whole(ballot(run, i).drawn)}`,
  },
};

// Votes of an example: how many, and those of the classes that had most.
function ballot(run, i) {
  const { width } = run.votes;
  const [classes, counts] = [array(run.votes.classes), array(run.votes.counts)];
  const most = [];
  for (let at = i * width; at < (i + 1) * width; at++) most.push([classes[at], counts[at]]);
  return { drawn: array(run.votes.drawn)[i], most };
}

// Whether examples of a number can be the same in two runs: results of files do not tell their data.
function sameData(one, other) {
  const [here, there] = [one, other].map((run) => run.facts["fingerprint of the data"]);
  return here === undefined || there === undefined || here === there;
}

function pictureCell(run, i, kind, says) {
  return run.pictureOf.has(i) ? picture(run, i, kind, says) : "";
}

class Table {
  constructor(table) {
    [this.head, this.body] = [table.tHead.rows[0], table.tBodies[0]];
    this.order = { column: "margin", down: false };
    this.filter = { state: "all", words: "", pictured: false, radius: 0 };
    this.open = new Set();
    this.page = 0;
    this.perPage = 25;
  }

  // Certificates to show, and those of the other runs, for the details; null where a run has none under the rule.
  show(found, others) {
    const changed = found?.run !== this.found?.run;
    Object.assign(this, { found, others });
    if (changed) {
      this.open.clear();
      this.page = 0;
    }
    this.columns = Object.entries(COLUMNS).filter(([, column]) => found && (!column.wanted || column.wanted(found)));
    this.head.replaceChildren(...this.columns.map(([name, column]) => this.heading(name, column)), ...(found ? [element("td")] : []));
    if (!this.columns.some(([name]) => name === this.order.column) && this.order.column !== "margin") this.order = { column: "example", down: false };
    this.sort();
  }

  heading(name, column) {
    const cell = element("th", { scope: "col", class: column.number ? "number" : null });
    if (!column.value) {
      cell.append(column.title);
      return cell;
    }
    const button = element("button", { type: "button" }, column.title, element("span", { class: "arrow", "aria-hidden": "true" }));
    button.addEventListener("click", () => {
      const down = this.order.column === name ? !this.order.down : Boolean(column.number);
      this.sortBy(name, down);
    });
    cell.append(button);
    cell.dataset.column = name;
    return cell;
  }

  sortBy(column, down) {
    this.order = { column, down };
    this.page = 0;
    this.sort();
  }

  filterBy(changes) {
    Object.assign(this.filter, changes);
    this.page = 0;
    this.select();
  }

  turn(pages) {
    this.page += pages;
    this.draw();
  }

  sort() {
    const found = this.found;
    for (const cell of this.head.querySelectorAll("[data-column]")) {
      const by = cell.dataset.column === this.order.column;
      if (by) cell.setAttribute("aria-sort", this.order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    byId("worst").setAttribute("aria-pressed", this.order.column === "margin" && !this.order.down);
    byId("best").setAttribute("aria-pressed", this.order.column === "margin" && this.order.down);
    if (found) {
      const value = this.order.column === "margin" ? (_, i) => found.margin(i) : COLUMNS[this.order.column].value;
      const keys = Float64Array.from(found.radius, (_, i) => value(found, i));
      const sign = this.order.down ? -1 : 1;
      // Of the same key, in the order of the examples. (∞ − ∞ is no order.)
      this.sorted = Uint32Array.from(keys.keys()).sort((a, b) => (keys[a] === keys[b] ? a - b : keys[a] < keys[b] ? -sign : sign));
    } else {
      this.sorted = new Uint32Array();
    }
    this.select();
  }

  select() {
    const { found, filter } = this;
    const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
    const keep = STATES[filter.state][1];
    this.chosen = this.sorted.filter((i) => {
      if (!keep(found, i, filter.radius) || (filter.pictured && !found.run.pictureOf.has(i))) return false;
      const { run } = found;
      const text = () => [run.index[i], run.className(run.label[i]), run.className(run.selected[i])].map((each) => String(each).toLowerCase());
      return words.every((word) => text().some((each) => (/^\d+$/.test(word) ? each === word : each.includes(word))));
    });
    this.draw();
  }

  draw() {
    const pages = Math.max(Math.ceil(this.chosen.length / this.perPage), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const here = this.chosen.subarray(this.page * this.perPage, (this.page + 1) * this.perPage);
    this.body.replaceChildren(...Array.from(here).flatMap((i) => this.row(i)));
    byId("found").textContent = `${whole(this.chosen.length)} of ${whole(this.sorted.length)} examples${this.found ? ` of ${this.found.run.name}` : ""}`;
    byId("where").textContent = `page ${whole(this.page + 1)} of ${whole(pages)}`;
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page === pages - 1;
  }

  row(i) {
    const found = this.found;
    const cells = this.columns.map(([name, column]) =>
      element("td", { class: column.number ? "number" : name, "data-title": column.title }, column.cell(found, i)),
    );
    const open = this.open.has(i);
    const button = element("button", { type: "button", "aria-expanded": open, "aria-label": `Details of example ${found.run.index[i]}` });
    const row = element("tr", {}, ...cells, element("td", { class: "more" }, button));
    button.addEventListener("click", () => {
      const opens = !this.open.has(i);
      button.setAttribute("aria-expanded", opens);
      if (opens) {
        this.open.add(i);
        row.after(this.details(i));
      } else {
        this.open.delete(i);
        row.nextElementSibling.remove();
      }
    });
    return open ? [row, this.details(i)] : [row];
  }

  // The example in every run that has it, beside each other.
  details(i) {
    const index = this.found.run.index[i];
    const all = [[this.found, i]];
    for (const other of this.others) {
      const at = other.run.index.indexOf(index);
      if (at >= 0 && other.run.label[at] === this.found.run.label[i] && sameData(other.run, this.found.run)) all.push([other, at]);
    }
    const cell = element("td", { colspan: this.columns.length + 1 });
    cell.append(element("div", { class: "beside" }, ...all.map(([found, at]) => this.detail(found, at))));
    return element("tr", { class: "details" }, cell);
  }

  detail(found, i) {
    const { run } = found;
    const made = element("article", {}, element("h3", {}, run.name, ": ", verdict(found, i)));
    if (run.pictureOf.has(i)) {
      const shown = [["clean", "image", "image"]];
      if (run.pictures.noisy) shown.push(["noisy", "noisy copy of image", "with draw 0 of the noise"]);
      const figures = shown.map(([kind, says, caption]) =>
        element("figure", {}, picture(run, i, kind, says), element("figcaption", {}, caption)),
      );
      made.append(element("div", { class: "figures" }, ...figures));
    }
    if (run.votes) made.append(this.ballots(run, i));
    const facts = [`true class ${run.className(run.label[i])}`, `radius ${below(found.radius[i])}`];
    if (found.probability) facts.push(`p1 ≥ ${atLeast(found.p1(i), 6)}`, `p2 ≤ ${atMost(found.p2(i), 6)}`);
    made.append(element("p", {}, facts.join(", ")));
    return made;
  }

  ballots(run, i) {
    const { most, drawn } = ballot(run, i);
    const list = element("dl", { class: "votes" });
    let left = drawn;
    const line = (name, votes) => {
      const share = vector("rect", { width: (100 * votes) / drawn, height: 10 });
      const bar = vector("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, share);
      list.append(element("dt", {}, name), element("dd", {}, bar, whole(votes)));
    };
    for (const [number, votes] of most) {
      left -= votes;
      if (votes > 0) line(`${number === run.label[i] ? "✓ " : ""}${run.className(number)}`, votes);
    }
    if (left > 0) line("others", left);
    return list;
  }
}
