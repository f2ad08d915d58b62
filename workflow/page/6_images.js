// Thumbnails, by class and by whether the model is right.

function makeThumbnails(choose) {
  const list = document.getElementById("thumbnails");
  const filters = { class: document.getElementById("class-filter"), verdict: document.getElementById("verdict-filter") };
  const counts = new Map();
  for (const one of ABOUT.images) counts.set(one.class, (counts.get(one.class) ?? 0) + 1);
  filters.class.append(element("option", { value: "", textContent: "all" }));
  for (const [index, count] of [...counts].sort((a, b) => a[0] - b[0])) {
    filters.class.append(element("option", { value: index, textContent: `${className(index)} (${count})` }));
  }
  for (const [value, text] of [["", "either"], ["right", "right"], ["wrong", "wrong"]]) {
    filters.verdict.append(element("option", { value, textContent: text }));
  }
  const options = ABOUT.images.map((one) => {
    const verdict = one.correct ? "right" : "wrong";
    const name = LABELLED
      ? `image ${one.image}, ${className(one.class)}, model ${verdict}` : `${one.file}: ${className(one.top5[0])}`;
    const picture = element("img", { alt: "" });
    held("thumbnail", one.image).then((url) => { picture.src = url; });
    const option = element("div", { role: "option", className: LABELLED ? `thumbnail ${verdict}` : "thumbnail", tabIndex: -1 }, [picture]);
    option.setAttribute("aria-label", name);
    option.title = name;
    option.dataset.image = one.image;
    list.append(option);
    return option;
  });
  const shown = () => options.filter((option) => !option.hidden);

  function filter() {
    ABOUT.images.forEach((one, place) => {
      const fits = (filters.class.value === "" || one.class === Number(filters.class.value))
        && (filters.verdict.value === "" || one.correct === (filters.verdict.value === "right"));
      options[place].hidden = !fits;
    });
    document.getElementById("image-count").textContent =
      shown().length ? `${shown().length} of ${ABOUT.images.length} images` : "no such image";
    const reachable = shown().find((option) => option.getAttribute("aria-selected") === "true") ?? shown()[0];
    for (const option of options) option.tabIndex = option === reachable ? 0 : -1;
  }

  filters.class.addEventListener("change", filter);
  filters.verdict.addEventListener("change", filter);
  filters.verdict.parentElement.hidden = !LABELLED;
  list.addEventListener("click", (event) => {
    const option = event.target.closest(".thumbnail");
    if (option) choose(Number(option.dataset.image));
  });
  list.addEventListener("keydown", (event) => {
    const all = shown();
    const here = all.indexOf(event.target.closest(".thumbnail"));
    if (here < 0) return;
    const inRow = all.filter((option) => option.offsetTop === all[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -inRow, ArrowDown: inRow, Home: -all.length, End: all.length }[event.key];
    if (step === undefined) return;
    const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
    choose(Number(next.dataset.image));
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  filter();
  return (image) => {
    for (const option of options) {
      const chosen = Number(option.dataset.image) === image;
      option.setAttribute("aria-selected", chosen);
      if (chosen && !option.hidden) {
        for (const other of options) other.tabIndex = other === option ? 0 : -1;
        keepInSight(list, option);
      }
    }
  };
}

function showImage(image, url) {
  const one = IMAGES.get(image);
  const photo = document.getElementById("photo");
  photo.src = url;
  // Pixels of small pictures are shown as they are.
  photo.onload = () => photo.classList.toggle("small", photo.naturalWidth <= 64);
  photo.alt = LABELLED ? `image ${image}: ${className(one.class)}` : one.file;
  if (!LABELLED) {
    const says = `: the model says ${className(one.top5[0])} (${one.probability.toFixed(2)}), then ${className(one.top5[1])}`;
    at("caption").replaceChildren(element("strong", { textContent: one.file }), element("span", { textContent: says }));
    return;
  }
  const says = one.correct ? "and the model says so" : `but the model says ${className(one.top5[0])}`;
  const verdict = element("strong", { className: one.correct ? "right" : "wrong", textContent: one.correct ? "✓ right" : "✗ wrong" });
  document.getElementById("caption").replaceChildren(
    element("span", { textContent: `Image ${image}: ${className(one.class)}, ${says} ` }), verdict,
    element("span", { className: "file quiet", textContent: one.file }),
  );
}
