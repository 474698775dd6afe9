document.documentElement.classList.add("js");
for (const slider of document.querySelectorAll(".slider")) {
  const input = slider.querySelector("input"), section = slider.closest("section");
  const steps = slider.dataset.steps.split(" ").map(Number);
  const show = () => {
    const now = steps[input.value], words = "step " + now.toLocaleString("en");
    for (const chart of section.querySelectorAll("svg")) {
      const frames = [...chart.querySelectorAll("[data-step]")];
      const shown = Math.max(...frames.map(frame => +frame.dataset.step).filter(step => step <= now));
      for (const frame of frames)
        frame.setAttribute("display", +frame.dataset.step === shown ? "inline" : "none");
    }
    for (const place of section.querySelectorAll("[data-now]")) place.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", show);
  show();
}
