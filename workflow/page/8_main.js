// Draws the page, and redraws what a change of the view touches.

const at = (id) => document.getElementById(id);
let view = null;
let values = null;
let hovered = null;
let beside = null;
let selectThumbnail = null;
let asked = 0;

function shownToken() {
  return hovered ?? view.token ?? 0;
}

/** Change the view; `said` is the message of another page that asked for it, which then need not be told. */
async function change(changes, said = null) {
  view = possibleView({ ...view, ...changes });
  history.replaceState(null, "", EMBEDDED ? `${fragmentOf(view)}&embedded=1` : fragmentOf(view));
  tell(lacks(said ?? {}));
  const drawn = await draw(said === null);
  if (drawn && said && view.colour === DIFFERENCE) beside.send({ say: "compared", compared: sharesOf(view, values) });
}

function followFragment() {
  const said = saidByFragment();
  // A page that holds another model's was made to be seen beside it.
  if (!location.hash && ABOUT.others[0]?.held) said.beside = ABOUT.others[0].model;
  view = possibleView(said);
  tell(lacks(said));
}

function tell(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = text === "";
}

/** Draw the view, and return whether it still is what was asked for. */
async function draw(told = false) {
  const mine = ++asked;
  const found = await valuesOf(view.image);
  if (mine !== asked) return false; // The view changed while numbers were unpacked.
  if (found !== values) {
    values = found;
    showImage(view.image, values.photo);
    selectThumbnail(view.image);
    offerClasses();
  }
  values.choose(view.class);
  beside.open(view.beside);
  repaint();
  showControls();
  showPath(values, view);
  if (told) beside.send(messageOf(view, values));
  return true;
}

/** Draw what depends on colours, of which the page beside may have sent what they come from. */
function repaint() {
  const paint = painter(values, view);
  const byBlock = OF_BLOCKS.some((colour) => colour.name === view.colour);
  paintTokens(paint, view);
  const compared = isCompared(view, values) && sharesBeside.label;
  const mapChanged = [view.image, siteOf(view), view.colour, values.interest, compared, ...classesBeside].join();
  if (draw.map !== mapChanged) {
    draw.map = mapChanged;
    paintStrip(paint);
    paintLegend(values, view);
  }
  document.querySelectorAll("#strip .small-map").forEach((map, block) => map.classList.toggle("now", block === view.block));
  at("strip").hidden = !byBlock;
  at("photo").classList.toggle("covered", view.cover > 0);
  at("photo").classList.toggle("muted", view.cover > 0 && byBlock);
  showToken(values, view, shownToken());
}

function showControls() {
  at("block").value = view.block;
  at("block").setAttribute("aria-valuetext", `block ${view.block + 1} of ${ABOUT.blocks}`);
  at("block-name").textContent = `${view.block + 1} of ${ABOUT.blocks}`;
  at("colour").value = view.colour;
  at("cover").value = view.cover;
  at("class").value = view.class ?? "";
  at("beside").value = view.beside ?? "";
  for (const radio of document.querySelectorAll("#sites input")) radio.checked = radio.value === view.site;
  for (const radio of document.querySelectorAll("#lenses input")) radio.checked = radio.value === view.lens;
  at("lenses").disabled = view.site !== "residual";
}

function hover(token, quietly = false) {
  if (token === hovered) return;
  hovered = token;
  markHovered(token);
  if (values) showToken(values, view, shownToken());
  if (!quietly) beside.send({ say: "hover", place: placeOf(token) });
}

function nextBlock(step) {
  change({ block: Math.min(ABOUT.blocks - 1, Math.max(0, view.block + step)) });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inWidget = event.target.closest("input, select, button, summary, [role=option]");
  const step = { PageDown: 1, PageUp: -1, ...(inWidget ? {} : { ArrowRight: 1, ArrowLeft: -1 }) }[event.key];
  const onToken = event.target.closest(".token");
  if (event.key === "Escape" && view.token !== null) change({ token: null });
  else if (step && (onToken || !event.key.startsWith("Page"))) nextBlock(step);
  else return;
  event.preventDefault();
}

/** Offer as classes of interest those that the page has at every token, and those that are strong somewhere in the image. */
function offerClasses() {
  if (LABELLED) return;
  const own = ABOUT.interest === "prediction" ? "the model's prediction" : className(values.ownClass);
  const strong = [...new Set(values.top5)].filter((index) => !ABOUT.chosen.includes(index)).sort((a, b) => a - b);
  if (view.class !== null && ![...ABOUT.chosen, ...strong].includes(view.class)) strong.push(view.class);
  const group = (label, classes) => (classes.length ? [element("optgroup", { label }, classes.map((index) =>
    element("option", { value: index, textContent: className(index) })))] : []);
  at("class").replaceChildren(
    element("option", { value: "", textContent: own }),
    ...group("at every token", ABOUT.chosen), ...group("where they are among the strongest", strong),
  );
}

/** Make radio buttons of a part of the view, with the text of each of its values. */
function makeRadios(container, part, texts) {
  for (const [value, text] of Object.entries(texts)) {
    const radio = element("input", { type: "radio", name: part, value });
    radio.addEventListener("change", () => change({ [part]: value }));
    const label = element("label", {}, [radio, element("span", { textContent: text })]);
    // A click of the mouse (not one that a key makes) leaves arrow keys to the blocks.
    label.addEventListener("click", (event) => event.detail > 0 && setTimeout(() => radio.blur()));
    container.append(label);
  }
}

function makeControls() {
  makeRadios(at("sites"), "site", Object.fromEntries(ABOUT.sites.map((site) => [site, SITE_LABELS[site]])));
  if (TUNED) makeRadios(at("lenses"), "lens", { [LOGIT_LENS]: "logit lens", [TUNED_LENS]: "tuned lens" });
  at("lenses").hidden = !TUNED;
  const options = (all) => all.map(({ name, label }) => element("option", { value: name, textContent: label }));
  at("colour").append(...options(OF_BLOCKS));
  if (ABOUT.methods.length) at("colour").append(element("optgroup", { label: "explanations" }, options(ABOUT.methods)));
  at("colour").addEventListener("change", () => change({ colour: at("colour").value }));
  at("cover").addEventListener("input", () => change({ cover: Number(at("cover").value) }));
  at("class").addEventListener("change", () => change({ class: at("class").value || null }));
  at("class-choice").hidden = LABELLED;
  at("beside").append(element("option", { value: "", textContent: "nothing" }));
  at("beside").append(...ABOUT.others.map((other) => element("option", { value: other.model, textContent: other.label })));
  at("beside").addEventListener("change", () => change({ beside: at("beside").value || null }));
  at("beside-choice").hidden = ABOUT.others.length === 0;
  makeSeries();
  at("block").max = ABOUT.blocks - 1;
  at("block").addEventListener("input", () => change({ block: Number(at("block").value) }));
  at("unpin").addEventListener("click", () => change({ token: null }));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
}

function makeTexts() {
  const { of, classes, seed } = ABOUT.sample;
  const shown = ABOUT.images.length;
  const right = ABOUT.images.filter((one) => one.correct).length;
  const interest = ABOUT.interest === "given" ? className(ABOUT.images[0].class) : "the model's own prediction for each";
  at("label").textContent = ABOUT.label;
  at("own-name").textContent = ABOUT.label;
  at("summary").textContent = `Every token of ${ABOUT.model}, projected onto ${ABOUT.num_classes} classes after each of its ${ABOUT.blocks} blocks. `
    + (LABELLED ? `Data set ${ABOUT.dataset}; the model is right for ${right} of the ${shown} images on this page.`
      : `The pictures have no labels: the class of interest is ${interest}, and you can choose another one.`);
  if (!LABELLED) at("sample").textContent = shown < of ? `${shown} of ${of} pictures, evenly chosen.` : "";
  else at("sample").textContent = shown < of
    ? `${shown} of ${of} evaluation images, chosen evenly over ${classes} classes (seed ${seed}).`
    : `All ${of} evaluation images.`;
  at("notes").append(...ABOUT.notes.map((note) => element("li", { textContent: note })));
}

function start() {
  followFragment();
  makeTexts();
  makeHeadWords();
  const on = {
    hover,
    pin: (token) => change({ token: token === view.token ? null : token }),
  };
  makePrefix(on);
  makeGrid(at("grid"), PREFIX, ROWS, COLUMNS, on);
  at("depth").style.setProperty("--blocks", ABOUT.blocks);
  makeStrip((block) => change({ block }));
  makeControls();
  selectThumbnail = makeThumbnails((image) => change({ image }));
  beside = new Beside({
    hello: () => beside.send(messageOf(view, values)),
    follow: (said) => change({ ...changesOf(said), beside: view.beside }, said),
    hover: (token) => hover(token, true),
    compared: () => values && repaint(),
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => { followFragment(); draw(true); });
  return draw();
}

start().then(
  () => requestAnimationFrame(() => { performance.mark("first view"); document.documentElement.dataset.ready = "yes"; }),
  (error) => {
    tell(`The page could not be drawn (${error}). It needs a browser of 2023 or later.`);
    throw error;
  },
);
