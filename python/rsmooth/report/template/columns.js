// What the table of examples shows of each, and by what they are chosen.


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
  image: {
    title: "image",
    wanted: ({ run }) => run.pictures.clean,
    cell: ({ run }, i) => pictureCell(run, i, "clean", "image"),
  },
  noisy: {
    title: "noisy copy",
    wanted: ({ run }) => run.pictures.noisy,
    cell: ({ run }, i) => pictureCell(run, i, "noisy", "noisy copy of image"),
  },
  label: {
    title: "true class",
    value: ({ run }, i) => run.label[i],
    cell: ({ run }, i) => run.className(run.label[i]),
  },
  vote: { title: "vote", value: (found, i) => (found.abstains(i) ? -1 : found.run.selected[i]), cell: verdict },
  radius: {
    title: "radius",
    number: true,
    value: (found, i) => found.radius[i],
    cell: (found, i) => below(found.radius[i]),
  },
  between: {
    title: "p2 to p1",
    wanted: (found) => found.probability,
    value: (found, i) => found.p1(i) - found.p2(i),
    cell: (found, i) => gauge(found.p1(i), found.p2(i)),
  },
  p1: {
    title: "p1 above",
    number: true,
    wanted: (found) => found.probability,
    value: (found, i) => found.p1(i),
    cell: (found, i) => atLeast(found.p1(i), 4),
  },
  p2: {
    title: "p2 below",
    number: true,
    wanted: (found) => found.probability,
    value: (found, i) => found.p2(i),
    cell: (found, i) => atMost(found.p2(i), 4),
  },
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

// What an example is found by: its number, its class and its vote, numbers as a whole and names in part.
function searched(run, i) {
  return [String(run.index[i]), run.className(run.label[i]), run.className(run.selected[i])];
}

function matches(text, word) {
  return /^\d+$/.test(word) ? text === word : text.toLowerCase().includes(word);
}

// Whether examples of a number can be the same in two runs: results of files do not tell their data.
function sameData(one, other) {
  const [here, there] = [one, other].map((run) => run.facts["fingerprint of the data"]);
  return here === undefined || there === undefined || here === there;
}

function pictureCell(run, i, kind, says) {
  return run.pictureOf.has(i) ? picture(run, i, kind, says) : "";
}
