// Two models side by side: the page of another model on the same data set in a frame, kept in step by messages.
//
// Pages of other models may differ in depth and grid, so places travel as shares of depth and of the photo.

const ANSWER_WITHIN_MS = 5000;

function depthOf(block) {
  return ABOUT.blocks > 1 ? block / (ABOUT.blocks - 1) : 1;
}

function placeOf(token) {
  if (token === null) return null;
  if (token < PREFIX) return { prefix: ABOUT.prefix[token] };
  const place = token - PREFIX;
  return { x: ((place % COLUMNS) + 0.5) / COLUMNS, y: (Math.floor(place / COLUMNS) + 0.5) / ROWS };
}

function tokenAt(place) {
  if (place === null || typeof place !== "object") return null;
  if ("prefix" in place) {
    const token = ABOUT.prefix.indexOf(place.prefix);
    return token < 0 ? null : token;
  }
  const along = (share, count) => (share >= 0 && share < 1 ? Math.floor(share * count) : NaN);
  const token = PREFIX + along(place.y, ROWS) * COLUMNS + along(place.x, COLUMNS);
  return Number.isInteger(token) ? token : null;
}

function messageOf(view, values) {
  const { image, site, lens, colour, cover } = view;
  const compared = colour === DIFFERENCE;
  // Predictions may differ, and one class is compared.
  const index = view.class ?? (compared && !LABELLED ? values.interest : null);
  return {
    say: "view", image, site, lens, depth: depthOf(view.block), place: placeOf(view.token), colour, cover,
    chosen: index === null ? null : { index, name: className(index) },
    classes: [...classColours(values).keys()],
    compared: compared ? sharesOf(view, values) : null,
  };
}

/** Return the view that a message asks for, in this page's blocks and tokens. */
function changesOf(message) {
  // Another model may know other classes.
  const same = message.chosen && className(message.chosen.index) === message.chosen.name;
  return { ...message, class: same ? message.chosen.index : null, block: Math.round(Number(message.depth) * (ABOUT.blocks - 1)), token: tokenAt(message.place) };
}

/** Return where another model's page is: in this page, or a file beside it. */
async function addressOf(other) {
  if (!other.held) return `${encodeURIComponent(other.model)}.html`;
  return URL.createObjectURL(new Blob([JSON.parse(await held("page", 0))], { type: "text/html" }));
}

class Beside {
  constructor(on) {
    this.on = on;
    this.section = document.getElementById("other");
    this.trouble = document.getElementById("other-trouble");
    this.frame = null;
    window.addEventListener("message", (event) => this.hear(event));
    if (EMBEDDED) {
      document.documentElement.classList.add("embedded");
      const tell = () => this.send({ say: "height", height: Math.ceil(document.body.getBoundingClientRect().height) });
      new ResizeObserver(tell).observe(document.body);
      this.send({ say: "hello" });
    }
  }

  get partner() {
    return EMBEDDED ? window.parent : this.frame?.contentWindow;
  }

  // Files that are opened from disk have no origin to name. What is sent is where someone looks, and what is heard is checked.
  send(message) {
    this.partner?.postMessage({ classlens: 1, ...message }, "*");
  }

  hear(event) {
    if (!this.partner || event.source !== this.partner || event.data?.classlens !== 1) return;
    const message = event.data;
    if (message.say === "hello" && this.frame) {
      clearTimeout(this.waiting);
      this.tell("");
      this.on.hello();
    } else if (message.say === "height" && this.frame && message.height > 0) {
      this.frame.style.height = `${Math.min(6000, message.height)}px`;
    } else if (message.say === "view") {
      if (EMBEDDED) matchClasses(message.classes);
      sharesBeside = message.compared;
      this.on.follow(message);
    } else if (message.say === "compared") {
      sharesBeside = message.compared;
      this.on.compared();
    } else if (message.say === "hover") {
      this.on.hover(tokenAt(message.place));
    }
  }

  tell(text) {
    this.trouble.textContent = text;
    this.trouble.hidden = text === "";
  }

  /** Show the page of a model, or none. */
  async open(model) {
    if (EMBEDDED || model === (this.model ?? null)) return;
    clearTimeout(this.waiting);
    this.frame?.remove();
    this.frame = null;
    sharesBeside = null;
    this.model = model;
    this.section.hidden = model === null;
    document.body.classList.toggle("side-by-side", model !== null);
    if (model === null) return;
    const other = ABOUT.others.find((one) => one.model === model);
    const { label } = other;
    this.tell("");
    const address = await addressOf(other);
    if (model !== this.model) return; // Another one was chosen meanwhile.
    this.frame = element("iframe", { title: `The same view of ${label}`, src: `${address}#embedded=1` });
    this.section.append(this.frame);
    this.waiting = setTimeout(() => {
      this.frame.style.height = "0";
      this.tell(`The page of ${label} is not beside this one. Make it with: snakemake results/lens/${model}.html`);
    }, ANSWER_WITHIN_MS);
  }
}
