// What is known of one token: its classes at the chosen site and block, and its path over depth.

const SITE_LABELS = { residual: "residual stream", attn: "attention branch", mlp: "MLP branch" };
const LABELS = { 1: "class token, by the mask", 0: "context token, by the mask", "-1": "ignored by the mask" };
const SVG = "http://www.w3.org/2000/svg";

function siteLabel(view) {
  return SITE_LABELS[view.site] + (isTuned(view) ? ", tuned lens" : "");
}

function shownShare(share) {
  return share === null ? "not known" : share.toFixed(3);
}

/** Return a class's place among all, as exactly as the page has it. */
function shownPlace(values, site, block, token) {
  const rank = values.rankAt(site, block, token);
  if (rank === null) return `not among the ${values.places} strongest`;
  const exact = values.isOwn() || RANK_STEP === 1 || rank < values.places;
  return `${exact ? "" : "about "}${rank + 1} of ${ABOUT.num_classes}`;
}

function describeToken(values, view, token) {
  const site = siteOf(view);
  const share = shownShare(values.identifiability(site, view.block, token));
  return `${tokenName(token)}: identifiability ${share}, top class ${className(values.topClass(site, view.block, token))}`;
}

function classEntry(values, index) {
  const chosen = index === values.interest;
  const entry = [swatch(classColours(values).get(index) ?? OTHERS_RGB, className(index))];
  const mark = LABELLED ? "✓ correct" : "✓ of interest";
  return chosen ? [...entry, element("span", { className: "correct", textContent: mark })] : entry;
}

function showToken(values, view, token) {
  const site = siteOf(view);
  CELLS[token].setAttribute("aria-label", describeToken(values, view, token));
  document.getElementById("token-name").textContent =
    `${tokenName(token)} · ${siteLabel(view)}, block ${view.block + 1}`;
  const facts = [
    ["identifiability", shownShare(values.identifiability(site, view.block, token))],
    [`place of the ${INTEREST}`, shownPlace(values, site, view.block, token)],
  ];
  const gap = view.colour === DIFFERENCE ? difference(values, view, view.block, token) : null;
  if (gap !== null) facts.push([`minus that in ${sharesBeside.label}`, gap.toFixed(3)]);
  const logit = values.logitAt(site, view.block, token);
  if (logit !== null) facts.push([`logit of the ${INTEREST}`, logit.toPrecision(values.isOwn() ? 3 : 2)]);
  ABOUT.methods.forEach((method, place) => {
    if (method.name === view.colour && token >= PREFIX) {
      facts.push(["importance", `${values.importanceShares(place)[token - PREFIX].toFixed(2)} of the largest`]);
    }
  });
  if (values.labelOf(token) !== null) facts.push(["mask", LABELS[values.labelOf(token)]]);
  document.getElementById("facts").replaceChildren(...facts.map(([name, value]) =>
    element("div", {}, [element("dt", { textContent: name }), element("dd", { textContent: value })])));
  document.getElementById("top").replaceChildren(...values.classes(site, view.block, token).map((index) =>
    element("li", {}, classEntry(values, index))));
}

/** Scroll a list, and nothing around it, so far that one of its entries is seen. */
function keepInSight(list, entry) {
  if (entry.offsetTop < list.scrollTop || entry.offsetTop + entry.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = entry.offsetTop - list.clientHeight / 2;
  }
}

function drawn(name, attributes, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function showPath(values, view) {
  const section = document.getElementById("path");
  section.classList.toggle("empty", view.token === null);
  const name = document.getElementById("path-name");
  if (view.token === null) {
    name.textContent = "Click a token to draw its path over depth";
    return;
  }
  name.textContent = `Path of ${tokenName(view.token)} · ${siteLabel(view)}`;
  const site = siteOf(view);
  const blocks = Array.from({ length: ABOUT.blocks }, (_, block) => block);
  const shares = blocks.map((block) => values.identifiability(site, block, view.token));
  const tops = blocks.map((block) => values.topClass(site, block, view.token));
  drawChart(values, view, shares, tops);
  const rows = blocks.map((block) => {
    const top = element("td", {}, classEntry(values, tops[block]));
    const row = element("tr", {}, [
      element("th", { scope: "row", textContent: block + 1 }),
      element("td", { textContent: shownShare(shares[block]) }),
      top,
    ]);
    row.classList.toggle("now", block === view.block);
    return row;
  });
  const head = ["block", "identifiability", "top class"].map((text) => element("th", { scope: "col", textContent: text }));
  document.getElementById("path-table").replaceChildren(element("table", {}, [
    element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows),
  ]));
  keepInSight(document.getElementById("path-table"), rows[view.block]);
}

function drawChart(values, view, shares, tops) {
  const [width, height, left, right, top, bottom] = [340, 150, 34, 8, 8, 34];
  const step = (width - left - right) / ABOUT.blocks;
  const x = (block) => left + step * (block + 0.5);
  const y = (share) => top + (1 - share) * (height - top - bottom);
  const chart = document.getElementById("chart");
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const parts = [
    drawn("rect", { class: "now", x: x(view.block) - step / 2, y: top, width: step, height: height - top - bottom + 16 }),
  ];
  for (const share of [0, 0.5, 1]) {
    parts.push(drawn("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    parts.push(drawn("text", { class: "end", x: left - 5, y: y(share) + 4 }, share));
  }
  parts.push(drawn("line", { class: "chance", x1: left, x2: width - right, y1: y(CHANCE), y2: y(CHANCE) }));
  const points = shares.map((share, block) => (share === null ? null : `${x(block)},${y(share)}`)).filter(Boolean);
  parts.push(drawn("polyline", { class: "line", points: points.join(" ") }));
  const every = Math.ceil(ABOUT.blocks / 14);
  shares.forEach((share, block) => {
    if (share !== null) parts.push(drawn("circle", { class: "dot", cx: x(block), cy: y(share), r: 3 }));
    const colour = css(classColours(values).get(tops[block]) ?? OTHERS_RGB);
    const square = drawn("rect", { x: x(block) - step / 2 + 0.5, y: height - bottom + 5, width: step - 1, height: 10, fill: colour });
    square.append(drawn("title", {}, `block ${block + 1}: ${className(tops[block])}`));
    parts.push(square);
    if (block % every === 0 || ABOUT.blocks <= 14) {
      parts.push(drawn("text", { class: "middle", x: x(block), y: height - 5 }, block + 1));
    }
  });
  parts.push(drawn("text", { class: "end", x: width - right, y: y(CHANCE) + 12 }, "chance"));
  chart.replaceChildren(...parts);
}
