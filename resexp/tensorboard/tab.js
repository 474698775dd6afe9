// The tab "Gradient": the weight gradient's norm by layer and step, two runs side by side, and under them
// both profiles at the step that is pointed at. Everything that is drawn was recorded; texts are set as texts.

const COLOURS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const ZERO = "#e8b9a9", BROKEN = "#c03a2b";
const LINES = ["var(--left)", "var(--right)"];
const REFRESH_MS = 5000;
const STYLE = `
  :root { --left: #d55e00; --right: #0072b2; --paper: #ffffff; --ink: #212121; --soft: #616161; --line: #e0e0e0; }
  :root.dark { --left: #f0853a; --right: #57aee0; --paper: #303030; --ink: #ececec; --soft: #b5b5b5; --line: #555555; }
  * { box-sizing: border-box; }
  body { margin: 0; padding: 16px 20px 28px; background: var(--paper); color: var(--ink);
    font: 14px/1.45 Roboto, "Helvetica Neue", Arial, sans-serif; }
  main { max-width: 1180px; margin: 0 auto; }
  p { margin: 0 0 14px; color: var(--soft); max-width: 76ch; }
  .pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 18px; }
  @media (max-width: 640px) { .pair { grid-template-columns: minmax(0, 1fr); } }
  label { display: flex; align-items: center; gap: 8px; font-weight: 500; }
  label i { width: 14px; height: 3px; flex: none; }
  select { flex: 1; min-width: 0; padding: 5px 6px; color: inherit; background: var(--paper);
    border: 1px solid var(--line); border-radius: 4px; font: inherit; }
  figure { margin: 8px 0 0; }
  figcaption { color: var(--soft); font-size: 12px; min-height: 18px; }
  .map { position: relative; padding-left: 44px; }
  .map canvas { display: block; width: 100%; height: 240px; image-rendering: pixelated; cursor: crosshair;
    border: 1px solid var(--line); }
  .mark { position: absolute; top: 0; width: 0; height: 240px; border-left: 1.5px dashed #ffffff;
    filter: drop-shadow(0 0 1px #000000); pointer-events: none; }
  .map .layer { position: absolute; left: 0; width: 38px; text-align: right; font-size: 11px; color: var(--soft); }
  .steps { display: flex; justify-content: space-between; padding-left: 44px; font-size: 11px; color: var(--soft); }
  .legend { display: flex; flex-wrap: wrap; gap: 6px 20px; align-items: center; margin: 12px 0 16px; font-size: 12px;
    color: var(--soft); }
  .legend b { display: inline-block; width: 160px; height: 10px; vertical-align: middle; margin: 0 6px; }
  .legend i { display: inline-block; width: 12px; height: 12px; vertical-align: middle; margin-right: 6px; }
  .brush { display: flex; gap: 12px; align-items: center; font-weight: 500; }
  .brush input { flex: 1; accent-color: #0072b2; }
  svg { display: block; width: 100%; height: auto; }
  svg text { fill: var(--soft); font-size: 11px; }
  #told { position: fixed; z-index: 1; padding: 5px 8px; background: #212121; color: #ffffff; font-size: 12px;
    border-radius: 4px; pointer-events: none; white-space: pre; }
  #told[hidden] { display: none; }
  .faults { color: ${BROKEN}; font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
  :root.dark .faults { color: #ff8a75; }
`;

const state = { runs: [], chosen: ["", ""], data: [null, null], step: null };
const at = {};

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

async function ask(route) {
  const answer = await fetch(route);
  return answer.json();
}

function number(value) {
  if (value === null) return "not finite";
  if (value === 0) return "exactly 0";
  const [digits, decade] = value.toExponential(2).split("e");
  return `${digits} × ${power(Number(decade))}`;
}

function power(decade) {
  const digits = [...String(decade)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  return `10${digits}`;
}

function colour(value, low, high) {
  if (value === null) return BROKEN;
  if (value === 0) return ZERO;
  const place = Math.min(1, Math.max(0, (Math.log10(value) - low) / (high - low))) * (COLOURS.length - 1);
  const index = Math.min(COLOURS.length - 2, Math.floor(place));
  const parts = [1, 3, 5].map((k) => {
    const [from, to] = [COLOURS[index], COLOURS[index + 1]].map((hex) => parseInt(hex.slice(k, k + 2), 16));
    return Math.round(from + (to - from) * (place - index));
  });
  return `rgb(${parts.join(",")})`;
}

// Whole decades that hold all that is shown, of both runs.
function decades() {
  let [low, high] = [Infinity, -Infinity];
  for (const data of state.data) {
    for (const norms of data?.norms ?? []) {
      for (const value of norms) {
        if (value) [low, high] = [Math.min(low, Math.log10(value)), Math.max(high, Math.log10(value))];
      }
    }
  }
  if (low > high) [low, high] = [-1, 0];
  return [Math.floor(low), Math.max(Math.ceil(high), Math.floor(low) + 1)];
}

// The last column at or before the step.
function column(data, step) {
  let found = 0;
  data.steps.forEach((recorded, index) => { if (recorded <= step) found = index; });
  return found;
}

function drawMap(side) {
  const data = state.data[side], { canvas, caption, layers, steps, mark } = at.sides[side];
  for (const element of [layers, steps]) element.replaceChildren();
  mark.hidden = !data?.steps?.length;
  if (mark.hidden) {
    canvas.width = canvas.height = 1;
    caption.textContent = data?.fault ?? (state.chosen[side] ? "no step is recorded yet" : "no run chosen");
    return;
  }
  const [low, high] = decades(), num = data.layers.length;
  [canvas.width, canvas.height] = [data.steps.length, num];
  const brush = canvas.getContext("2d");
  data.norms.forEach((norms, x) => norms.forEach((value, layer) => {
    brush.fillStyle = colour(value, low, high);
    brush.fillRect(x, num - 1 - layer, 1, 1);
  }));
  for (const layer of [1, Math.ceil(num / 2), num]) {
    const top = 240 * (1 - (layer - 0.5) / num) - 8;
    layers.append(make("span", { className: "layer", textContent: layer, style: `top:${top}px` }));
  }
  for (const index of new Set([0, Math.floor((data.steps.length - 1) / 2), data.steps.length - 1])) {
    steps.append(make("span", { textContent: data.steps[index].toLocaleString("en") }));
  }
  const all = data.steps.length === data.recorded ? "" : ` (${data.steps.length} of ${data.recorded.toLocaleString("en")} recorded steps)`;
  caption.textContent = `layer (1 = stem) by step${all}`;
}

function drawProfiles() {
  const [width, height, left, bottom] = [Math.max(300, at.profiles.clientWidth), 300, 68, 34];
  const [low, high] = decades();
  const most = Math.max(2, ...state.data.map((data) => data?.layers?.length ?? 0));
  const x = (layer) => left + ((layer - 1) / (most - 1)) * (width - left - 12);
  const y = (log) => 8 + (1 - (log - low) / (high - low)) * (height - bottom - 16);
  const plot = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "gradient norm by layer" });
  const every = Math.ceil((high - low) / 6);
  for (let decade = low; decade <= high; decade += every) {
    plot.append(drawn("line", { x1: left, x2: width - 12, y1: y(decade), y2: y(decade), stroke: "var(--line)" }));
    plot.append(drawn("text", { x: left - 8, y: y(decade) + 4, "text-anchor": "end" }, power(decade)));
  }
  for (const layer of [1, Math.ceil(most / 2), most]) {
    plot.append(drawn("text", { x: x(layer), y: height - 16, "text-anchor": "middle" }, String(layer)));
  }
  plot.append(drawn("text", { x: (left + width - 12) / 2, y: height - 3, "text-anchor": "middle" }, "layer"));
  const middle = (y(low) + y(high)) / 2;
  plot.append(drawn("text", { x: 12, y: middle, transform: `rotate(-90 12 ${middle})`, "text-anchor": "middle" }, "norm of the weight gradient"));
  state.data.forEach((data, side) => {
    if (!data?.steps?.length) return;
    const norms = data.norms[column(data, state.step)];
    const known = norms.map((value, index) => [index + 1, value]).filter(([, value]) => value);
    const points = known.map(([layer, value]) => `${x(layer).toFixed(1)},${y(Math.log10(value)).toFixed(1)}`);
    plot.append(drawn("polyline", {
      points: points.join(" "), fill: "none", stroke: LINES[side], "stroke-width": 2,
      "stroke-dasharray": side ? "" : "7 3", class: `line${side}`,
    }));
    norms.forEach((value, index) => {
      if (!value) plot.append(drawn("circle", { cx: x(index + 1), cy: y(low), r: 3, fill: value === 0 ? ZERO : BROKEN }));
    });
  });
  at.profiles.replaceChildren(plot);
}

function drawLegend() {
  const [low, high] = decades();
  const gradient = `linear-gradient(90deg, ${COLOURS.join(",")})`;
  const all = state.data.flatMap((data) => data?.norms ?? []).flat();
  at.legend.replaceChildren(
    make("span", {}, power(low), make("b", { style: `background:${gradient}` }), power(high)),
    make("span", { textContent: "norm of the weight gradient" }),
  );
  for (const [value, hue, words] of [[0, ZERO, "exactly 0: underflow, or a dead layer"], [null, BROKEN, "not finite"]]) {
    if (all.includes(value)) at.legend.append(make("span", {}, make("i", { style: `background:${hue}` }), words));
  }
}

function pointTo(step) {
  state.step = step;
  at.step.textContent = `step ${step.toLocaleString("en")}`;
  at.slider.value = step;
  state.data.forEach((data, side) => {
    if (!data?.steps?.length) return;
    const { canvas, mark } = at.sides[side];
    mark.style.left = `${canvas.offsetLeft + ((column(data, step) + 0.5) / data.steps.length) * canvas.clientWidth}px`;
  });
  drawProfiles();
}

function draw() {
  const last = Math.max(0, ...state.data.map((data) => data?.steps?.at(-1) ?? 0));
  const follows = state.step === null || state.step >= Number(at.slider.max);
  at.slider.max = last;
  [0, 1].forEach(drawMap);
  drawLegend();
  pointTo(follows ? last : Math.min(state.step, last));
}

function hover(side, event) {
  const data = state.data[side], { canvas } = at.sides[side];
  if (!data?.steps?.length) return;
  const box = canvas.getBoundingClientRect(), num = data.layers.length;
  const within = (part, size, count) => Math.min(count - 1, Math.max(0, Math.floor((part / size) * count)));
  const x = within(event.clientX - box.left, box.width, data.steps.length);
  const layer = num - 1 - within(event.clientY - box.top, box.height, num);
  const words = `layer ${layer + 1}, ${data.layers[layer]}\nstep ${data.steps[x].toLocaleString("en")}: ${number(data.norms[x][layer])}`;
  at.told.textContent = words;
  at.told.hidden = false;
  at.told.style.left = `${Math.min(event.clientX + 14, window.innerWidth - at.told.offsetWidth - 8)}px`;
  at.told.style.top = `${Math.max(4, event.clientY - 44)}px`;
  pointTo(data.steps[x]);
}

async function load(side) {
  const name = state.chosen[side];
  const data = name ? await ask(`./gradients?run=${encodeURIComponent(name)}`) : null;
  if (state.chosen[side] === name) state.data[side] = data;
}

// A plain run, without norm where there is one, the deepest of them; and beside it the residual one most like it.
function choose() {
  const folder = (run) => run.name.slice(0, run.name.lastIndexOf("/") + 1);
  const best = (runs, worth) => runs.reduce((a, b) => (a && worth(a) >= worth(b) ? a : b), undefined);
  const plain = best(state.runs, (run) => 1e6 * (run.kind === "plain") + 1e5 * (run.norm === "none") + run.depth);
  const others = state.runs.filter((run) => run !== plain);
  const twin = best(others, (run) => 8 * (run.kind === "residual") + 4 * (run.norm === plain.norm)
    + 2 * (run.depth === plain.depth) + (folder(run) === folder(plain)));
  return [plain?.name ?? "", twin?.name ?? ""];
}

function list() {
  at.sides.forEach(({ select }, side) => {
    const options = state.runs.map((run) => make("option", { value: run.name, textContent: run.name || "." }));
    select.replaceChildren(...options);
    select.value = state.chosen[side];
  });
}

async function refresh(first = false) {
  const found = await ask("./runs");
  const names = JSON.stringify(found.runs.map((run) => run.name));
  const changed = names !== JSON.stringify(state.runs.map((run) => run.name));
  const live = (name) => found.runs.some((run) => run.name === name && !run.over) || state.runs.some((run) => run.name === name && !run.over);
  const due = [0, 1].filter((side) => first || live(state.chosen[side]));
  state.runs = found.runs;
  at.faults.textContent = found.faults.join("\n");
  at.none.hidden = found.runs.length > 0;
  if (changed) {
    const known = (name) => state.runs.some((run) => run.name === name);
    if (!state.chosen.every(known)) state.chosen = choose();
    list();
  }
  const wanted = changed ? [0, 1] : due;
  await Promise.all(wanted.map(load));
  if (wanted.length) draw();
}

function followTheme() {
  const outside = window.parent.document.body;
  const set = () => document.documentElement.classList.toggle("dark", outside.classList.contains("dark-mode"));
  set();
  new MutationObserver(set).observe(outside, { attributeFilter: ["class"] });
}

function side(index) {
  const select = make("select", { onchange: async () => {
    state.chosen[index] = select.value;
    await load(index);
    draw();
  } });
  select.setAttribute("aria-label", index ? "right run" : "left run");
  const canvas = make("canvas", { onpointermove: (event) => hover(index, event), onpointerleave: () => { at.told.hidden = true; } });
  const mark = make("div", { className: "mark" }), layers = make("div"), steps = make("div", { className: "steps" });
  const caption = make("figcaption");
  const style = `background:${index ? LINES[1] : `repeating-linear-gradient(90deg, ${LINES[0]} 0 5px, transparent 5px 7px)`}`;
  const whole = make("div", {}, make("label", {}, make("i", { style }), select),
    make("figure", {}, make("div", { className: "map" }, canvas, mark, layers), steps, caption));
  return { whole, select, canvas, mark, layers, steps, caption };
}

export async function render() {
  document.head.append(make("style", { textContent: STYLE }));
  at.sides = [side(0), side(1)];
  at.legend = make("div", { className: "legend" });
  at.step = make("span");
  at.slider = make("input", { type: "range", min: 0, max: 0, value: 0, oninput: () => pointTo(Number(at.slider.value)) });
  at.slider.setAttribute("aria-label", "step");
  at.profiles = make("div");
  at.told = make("div", { id: "told", hidden: true });
  at.faults = make("div", { className: "faults" });
  at.none = make("p", { hidden: true, textContent: "No run with recorded gradient norms lies under this folder yet. Start one: resexp train --config plain20" });
  document.body.append(make("main", {},
    make("p", { textContent: "How strongly the loss changes with each layer's weights, at every recorded step. A colour is the same size on both sides. Point at a step: below stand both profiles." }),
    at.none, make("div", { className: "pair" }, at.sides[0].whole, at.sides[1].whole), at.legend,
    make("div", { className: "brush" }, at.step, at.slider), at.profiles, at.faults), at.told);
  followTheme();
  await refresh(true);
  window.addEventListener("resize", () => pointTo(state.step ?? 0));
  setInterval(() => refresh().catch(() => {}), REFRESH_MS);
}
