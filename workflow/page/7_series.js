// A series of checkpoints: each has a page of its own, and a slider leads from one to the next with the same view.

const SLIDER = "series";

function makeSeries() {
  if (!ABOUT.series || EMBEDDED) return;
  const { at: unit, points } = ABOUT.series;
  const slider = document.getElementById("point");
  const tell = () => {
    const { number } = points[slider.value];
    document.getElementById("point-number").textContent = number;
    slider.setAttribute("aria-valuetext", `${unit} ${number}`);
  };
  slider.max = points.length - 1;
  slider.value = points.findIndex(({ model }) => model === ABOUT.model);
  slider.addEventListener("input", tell);
  slider.addEventListener("change", () => {
    location.href = `${encodeURIComponent(points[slider.value].model)}.html${location.hash}&${SLIDER}=1`;
  });
  document.getElementById("point-unit").textContent = unit[0].toUpperCase() + unit.slice(1);
  document.getElementById("series").hidden = false;
  tell();
  if (SLIDER in saidByFragment()) slider.focus(); // The next arrow key leads on.
}
