// Slider, play, and the numbers under the pointer. Without this script the pictures stand as they are.
document.documentElement.classList.add("js");
const PLAY_MS = 700;

for (const slider of document.querySelectorAll(".slider")) {
  const input = slider.querySelector("input"), section = slider.closest("section"), play = slider.querySelector("button");
  const steps = slider.dataset.steps.split(" ").map(Number);
  let timer = null;
  const show = () => {
    const now = steps[input.value], words = "step " + now.toLocaleString("en");
    for (const chart of section.querySelectorAll("svg")) {
      const frames = [...chart.querySelectorAll("[data-step]")];
      chart.shownStep = Math.max(...frames.map(frame => +frame.dataset.step).filter(step => step <= now));
      for (const frame of frames)
        frame.setAttribute("display", +frame.dataset.step === chart.shownStep ? "inline" : "none");
    }
    for (const place of section.querySelectorAll("[data-now]")) place.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  };
  const forward = () => {
    input.value = +input.value === +input.max ? 0 : +input.value + 1;
    show();
    if (+input.value === +input.max) stop();
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    timer = setInterval(forward, PLAY_MS);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    forward();
  });
  input.addEventListener("input", () => { stop(); show(); });
  section.addEventListener("probed", event => {
    const index = steps.findLastIndex(step => step <= event.detail);
    if (index >= 0 && +input.value !== index) { stop(); input.value = index; show(); }
  });
  show();
}

const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;

const say = (head, lines, event) => {
  tip.replaceChildren();
  tip.appendChild(document.createElement("b")).textContent = head;
  for (const line of lines) tip.appendChild(document.createElement("div")).textContent = line;
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect(), edge = document.documentElement.clientWidth;
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, edge - width - 4)) + "px";
  tip.style.top = (event.clientY - height - 14 > 4 ? event.clientY - height - 14 : event.clientY + 18) + "px";
};

for (const chart of document.querySelectorAll("svg[data-hover]")) {
  const data = JSON.parse(chart.dataset.hover);
  const mark = chart.appendChild(document.createElementNS(chart.namespaceURI, "g"));
  const draw = (name, attributes) => {
    const shape = mark.appendChild(document.createElementNS(chart.namespaceURI, name));
    for (const key in attributes) shape.setAttribute(key, attributes[key]);
  };
  const place = event => new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());

  const lines = at => {  // all lines at the x nearest to the pointer
    const shown = data.lines.filter(line => line.step === null || line.step === chart.shownStep);
    const points = shown.flatMap(line => line.points.map(point => [...point, line.name]));
    if (!points.length) return null;
    const near = points.reduce((best, point) => Math.abs(point[0] - at.x) < Math.abs(best[0] - at.x) ? point : best);
    const here = points.filter(point => Math.abs(point[0] - near[0]) < 0.05);
    for (const [x, y] of here) draw("circle", {cx: x, cy: y, r: 3.2, fill: "none", stroke: "currentColor", "stroke-width": 1.2});
    return [`${data.axis} ${near[2].toLocaleString("en")}`, here.map(point => `${point[4]}: ${point[3]}`)];
  };

  const grid = at => {  // the cell under the pointer
    const [left, top, right, bottom] = data.box;
    if (at.x < left || at.x >= right || at.y < top || at.y >= bottom) return null;
    const wide = (right - left) / data.steps.length, tall = (bottom - top) / data.layers.length;
    const column = Math.floor((at.x - left) / wide), row = Math.floor((bottom - at.y) / tall);
    draw("rect", {x: left + column * wide, y: top, width: wide, height: bottom - top, fill: "none",
                  stroke: "currentColor", "stroke-width": 1.2});
    chart.dispatchEvent(new CustomEvent("probed", {bubbles: true, detail: data.steps[column]}));
    return [`layer ${data.layers[row]}, step ${data.steps[column].toLocaleString("en")}`, [`${data.name}: ${data.texts[row][column]}`]];
  };

  const leave = () => { mark.replaceChildren(); tip.hidden = true; };
  chart.addEventListener("pointermove", event => {
    leave();
    const found = (data.lines ? lines : grid)(place(event));
    if (found) say(...found, event);
  });
  chart.addEventListener("pointerleave", leave);
}
