// Colours of tokens. All palettes can be told apart with any kind of colour vision.

// viridis, of matplotlib.
const SEQUENTIAL = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
// Blue to red over white, ColorBrewer's RdBu.
const DIVERGING = ["#2166ac", "#4393c3", "#92c5de", "#f7f7f7", "#f4a582", "#d6604d", "#b2182b"];
// Yellow to red, ColorBrewer's YlOrRd, as in figures of maps that are never negative.
const HEAT = ["#ffffcc", "#ffeda0", "#fed976", "#feb24c", "#fd8d3c", "#fc4e2a", "#e31a1c", "#bd0026", "#800026"];
// Okabe & Ito 2008; the first is the class of interest's.
const CATEGORIES = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442"];
const OTHERS = "#8c8c8c";

const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;

/** Return a table of 256 colours through the given ones. */
function ramp(hexes) {
  const stops = hexes.map(rgb);
  return Array.from({ length: 256 }, (_, step) => {
    const place = (step / 255) * (stops.length - 1);
    const before = Math.min(Math.floor(place), stops.length - 2);
    return stops[before].map((value, channel) => Math.round(value + (stops[before + 1][channel] - value) * (place - before)));
  });
}

const SEQUENTIAL_RAMP = ramp(SEQUENTIAL);
const DIVERGING_RAMP = ramp(DIVERGING);
const HEAT_RAMP = ramp(HEAT);
const OTHERS_RGB = rgb(OTHERS);

/** Return the classes of an image that get a colour: that of interest, then those most often on top at any site and block. */
function colouredClasses(values) {
  const counts = new Map();
  for (let place = 0; place < values.top5.length; place += values.places) {
    const top = values.top5[place];
    counts.set(top, (counts.get(top) ?? 0) + 1);
  }
  counts.delete(values.interest);
  const often = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([index]) => index);
  return [values.interest, ...often].slice(0, CATEGORIES.length);
}

let classesBeside = [];

/** Take over the coloured classes of the page that this one stands beside, so that classes that both show look alike. */
function matchClasses(classes) {
  classesBeside = Array.isArray(classes) ? classes.filter(Number.isInteger).slice(0, CATEGORIES.length) : [];
}

let sharesBeside = null;

/** Say what identifiability is of: two models are compared where this is the same. */
function comparedBy(view, values) {
  return JSON.stringify([ABOUT.grid, ABOUT.num_classes, className(values.interest), view.image, view.site, isTuned(view)]);
}

/** Return the identifiability of every token at every block of a view's site, for the page that stands beside this one. */
function sharesOf(view, values) {
  const site = siteOf(view);
  const places = Float32Array.from({ length: ABOUT.blocks * TOKENS }, (_, place) => place);
  const shares = places.map((place) => values.identifiability(site, Math.floor(place / TOKENS), place % TOKENS) ?? NaN);
  return { by: comparedBy(view, values), label: ABOUT.label, prefix: ABOUT.prefix, blocks: ABOUT.blocks, shares };
}

function isCompared(view, values) {
  return sharesBeside?.by === comparedBy(view, values);
}

/** Return identifiability here minus that in the model beside, at the same relative depth; null where either is not known. */
function difference(values, view, block, token) {
  if (!isCompared(view, values)) return null;
  const { prefix, blocks, shares } = sharesBeside;
  const place = token < PREFIX ? prefix.indexOf(ABOUT.prefix[token]) : prefix.length + token - PREFIX;
  const row = Math.round(depthOf(block) * (blocks - 1));
  const there = place < 0 ? null : shares[row * (prefix.length + ROWS * COLUMNS) + place];
  const here = values.identifiability(siteOf(view), block, token);
  return here !== null && there >= 0 && there <= 1 ? here - there : null;
}

/** Return the colours of an image's classes, by class. */
function classColours(values) {
  if (values.matched !== classesBeside) {
    const own = colouredClasses(values);
    const places = own.map((index) => classesBeside.indexOf(index));
    const free = CATEGORIES.map((_, place) => place).filter((place) => !places.includes(place));
    values.matched = classesBeside;
    values.colours = new Map(own.map((index, order) => [index, rgb(CATEGORIES[places[order] < 0 ? free.shift() : places[order]])]));
  }
  return values.colours;
}

/** Tell whether a map has importance against its class, for which it takes a scale with two ends. */
function isSigned(shares) {
  return shares.some((share) => share < 0);
}

/** Return what colours a token: [[red, green, blue], opacity], or null where there is nothing to show. */
function painter(values, view) {
  const site = siteOf(view);
  const cover = view.cover / 100;
  if (view.colour === IDENTIFIABILITY) {
    return (block, token) => {
      const share = values.identifiability(site, block, token);
      return share === null ? null : [SEQUENTIAL_RAMP[Math.round(255 * share)], cover];
    };
  }
  if (view.colour === TOP_CLASS) {
    const colours = classColours(values);
    return (block, token) => [colours.get(values.topClass(site, block, token)) ?? OTHERS_RGB, cover];
  }
  if (view.colour === DIFFERENCE) {
    return (block, token) => {
      const found = difference(values, view, block, token);
      return found === null ? null : [DIVERGING_RAMP[Math.round(255 * (found + 1) / 2)], cover];
    };
  }
  const shares = values.importanceShares(ABOUT.methods.findIndex((method) => method.name === view.colour));
  const signed = isSigned(shares);
  return (_, token) => {
    if (token < PREFIX) return null;
    const share = shares[token - PREFIX];
    // Little importance lets the photo through, as in the figure of heat maps.
    if (!signed) return [HEAT_RAMP[Math.round(255 * share)], Math.min(1, 1.3 * cover) * share];
    return [DIVERGING_RAMP[Math.round(255 * (share + 1) / 2)], Math.min(1, 1.3 * cover) * Math.sqrt(Math.abs(share))];
  };
}
