// The view: what is looked at. It stands in the URL's fragment, so that a link shows the same.

const EMBEDDED = window.parent !== window && new URLSearchParams(location.hash.slice(1)).has("embedded");
const [IDENTIFIABILITY, TOP_CLASS, DIFFERENCE] = ["identifiability", "class", "difference"];
const OF_BLOCKS = [
  { name: IDENTIFIABILITY, label: "identifiability" }, { name: TOP_CLASS, label: "top class" },
  ...(EMBEDDED || ABOUT.others.length ? [{ name: DIFFERENCE, label: "difference" }] : []),
];
const COLOURS = [...OF_BLOCKS, ...ABOUT.methods];
const STRENGTH = 70;
const [LOGIT_LENS, TUNED_LENS] = ["logit", "tuned"];
const LENSES = TUNED ? [LOGIT_LENS, TUNED_LENS] : [LOGIT_LENS];

/** Return a view from what a fragment or another page says: what is not possible here is replaced, never shown. */
function possibleView(said) {
  const whole = (value, count) => (/^\d{1,9}$/.test(value) && Number(value) < count ? Number(value) : null);
  const one = (value, names) => (names.includes(value) ? value : null);
  const image = Number(said.image ?? NaN);
  return {
    image: IMAGES.has(image) ? image : ABOUT.images[0].image,
    site: one(said.site, ABOUT.sites) ?? ABOUT.sites[0],
    lens: one(said.lens, LENSES) ?? LOGIT_LENS,
    block: whole(said.block, ABOUT.blocks) ?? ABOUT.blocks - 1,
    token: whole(said.token, TOKENS),
    colour: one(said.colour, COLOURS.map((colour) => colour.name)) ?? IDENTIFIABILITY,
    cover: whole(said.cover, 101) ?? STRENGTH,
    class: LABELLED ? null : whole(said.class, ABOUT.num_classes),
    beside: one(said.beside, ABOUT.others.map((other) => other.model)),
  };
}

/** Tell whether a view looks through the tuned lens: it is fitted to the residual stream, branches have none. */
function isTuned(view) {
  return view.lens === TUNED_LENS && view.site === "residual";
}

/** Return where the numbers of a view's site and lens lie. */
function siteOf(view) {
  return isTuned(view) ? TUNED_SITE : ABOUT.sites.indexOf(view.site);
}

/** Return what a link or another page asks for and this page does not have. */
function lacks(said) {
  const found = [];
  if (said.image !== undefined && !IMAGES.has(Number(said.image))) {
    found.push(`Image ${said.image} is not one of the ${ABOUT.images.length} on this page; another one is shown.`);
  }
  if (said.colour !== undefined && !COLOURS.some((colour) => colour.name === said.colour)) {
    found.push("This page has no such map of this model; identifiability is shown.");
  }
  if (said.lens === TUNED_LENS && !TUNED) {
    found.push("This page has no tuned lens of this model; the logit lens is shown.");
  }
  return found.join(" ");
}

function saidByFragment() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function fragmentOf(view) {
  const { cover, token, beside, lens, class: chosen, ...always } = view;
  const parts = new URLSearchParams(always);
  if (lens !== LOGIT_LENS) parts.set("lens", lens);
  if (token !== null) parts.set("token", token);
  if (chosen !== null) parts.set("class", chosen);
  if (cover !== STRENGTH) parts.set("cover", cover);
  if (beside !== null) parts.set("beside", beside);
  return `#${parts}`;
}
