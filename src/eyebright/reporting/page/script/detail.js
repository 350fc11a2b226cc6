// One image at a time: large, with what the model said, where it looked, and what it looks like to the model.
const detail = byId("detail");
let opened = { list: [], place: 0 }; // the images that Previous and Next go through
const marks = new Map(); // number of an image -> the class that its reader says it should be

const nearestPlace = new Map();
if (data.nearest) data.nearest.of.forEach((number, place) => nearestPlace.set(number, place));

const openedNumber = () => opened.list[opened.place];

function openDetail(list, place) {
  opened = { list, place };
  showDetail();
  if (!detail.open) detail.showModal();
}

function showDetail() {
  const number = openedNumber();
  const given = classes[images.given[number]];
  byId("detail-title").textContent = answers.length > 1 ? given : said(number);
  byId("detail-caption").textContent = `${images.names[number]} · image ${images.index[number]} of ${images.source} ${images.split}`;
  byId("detail-place").textContent = `${count(opened.place + 1)} of ${count(opened.list.length)}`;
  byId("detail-previous").disabled = opened.place === 0;
  byId("detail-next").disabled = opened.place === opened.list.length - 1;
  showPortrait(number);
  byId("detail-answers").replaceChildren(...answers.flatMap((answer) => answerParts(number, answer)));
  byId("detail-nearest").replaceChildren(...nearestParts(number));
  if (byId("detail-mark")) showMark(number);
}

function showPortrait(number) {
  const withMap = maps.has(number);
  const canvas = byId("detail-image");
  const toggle = byId("detail-map");
  toggle.hidden = !withMap;
  drawImage(canvas, number, 320, withMap && toggle.querySelector("input").checked);
  canvas.setAttribute("aria-label", `${said(number)}, ${sure(confidence(number))} sure`);
  const note = byId("detail-map-note");
  if (withMap) note.textContent = `Bright is what counts most for “${classes[data.maps.explained[maps.get(number)]]}”. ${data.maps.doubt}`;
  else note.textContent = data.maps ? "No map was made of this image: they are made of the most telling ones." : "";
}

function answerParts(number, answer) {
  const given = images.given[number];
  const shown = [];
  for (let i = 0; i < answer.top; i += 1) shown.push([answer.best[number * answer.top + i], answer.shares[number * answer.top + i]]);
  if (!shown.some(([position]) => position === given)) shown.push([given, answer.given_share[number]]);
  const rows = shown.map(([position, share]) => {
    const bar = element("span", { class: "bar-track", "aria-hidden": "true" }, element("span", { class: "bar-fill" }));
    bar.firstChild.style.width = `${share / 100}%`;
    const name = element("span", { class: "bar-name", text: classes[position] });
    if (position === given) name.append(element("small", { text: data.doubted ? " label" : " true class" }));
    return element("li", { class: position === given ? "given" : "other" }, name, bar, element("span", { class: "bar-value", text: sure(share) }));
  });
  return [element("h3", { text: answer.title }), element("ul", { class: "bars" }, ...rows)];
}

function nearestParts(number) {
  const place = nearestPlace.get(number);
  if (place === undefined) return [];
  const { each, tiles, similarity, labels, names } = data.nearest;
  const pictures = [];
  for (let i = place * each; i < (place + 1) * each; i += 1) {
    const tile = tiles[i];
    const name = classes[labels[tile]];
    const canvas = element("canvas", { role: "img", "aria-label": `Training image of ${name}, similarity ${similarity[i].toFixed(2)}`, title: names[tile] });
    nearestSprite.draw(canvas, tile, 72, null);
    pictures.push(element("li", {}, canvas, element("span", { text: name }), element("small", { class: "quiet", text: similarity[i].toFixed(2) })));
  }
  return [
    element("h3", { text: "Nearest training images" }),
    element("p", { class: "small quiet", text: data.nearest.note }),
    element("ul", { class: "nearest" }, ...pictures),
  ];
}

if (detail) {
  const go = (step) => {
    const place = opened.place + step;
    if (place < 0 || place >= opened.list.length) return;
    opened.place = place;
    showDetail();
  };
  byId("detail-previous").addEventListener("click", () => go(-1));
  byId("detail-next").addEventListener("click", () => go(1));
  byId("detail-close").addEventListener("click", () => detail.close());
  byId("detail-map").addEventListener("change", () => showPortrait(openedNumber()));
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); }); // beside the dialog
  detail.addEventListener("keydown", (event) => {
    if (event.target.closest("select, input")) return;
    if (event.key === "ArrowRight") go(1);
    else if (event.key === "ArrowLeft") go(-1);
  });
}
