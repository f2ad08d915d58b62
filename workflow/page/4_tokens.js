// Tokens over the photo and beside it, the legend, and the small maps of all blocks.

const CELLS = [];

function element(name, properties = {}, children = []) {
  const made = document.createElement(name);
  const { role, ...rest } = properties;
  if (role) made.setAttribute("role", role);
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

/** Make the cells of a grid of tokens; `on` takes hover(token or null) and pin(token). */
function makeGrid(container, first, rows, columns, on) {
  container.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  for (let row = 0; row < rows; row++) {
    const cells = Array.from({ length: columns }, (_, column) => {
      const token = first + row * columns + column;
      const cell = element("div", { role: "gridcell", className: "token", tabIndex: row || column ? -1 : 0 });
      cell.dataset.token = token;
      CELLS[token] = cell;
      return cell;
    });
    container.append(element("div", { role: "row" }, cells));
  }
  const tokenOf = (event) => {
    const cell = event.target.closest(".token");
    return cell ? Number(cell.dataset.token) : null;
  };
  container.addEventListener("pointerover", (event) => on.hover(tokenOf(event)));
  container.addEventListener("pointerleave", () => on.hover(null));
  // The mouse leaves the focus where it is, so that arrow keys go on running through the blocks.
  container.addEventListener("mousedown", (event) => event.preventDefault());
  container.addEventListener("click", (event) => tokenOf(event) !== null && on.pin(tokenOf(event)));
  container.addEventListener("focusin", (event) => on.hover(tokenOf(event)));
  container.addEventListener("focusout", () => on.hover(null));
  container.addEventListener("keydown", (event) => {
    const token = tokenOf(event);
    if (token === null) return;
    if (event.key === "Enter" || event.key === " ") {
      on.pin(token);
    } else {
      const place = token - first;
      const [row, column] = [Math.floor(place / columns), place % columns];
      const target = {
        ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
        Home: [row, 0], End: [row, columns - 1],
      }[event.key];
      if (!target) return;
      const [toRow, toColumn] = [Math.min(rows - 1, Math.max(0, target[0])), Math.min(columns - 1, Math.max(0, target[1]))];
      const cell = CELLS[first + toRow * columns + toColumn];
      CELLS[token].tabIndex = -1;
      cell.tabIndex = 0;
      cell.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  });
}

function makePrefix(on) {
  const container = document.getElementById("prefix");
  container.hidden = PREFIX === 0;
  makeGrid(container, 0, PREFIX, 1, on);
  ABOUT.prefix.forEach((name, token) => CELLS[token].append(element("span", { textContent: name })));
}

function paintTokens(paint, view) {
  CELLS.forEach((cell, token) => {
    const found = paint(view.block, token);
    cell.style.backgroundColor = found ? css(...found) : "transparent";
    cell.classList.toggle("pinned", token === view.token);
    cell.classList.toggle("nothing", found === null);
    if (token < PREFIX) {
      const dark = found && found[0][0] * 0.299 + found[0][1] * 0.587 + found[0][2] * 0.114 < 140;
      cell.style.backgroundColor = found ? css(found[0]) : "transparent";
      cell.classList.toggle("on-dark", Boolean(dark));
    }
  });
}

function markHovered(token) {
  CELLS.forEach((cell, each) => cell.classList.toggle("hovered", each === token));
}

function makeStrip(choose) {
  const strip = document.getElementById("strip");
  for (let block = 0; block < ABOUT.blocks; block++) {
    const canvas = element("canvas", { width: COLUMNS, height: ROWS });
    const cell = element("div", { className: "small-map" }, [canvas, element("span", { textContent: block + 1 })]);
    cell.addEventListener("click", () => choose(block));
    strip.append(cell);
  }
}

function paintStrip(paint) {
  document.querySelectorAll("#strip canvas").forEach((canvas, block) => {
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(COLUMNS, ROWS);
    for (let place = 0; place < ROWS * COLUMNS; place++) {
      const [colour] = paint(block, PREFIX + place) ?? [OTHERS_RGB];
      pixels.data.set([...colour, 255], 4 * place);
    }
    context.putImageData(pixels, 0, 0);
  });
}

function swatch(colour, text) {
  const mark = element("span", { className: "swatch" });
  mark.style.backgroundColor = css(colour);
  return element("span", { className: "entry" }, [mark, element("span", { textContent: text })]);
}

function scale(colours, low, high, text, tick = null) {
  const bar = element("span", { className: "bar" });
  bar.style.backgroundImage = `linear-gradient(to right, ${colours.join(",")})`;
  if (tick !== null) {
    const mark = element("span", { className: "tick", title: `chance: ${tick.toFixed(3)}` });
    mark.style.left = `${100 * tick}%`;
    bar.append(mark);
  }
  const parts = [element("span", { textContent: low }), bar, element("span", { textContent: high })];
  return [element("span", { className: "scale" }, parts), element("span", { textContent: text })];
}

function paintLegend(values, view) {
  const legend = document.getElementById("legend");
  if (view.colour === IDENTIFIABILITY) {
    const text = `identifiability: 1 = the ${INTEREST} is on top; the tick is chance, ${CHANCE.toPrecision(2)}`
      + (values.isWhole(siteOf(view)) ? "" : `; known where the class is among a token's ${values.places} strongest`);
    legend.replaceChildren(...scale(SEQUENTIAL, "0", "1", text, CHANCE));
  } else if (view.colour === TOP_CLASS) {
    const entries = [...classColours(values)].map(([index, colour], place) =>
      swatch(colour, place ? className(index) : `${className(index)} (${LABELLED ? "correct" : "of interest"})`));
    const shown = new Set(classColours(values).keys());
    const others = values.top5.some((top, place) => place % values.places === 0 && !shown.has(top));
    legend.replaceChildren(...entries, ...(others ? [swatch(OTHERS_RGB, "other classes")] : []));
  } else if (view.colour === DIFFERENCE) {
    legend.replaceChildren(...(isCompared(view, values)
      ? scale(DIVERGING, "−1", "1", `identifiability here minus in ${sharesBeside.label}, at the same relative depth`)
      : ["Models are compared with another one beside, which has the same tokens, classes and lens."]));
  } else {
    const whose = LABELLED ? "the correct class" : className(values.ownClass);
    const text = `importance for ${whose}, as a share of the image's largest; one map for all blocks`;
    const signed = isSigned(values.importanceShares(ABOUT.methods.findIndex((method) => method.name === view.colour)));
    legend.replaceChildren(...scale(...(signed ? [DIVERGING, "−1"] : [HEAT, "0"]), "1", text));
  }
}
