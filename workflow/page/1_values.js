"use strict";
// What the page holds, and the numbers of one image, unpacked when it is shown.

const ABOUT = JSON.parse(document.getElementById("about").textContent);
const IMAGES = new Map(ABOUT.images.map((one) => [one.image, one]));
const [ROWS, COLUMNS] = ABOUT.grid;
if (ABOUT.ratio) document.documentElement.style.setProperty("--ratio", ABOUT.ratio);
const PREFIX = ABOUT.prefix.length;
const TOKENS = PREFIX + ROWS * COLUMNS;
const CHANCE = (ABOUT.num_classes + 1) / (2 * ABOUT.num_classes);
const TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, int16: Int16Array, int8: Int8Array, float32: Float32Array,
};
const KEPT_IMAGES = 8;
// What the tuned lens sees of the residual stream lies behind the sites, as if it were one more; only some pages have it.
const TUNED_SITE = ABOUT.sites.length;
const TUNED = ABOUT.arrays.some((array) => array.name === "tuned_rank");

// Pictures without labels have a class of interest, the model's prediction or one that was asked for, and it can be changed.
const LABELLED = ABOUT.interest === undefined;
const INTEREST = LABELLED ? "correct class" : "class of interest";
// Ranks of chosen classes are rounded to so many.
const RANK_STEP = Math.max(1, (ABOUT.num_classes - 1) / 127);

function className(index) {
  return ABOUT.classes[index] ?? `class ${index}`;
}

function tokenName(token) {
  if (token < PREFIX) return ABOUT.prefix[token];
  const place = token - PREFIX;
  return `row ${Math.floor(place / COLUMNS) + 1}, column ${(place % COLUMNS) + 1}`;
}

/** Return text that the page holds under a name and an image's number; it may still be on its way from the disk. */
async function held(name, image) {
  for (;;) {
    const all = document.readyState !== "loading";
    const found = document.getElementById(`${name}-${image}`);
    // What something stands behind has been read to its end.
    if (found && (all || found.nextSibling)) return found.textContent;
    if (all) throw new Error(`the file ends before image ${image}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** One image's numbers by site, block and token; classlens/page/write.py says how they are laid out. */
class Values {
  constructor(image, arrays, photo) {
    Object.assign(this, arrays);
    this.photo = photo;
    this.ownClass = IMAGES.get(image).class;
    this.interest = this.ownClass;
    for (const codes of [this.chosen_rank, this.tuned_chosen_rank, this.chosen_logit]) {
      for (let i = TOKENS; codes && i < codes.length; i++) if (i % (ABOUT.blocks * TOKENS) >= TOKENS) codes[i] += codes[i - TOKENS];
    }
    this.places = this.top5.length / (ABOUT.sites.length * TOKENS * ABOUT.blocks);
    if (TUNED) {
      this.rank = joined(this.rank, this.tuned_rank);
      this.top5 = joined(this.top5, this.tuned_top5);
    }
  }

  index(site, block, token) {
    return (site * TOKENS + token) * ABOUT.blocks + block;
  }

  /** Change the class of interest; null is the image's own. */
  choose(index) {
    const chosen = index ?? this.ownClass;
    if (chosen !== this.interest) this.matched = null;
    this.interest = chosen;
  }

  /** Return the ranks of other classes than the image's own that the page has at every token of a site, if there are any. */
  chosenRanks(site) {
    return { 0: this.chosen_rank, [TUNED_SITE]: this.tuned_chosen_rank }[site];
  }

  /** Return where another class than the image's own lies among those that the page has at every token, or -1. */
  chosenPlace(site) {
    return this.chosenRanks(site) ? ABOUT.chosen.indexOf(this.interest) : -1;
  }

  isOwn() {
    return this.interest === this.ownClass;
  }

  /** Tell whether the class of interest is known at every token of a site, or only where it is among the strongest. */
  isWhole(site) {
    return this.isOwn() || this.chosenPlace(site) >= 0;
  }

  /** Return a rank, or null where it is not known; of another class than the image's own to within RANK_STEP / 2. */
  rankAt(site, block, token) {
    if (this.isOwn()) return this.rank[this.index(site, block, token)];
    const strong = this.classes(site, block, token).indexOf(this.interest);
    if (strong >= 0) return strong;
    const place = this.chosenPlace(site);
    if (place < 0) return null;
    const rank = Math.round(this.chosenRanks(site)[(place * ABOUT.blocks + block) * TOKENS + token] * RANK_STEP);
    return Math.max(rank, this.places);
  }

  identifiability(site, block, token) {
    const rank = this.rankAt(site, block, token);
    return rank === null ? null : 1 - rank / ABOUT.num_classes;
  }

  /** Return a logit, or null where it is not known: files of the tuned lens have none. */
  logitAt(site, block, token) {
    if (site === TUNED_SITE) return null;
    if (this.isOwn()) return this.logit[this.index(site, block, token)] * this.logit_unit[site * ABOUT.blocks + block];
    const place = this.chosenPlace(site) * ABOUT.blocks + block;
    return place < 0 ? null : this.chosen_logit[place * TOKENS + token] * this.chosen_unit[place];
  }

  /** Classes with the largest logits, largest first. */
  classes(site, block, token) {
    const start = this.index(site, block, token) * this.places;
    return Array.from(this.top5.subarray(start, start + this.places));
  }

  topClass(site, block, token) {
    return this.top5[this.index(site, block, token) * this.places];
  }

  /** Importance of each image token, as a share of the image's largest: -1 to 1. */
  importanceShares(method) {
    const codes = this.importance.subarray(method * ROWS * COLUMNS, (method + 1) * ROWS * COLUMNS);
    const largest = codes.reduce((most, code) => Math.max(most, Math.abs(code)), 0);
    return Array.from(codes, (code) => (largest ? code / largest : 0));
  }

  /** 1 class, 0 context, -1 ignored by the mask; null where there is no mask. */
  labelOf(token) {
    return this.label && token >= PREFIX ? this.label[token - PREFIX] : null;
  }
}

function joined(first, second) {
  const both = new first.constructor(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

const unpacked = new Map();

async function valuesOf(image) {
  if (!unpacked.has(image)) {
    const numbers = unpack(image);
    numbers.catch(() => unpacked.delete(image));
    unpacked.set(image, numbers);
    if (unpacked.size > KEPT_IMAGES) unpacked.delete(unpacked.keys().next().value);
  }
  return unpacked.get(image);
}

async function unpack(image) {
  const binary = atob(await held("values", image));
  const compressed = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) compressed[i] = binary.charCodeAt(i);
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  let start = 0;
  for (const { name, type, shape } of ABOUT.arrays) {
    const count = shape.reduce((product, size) => product * size, 1);
    const width = TYPES[type].BYTES_PER_ELEMENT;
    const bytes = new Uint8Array(count * width);
    for (let byte = 0; byte < width; byte++) {
      for (let i = 0; i < count; i++) bytes[i * width + byte] = planes[start + byte * count + i];
    }
    arrays[name] = new TYPES[type](bytes.buffer);
    start += count * width;
  }
  return new Values(image, arrays, await held("photo", image));
}
