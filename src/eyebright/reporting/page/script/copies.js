// Pairs of images that show the same picture, side by side.
if (data.copies) {
  const PAIRS = 24; // that are added at a time: a screenful
  const { pairs, names } = data.copies;
  const pictures = spriteOf(data.copies.sprite);
  const container = byId("pairs");
  const more = byId("pairs-more");
  const kind = byId("pairs-kind");
  let list = pairs;

  const picture = (pair, place) => {
    const tile = pair.tiles[place];
    const canvas = element("canvas", { role: "img", "aria-label": `${pair.labels[place]}, ${pair.splits[place]} ${pair.rows[place]}` });
    pictures.draw(canvas, tile, 128, null);
    const style = pair.kind === "relabelled" ? "taken" : "true";
    return element("figure", {}, canvas, element("figcaption", { title: names[tile] },
      line(pair.labels[place], style), line(`${pair.splits[place]} ${pair.rows[place]}`, ""), line(names[tile], "")));
  };
  const card = (pair) => element("li", {}, picture(pair, 0), picture(pair, 1), element("p", { class: "small quiet", text: pair.likeness }));
  const add = () => {
    const first = container.children.length;
    container.append(...list.slice(first, first + PAIRS).map(card));
    const rest = list.length - container.children.length;
    more.hidden = rest <= 0;
    more.textContent = `Show ${count(Math.min(rest, PAIRS))} more of ${count(rest)}`;
  };
  const show = () => {
    list = kind.value ? pairs.filter((pair) => pair.kind === kind.value) : [...pairs];
    if (byId("pairs-order").value === "alike") list.reverse();
    byId("pairs-count").textContent = plural(list.length, "pair", "pairs");
    container.replaceChildren();
    add();
  };
  for (const option of kind.options) option.disabled = option.value !== "" && !pairs.some((pair) => pair.kind === option.value);
  more.addEventListener("click", add);
  byId("pairs-choices").addEventListener("change", show);
  byId("pairs-choices").addEventListener("submit", (event) => event.preventDefault());
  show();
}
