// A list of images as a grid of buttons, a page at a time.
const PAGE = 48; // images that are added at a time: a screenful

// `captioned` gives the function that makes the captions of an image, or null where they would all be the same.
function galleryOf(container, more, captioned) {
  let list = [];
  let withMaps = false;
  const thumbnail = (number, place) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    drawImage(canvas, number, 64, withMaps);
    const wrong = answers.length === 1 && !right(number);
    const button = element("button", {
      type: "button",
      class: `thumb${wrong ? " wrong" : ""}${marks.has(number) ? " marked" : ""}`,
      "aria-label": `${said(number)}, ${sure(confidence(number))} sure, image ${images.index[number]}`,
      tabindex: place === 0 ? 0 : -1,
    }, canvas);
    button.dataset.number = number;
    button.dataset.place = place;
    if (captioned()) button.append(...captioned()(number));
    return button;
  };
  const add = () => {
    const first = container.children.length;
    container.append(...list.slice(first, first + PAGE).map((number, place) => thumbnail(number, first + place)));
    const rest = list.length - container.children.length;
    more.hidden = rest <= 0;
    more.textContent = `Show ${count(Math.min(rest, PAGE))} more of ${count(rest)}`;
    return first;
  };
  more.addEventListener("click", () => {
    const first = add();
    container.children[first].focus({ preventScroll: true });
  });
  container.addEventListener("click", (event) => {
    const button = event.target.closest("button.thumb");
    if (button) openDetail(list, Number(button.dataset.place));
  });
  rove(container, "button.thumb");
  return {
    show(numbers) {
      list = numbers;
      container.replaceChildren();
      add();
    },
    maps(shown) {
      withMaps = shown;
      for (const button of container.children) drawImage(button.firstChild, Number(button.dataset.number), 64, shown);
    },
  };
}

const line = (text, style) => element("span", { class: `caption ${style}`, text });

// The gallery under the confusion matrix, and its choices.
const chooser = (() => {
  if (!byId("choices")) return null;
  const choice = (name) => byId(`choose-${name}`) ?? { value: "" }; // the page of the data has fewer choices
  // Where all images are of one cell, its names stand above and not below each of them.
  const captions = (number) => [
    line(classes[images.given[number]], "true"),
    ...(right(number) ? [] : [line(`→ ${classes[answers[0].predicted[number]]}`, "taken")]),
  ];
  const gallery = galleryOf(byId("gallery"), byId("more"), () => (choice("given").value && choice("predicted").value ? null : captions));

  const chosen = () => {
    const given = choice("given").value;
    const predicted = choice("predicted").value;
    const verdict = choice("verdict").value;
    const list = [];
    for (let number = 0; number < total; number += 1) {
      if (given !== "" && images.given[number] !== Number(given)) continue;
      if (predicted !== "" && answers[0].predicted[number] !== Number(predicted)) continue;
      if (verdict !== "" && right(number) !== (verdict === "right")) continue;
      list.push(number);
    }
    if (choice("order").value === "unsure") list.reverse();
    if (choice("order").value === "index") list.sort((a, b) => images.index[a] - images.index[b]);
    return list;
  };
  const title = (given, predicted, verdict) => {
    if (data.doubted) return ["Doubtful labels", given && `that say ${given}`, predicted && `on what is rather ${predicted}`].filter(Boolean).join(" ");
    if (given && predicted) return given === predicted ? `${given}, right` : `${given} taken for ${predicted}`;
    const what = { wrong: "Mistakes", right: "Right answers", "": "All answers" }[verdict];
    return [what, given && `on ${given}`, predicted && `that say ${predicted}`].filter(Boolean).join(" ");
  };
  const refresh = () => {
    const name = (each) => (choice(each).value === "" ? "" : classes[Number(choice(each).value)]);
    const cell = choice("given").value !== "" && choice("predicted").value !== "";
    if (cell) choice("verdict").value = choice("given").value === choice("predicted").value ? "right" : "wrong";
    choice("verdict").disabled = cell;
    const list = chosen();
    byId("images-title").textContent = title(name("given"), name("predicted"), choice("verdict").value);
    byId("images-count").textContent = plural(list.length, "image", "images");
    gallery.show(list);
    mark(choice("given").value, choice("predicted").value);
  };
  // The cell of the matrix whose images are shown.
  const mark = (given, predicted) => {
    for (const cell of document.querySelectorAll(".matrix .cell")) {
      cell.classList.toggle("shown", cell.dataset.given === given && cell.dataset.predicted === predicted);
    }
  };
  byId("choices").addEventListener("change", (event) => {
    if (event.target.id === "choose-maps") gallery.maps(event.target.checked);
    else refresh();
  });
  byId("choices").addEventListener("submit", (event) => event.preventDefault());
  refresh();
  return {
    cell(given, predicted) {
      choice("given").value = given;
      choice("predicted").value = predicted;
      refresh();
      byId("images").scrollIntoView({ block: "start" });
      byId("images-title").focus({ preventScroll: true });
    },
  };
})();

// The two galleries of a comparison: what the second run mended, and what it broke.
if (data.groups) {
  const captions = (number) => [
    line(classes[images.given[number]], "true"),
    ...answers.filter((answer) => !right(number, answer)).map((answer) => line(`→ ${classes[answer.predicted[number]]}`, "taken")),
  ];
  for (const [group, list] of Object.entries(data.groups)) {
    const part = byId(group);
    galleryOf(part.querySelector(".gallery"), part.querySelector(".more"), () => captions).show(list);
  }
}
