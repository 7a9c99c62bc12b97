// The examples of a run: sorted and filtered as numbers, and a page of them drawn at a time.

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
    this.head.replaceChildren(...this.columns.map(([name, column]) => this.heading(name, column)), element("td"));
    const sortable = ["margin", ...this.columns.map(([name]) => name)];
    if (!sortable.includes(this.order.column)) this.order = { column: "example", down: false };
    this.sort();
  }

  heading(name, column) {
    const cell = element("th", { scope: "col", class: column.number ? "number" : null });
    if (!column.value) {
      cell.append(column.title);
      return cell;
    }
    const arrow = element("span", { class: "arrow", "aria-hidden": "true" });
    const button = element("button", { type: "button" }, column.title, arrow);
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
      // Of the same key, in the order of the examples.
      this.sorted = Uint32Array.from(keys.keys()).sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
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
      return words.every((word) => searched(found.run, i).some((each) => matches(each, word)));
    });
    this.draw();
  }

  draw() {
    const pages = Math.max(Math.ceil(this.chosen.length / this.perPage), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const here = this.chosen.subarray(this.page * this.perPage, (this.page + 1) * this.perPage);
    this.body.replaceChildren(...Array.from(here).flatMap((i) => this.row(i)));
    const whose = this.found ? ` of ${this.found.run.name}` : "";
    byId("found").textContent = `${whole(this.chosen.length)} of ${whole(this.sorted.length)} examples${whose}`;
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
    const says = `Details of example ${found.run.index[i]}`;
    const button = element("button", { type: "button", "aria-expanded": open, "aria-label": says });
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
      const same = at >= 0 && other.run.label[at] === this.found.run.label[i] && sameData(other.run, this.found.run);
      if (same) all.push([other, at]);
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
