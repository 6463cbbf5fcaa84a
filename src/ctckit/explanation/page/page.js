/* The page's widgets and exercises, its language and title, and what tests read from it. Needs words.js, boxes.js, and
   the scripts of what is on the page. */

const widgets = [...document.querySelectorAll(".widget")].map((root, i) => new KINDS[root.dataset.kind](root, i));
const exercises = [...document.querySelectorAll(".exercise")].map((form, i) => new ExerciseForm(form, i));

/** The title is that of the page, or follows the first computation as it is changed. */
function entitle() {
  if (!TITLES) document.querySelector(`h1[data-lang="${page.lang}"]`).textContent = widgets[0].heading();
  document.title = TITLES ? TITLES[page.lang] : widgets[0].heading();
}
if (!TITLES) widgets[0].onChange = entitle;

function speak(lang) {
  page.lang = lang;
  entitle();
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.setAttribute("aria-pressed", button.dataset.choose === lang);
  }
}
for (const button of document.querySelectorAll("[data-choose]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.choose);
    for (const shown of [...widgets, ...exercises]) shown.relabel();
  });
}
speak(page.lang);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const widget of widgets) for (const picture of widget.pictures) picture.paint?.();
});

document.querySelectorAll(".drawing, .program pre, .prose table").forEach(hintAt);

window.ctckit = {
  widgets: widgets.map((widget) => ({
    logProbs: () => widget.scores?.rows.map((row) => row.slice()),
    ...widget.told(),
  })),
};
