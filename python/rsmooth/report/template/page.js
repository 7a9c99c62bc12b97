// What the controls do.

const chart = new Chart(byId("chart"), byId("slider"), (radius) => setRadius(nearest(radius)));
const table = new Table(byId("table"));
const { norms } = page;
let radius = 0;

// Columns of the table of runs, behind the certified accuracy at the radius.
const MEASURES = ["95% interval", "certified at 0", "radius at 50%", "average certified radius", "abstained"];

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  if (chosen !== undefined) select.value = String(chosen);
}

function rule() {
  return { bound: byId("bound").value, norm: byId("norm").value, alpha: Number(byId("alpha").value) };
}

// The run whose bounds are compared; none where runs are, under one bound.
function compared() {
  return runs[byId("lines").value];
}

// What is drawn: runs under one bound, or the bounds of one run. `certified` is null where there is nothing.
function lines() {
  const chosen = rule();
  const one = compared();
  const bounds = Object.entries(page.bounds);
  const all = one
    ? bounds.map(([bound, name], style) => ({ name, style, certified: one.under({ ...chosen, bound }) }))
    : runs.map((run, style) => ({ name: run.name, style, certified: run.under(chosen) }));
  return one ? all.filter(({ certified }) => certified) : all;
}

// The end of the axis: the same for every bound and level, so that these can be compared.
function scale() {
  const { norm } = rule();
  const drawn = compared() ? [compared()] : runs;
  const finite = drawn.flatMap((run) => run.rules.filter((each) => each.norm === norm).map((each) => each.largest));
  return steps(Math.max(...finite, 0) || 1, 200);
}

function nearest(at) {
  const { at: multiple, count } = scale();
  return multiple(Math.min(Math.max(Math.round(at / multiple(1)), 0), count));
}

function setRadius(at) {
  radius = at;
  const { at: multiple, count } = scale();
  byId("slider").max = count;
  byId("slider").value = Math.round(at / multiple(1));
  byId("slider").setAttribute("aria-valuetext", String(at));
  byId("radius").value = at;
  chart.mark(at);
  summarise();
  if (["within", "beyond"].includes(table.filter.state)) table.filterBy({ radius });
  table.filter.radius = radius;
}

// What tells a run from others, beside its name.
function described(run, certified) {
  const kind = run.kind === "top-class" ? [] : [run.kind];
  // Where it is not the one that is chosen.
  const level = { null: "α not told", 0: "α = 0" }[certified?.rule.alpha];
  return [run.noise, ...kind, ...(level ? [level] : [])].join("; ");
}

function summarise() {
  const drawn = lines();
  const head = [compared() ? "bound" : "run", "noise", `certified at ${radius}`, ...MEASURES];
  const headings = head.map((text) => element("th", { scope: "col" }, text));
  byId("summary").tHead.replaceChildren(element("tr", {}, element("td"), ...headings));
  const rows = drawn.map(({ name, style, certified }, number) => {
    const run = compared() ?? runs[number];
    const title = element("th", { scope: "row" }, name);
    const start = [element("td", {}, swatch(style)), title, element("td", {}, described(run, certified))];
    if (!certified) {
      const none = element("td", { colspan: MEASURES.length + 1 }, "none under this bound and level");
      return element("tr", {}, ...start, none);
    }
    const size = certified.held.length;
    const now = certified.count(radius);
    const [low, high] = certified.interval(now).map((each) => percent(each, size));
    const cells = [
      `${certified.share(radius)} (${whole(now)} of ${whole(size)})`,
      `${low} to ${high}`,
      certified.share(0),
      below(certified.atHalf),
      below(certified.average),
      whole(certified.abstained),
    ];
    return element("tr", {}, ...start, ...cells.map((text) => element("td", { class: "number" }, text)));
  });
  byId("summary").tBodies[0].replaceChildren(...rows);
  const told = drawn
    .filter(({ certified }) => certified)
    .map(({ name, certified }) => `${name}: ${certified.share(radius)}`);
  const under = compared() ? `of ${compared().name}` : page.bounds[rule().bound];
  const level = byId("alpha").selectedOptions[0].text;
  const where = `within ${norms[rule().norm]} radius ${radius}, ${under}, α = ${level}`;
  byId("chart-says").textContent = `Certified accuracy ${where}. ${told.join("; ") || "None"}.`;
}

function drawAll() {
  const one = compared();
  byId("bound").disabled = Boolean(one);
  const drawn = lines().filter(({ certified }) => certified);
  const { at, count } = scale();
  chart.show(drawn, at(count), `${norms[rule().norm]} radius (in the units of the inputs)`);
  setRadius(radius);
  const whose = runs[byId("whose").value];
  const found = runs.map((run) => run.under(rule()));
  table.show(found[whose.number], found.filter((each) => each && each.run !== whose));
  pictures(whose);
}

// Radii in another norm are of another size.
function drawNorm() {
  const { at, count } = scale();
  radius = at(Math.round(count / 4));
  drawAll();
}

function pictures(run) {
  const some = Boolean(run.pictures.clean);
  byId("pictured-label").hidden = !some || run.pictureOf.size === run.size;
  if (byId("pictured-label").hidden && table.filter.pictured) {
    byId("pictured").checked = false;
    table.filterBy({ pictured: false });
  }
  byId("gauge-note").hidden = !table.found?.probability;
  const said = table.found ? run.pictures.note : "This run has no certificates under this bound, norm and level.";
  byId("examples-note").textContent = said;
}

function assumptions() {
  const facts = [...new Set(runs.flatMap((run) => Object.keys(run.facts)))];
  byId("assumed").tHead.replaceChildren(
    element("tr", {}, element("td"), ...runs.map((run) => element("th", { scope: "col" }, run.name))),
  );
  byId("assumed").tBodies[0].replaceChildren(
    ...facts.map((fact) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, fact),
        ...runs.map((run) => element("td", {}, run.facts[fact] ?? "–")),
      ),
    ),
  );
  const alike = Map.groupBy(runs, (run) => run.checking);
  byId("checking").replaceChildren(
    ...[...alike].flatMap(([text, those]) => {
      const commands = those.flatMap((run) => run.command ?? []);
      const says = element("p", {}, `${those.map((run) => run.name).join("; ")}: ${text}`);
      return commands.length ? [says, element("pre", {}, commands.join("\n"))] : [says];
    }),
  );
}

function theme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  document.documentElement.classList.toggle("light", !dark);
  byId("theme").setAttribute("aria-pressed", dark);
}

function begin() {
  const rules = runs.flatMap((run) => run.rules);
  const among = (name) => [...new Set(rules.map((each) => each[name]))];
  const several = runs.length > 1 ? "runs, under one bound" : "one bound";
  const bounded = runs.filter((run) => run.rules.length > 1);
  fill(byId("lines"), [["", several], ...bounded.map((run) => [run.number, `bounds of ${run.name}`])]);
  fill(byId("bound"), Object.entries(page.bounds), page.start.bound);
  const known = Object.entries(norms).filter(([norm]) => among("norm").includes(norm));
  fill(byId("norm"), known, page.start.norm);
  const levels = among("alpha").filter((alpha) => alpha).sort((a, b) => b - a);
  const alphas = levels.length ? levels : [among("alpha").includes(0) ? 0 : "not told"];
  fill(byId("alpha"), alphas.map((alpha) => [alpha, alpha]), page.start.alpha || alphas[0]);
  fill(byId("whose"), runs.map((run) => [run.number, run.name]));
  fill(byId("state"), Object.entries(STATES).map(([name, [text]]) => [name, text]));
  byId("whose-label").hidden = runs.length === 1;
  byId("curves-note").textContent = page.note;
  assumptions();
  theme(matchMedia("(prefers-color-scheme: dark)").matches);
  drawNorm();

  const on = (id, event, act) => byId(id).addEventListener(event, act);
  for (const id of ["lines", "bound", "alpha", "whose"]) on(id, "change", drawAll);
  on("norm", "change", drawNorm);
  on("slider", "input", (event) => setRadius(scale().at(Number(event.target.value))));
  on("radius", "change", (event) => setRadius(Math.max(event.target.valueAsNumber || 0, 0)));
  on("state", "change", (event) => table.filterBy({ state: event.target.value, radius }));
  on("words", "input", (event) => table.filterBy({ words: event.target.value }));
  on("pictured", "change", (event) => table.filterBy({ pictured: event.target.checked }));
  on("worst", "click", () => table.sortBy("margin", false));
  on("best", "click", () => table.sortBy("margin", true));
  on("previous", "click", () => table.turn(-1));
  on("next", "click", () => table.turn(1));
  on("rows", "change", (event) => {
    table.perPage = Number(event.target.value);
    table.turn(0);
  });
  on("theme", "click", () => theme(!document.documentElement.classList.contains("dark")));
  for (const id of ["controls", "filters"]) on(id, "submit", (event) => event.preventDefault());
}

begin();
