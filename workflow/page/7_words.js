// The words that heads are named by, a row per block and a column per head.

function makeHeadWords() {
  const heads = ABOUT.heads ?? [];
  document.getElementById("heads").hidden = heads.length === 0;
  if (heads.length === 0) return;
  if (!heads.flat().some(Boolean)) {
    document.getElementById("heads-meaning").textContent =
      "No head is named beyond chance: in none does a word explain significantly more than random directions do.";
    return;
  }
  const numbers = heads[0].map((_, head) => element("th", { scope: "col", textContent: `head ${head + 1}` }));
  const rows = heads.map((words, block) => element("tr", {}, [
    element("th", { scope: "row", textContent: block + 1 }),
    ...words.map((word) => element("td", { textContent: word ? `${word[0]} ${(100 * word[1]).toFixed(0)} %` : "–" })),
  ]));
  const head = element("tr", {}, [element("th", { scope: "col", textContent: "block" }), ...numbers]);
  document.getElementById("head-words").append(element("table", {}, [
    element("thead", {}, [head]), element("tbody", {}, rows),
  ]));
}
