// The page: images come in, each is asked about, one is shown with its answer.
import { Album, MOST } from "./album.js";
import { answerParts } from "./answer.js";
import { connectCamera } from "./camera.js";
import { byId, element } from "./elements.js";
import { gatherFiles } from "./gather.js";
import { MapPanel } from "./map.js";
import { Problem } from "./problem.js";
import { site } from "./site.js";
import { list, percent, share, verdict } from "./words.js";

const TOP = 5; // classes of an answer
const NEAREST = 4; // known images of an answer
const NAMED = 12; // classes that a sentence names
const LARGEST = 64 << 20; // bytes of a file; servers allow less, but read no more than this before they refuse
const SMALL = 100; // pixels: images with fewer are shown pixel by pixel

const backend = await import(site ? "./local.js" : "./server.js");
let asked = null; // the back end, once it is open
let model;
let risk;
const album = new Album(answerOf, changed);
const map = new MapPanel((item, label) => asked.explain(model, item.blob, item.name, label).catch((error) => { throw problemOf(error); }), render);

// Beginning

async function start() {
  byId("state").classList.remove("late");
  tell("Starting.");
  try {
    asked = await backend.open(site, tell);
  } catch (error) {
    byId("state").hidden = true;
    const needsKey = error.kind === "unauthorized";
    byId("key-form").hidden = !needsKey;
    if (!needsKey || byId("key").value) complain(error, start);
    if (needsKey) byId("key").focus();
    return;
  }
  complain(null);
  for (const id of ["state", "key-form"]) byId(id).hidden = true;
  byId("give").hidden = false;
  byId("footer").textContent = backend.note;
  offerModels();
  await choose(asked.models[0]);
}

function tell(text) {
  byId("state").hidden = false;
  byId("state").textContent = text;
}

function offerModels() {
  const names = asked.models.map((each) => each.name);
  const twice = new Set(names).size < names.length;
  const said = (each) => (twice ? `${each.name} ${each.version}` : each.name);
  byId("model-name").textContent = asked.models.length > 1 ? "Model" : asked.models[0].name;
  byId("model-choice").hidden = asked.models.length < 2;
  byId("model").replaceChildren(...asked.models.map((each, place) => element("option", { value: place, text: said(each) })));
}

async function choose(chosen) {
  model = chosen;
  const { classes, accuracy, accuracy_low: low, accuracy_high: high } = model;
  const names = classes.length > NAMED ? "" : `: ${list(classes)}`;
  byId("about").textContent = `It tells ${classes.length} classes apart${names}. `
    + `It names ${percent(accuracy)} of its test images right (of all images like them: ${percent(low)} to ${percent(high)}).`;
  document.documentElement.classList.toggle("tiny", Math.max(model.height, model.width) < SMALL);
  byId("limits").hidden = false;
  byId("limits-list").replaceChildren(...model.limits.map((text) => element("li", { text })));
  byId("classes-list").textContent = `Classes: ${classes.join(", ")}.`;
  offerRisks();
  for (const item of album.items) {
    Object.assign(item, { label: undefined, maps: new Map() });
    album.renew(item);
  }
  await offerExamples();
}

function offerRisks() {
  risk = model.risks.at(-1);
  byId("risk").replaceChildren(...model.risks.map((each) => element("option", { value: each, text: share(each) })));
  byId("risk").value = risk;
  byId("caution").hidden = risk === undefined;
  explainRisk();
}

function explainRisk() {
  byId("caution-note").textContent = "Blue classes are plausible, grey ones are ruled out. For images like those it was "
    + `validated on, the true class is among the ruled out ones for at most ${share(risk)}. `
    + "Where not exactly one class is plausible, the model says that it is not sure.";
}

async function offerExamples() {
  const section = byId("examples-section");
  section.hidden = true;
  if (!model.examples) return;
  const of = model;
  const blobs = await asked.examples(model).catch(() => []); // a page without them is whole
  if (of !== model) return;
  byId("examples").replaceChildren(...blobs.map((blob, place) => {
    const name = `Example ${place + 1}`;
    const button = element("button", { type: "button" }, element("img", { src: URL.createObjectURL(blob), alt: name }));
    button.addEventListener("click", () => take([new File([blob], name, { type: blob.type })]));
    return element("li", {}, button);
  }));
  section.hidden = !blobs.length;
}

// Asking

function take(files) {
  complain(files.length > MOST ? new Problem({ title: `Only ${MOST} images at a time`, remedy: "The first ones were taken." }) : null);
  byId("answers").hidden = false;
  discard(album.add(files));
}

function discard(gone) {
  for (const item of gone) item.element?.remove();
}

async function answerOf(item) {
  try {
    if (item.blob.size > LARGEST) {
      throw new Problem({ title: "The file is too large", detail: `It has ${Math.round(item.blob.size / 1e6)} MB.`, remedy: "Send a smaller image." });
    }
    const options = { top: TOP, risk, nearest: model.known_images ? NEAREST : undefined };
    return { answer: await asked.predict(model, item.blob, item.name, options) };
  } catch (error) {
    return { problem: problemOf(error) };
  }
}

function problemOf(error) {
  if (error instanceof Problem) return error;
  return new Problem({ kind: "failed", title: "This page failed", detail: `${error}`, remedy: "Load it again." });
}

function changed(item) {
  render();
  if (item !== album.shown || !(item.answer || item.problem)) return;
  announce(item);
  reveal(item);
}

// On a small screen a first answer lies below what the reader sees.
function reveal(item) {
  if (item.seen) return;
  item.seen = true;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("answer").firstChild.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "nearest" });
}

function announce(item) {
  const { said, why } = item.problem ? { said: item.problem.title, why: item.problem.remedy } : verdict(item.answer);
  byId("said").textContent = `${item.name}: ${said}. ${why}`;
}

// Showing

function render() {
  const { items, shown } = album;
  byId("several").hidden = items.length < 2;
  items.forEach(renderItem);
  if (!shown) return;
  const picture = byId("picture");
  if (picture.getAttribute("src") !== shown.url) {
    picture.hidden = false;
    picture.src = shown.url;
  }
  picture.alt = shown.name;
  byId("no-picture").hidden = !picture.hidden || !shown.answer;
  byId("caption").textContent = shown.name;
  shown.label ??= shown.answer?.label;
  renderAnswer(shown);
  map.show(shown, model);
}

function renderItem(item) {
  if (!item.element) {
    item.element = itemElement(item);
    byId("items").append(item.element);
  }
  const words = item.problem ? "Problem" : item.answer ? verdict(item.answer).said : "…";
  const button = item.element.firstChild;
  button.lastChild.textContent = words;
  button.setAttribute("aria-label", `${item.name}: ${words}`);
  button.setAttribute("aria-current", String(item === album.shown));
}

function itemElement(item) {
  const picture = element("img", { src: item.url, alt: "" });
  picture.addEventListener("load", () => markSmall(picture));
  picture.addEventListener("error", () => picture.replaceWith(element("span", { class: "no-thumbnail", text: "?" })));
  const button = element("button", { type: "button" }, picture, element("span", { class: "item-said" }));
  button.addEventListener("click", () => {
    album.shown = item;
    render();
  });
  return element("li", {}, button);
}

// Few pixels are shown as they are, and not smeared.
function markSmall(picture) {
  picture.classList.toggle("small-image", Math.max(picture.naturalWidth, picture.naturalHeight) < SMALL);
}

function renderAnswer(item) {
  const place = byId("answer");
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.label : undefined;
  place.setAttribute("aria-busy", String(!item.answer && !item.problem));
  if (item.problem) place.replaceChildren(problemBox(item.problem, () => album.renew(item)));
  else if (!item.answer) place.replaceChildren(element("p", { class: "waiting", text: "Looking at it." }));
  else place.replaceChildren(...answerParts(item.answer, item.urls, map.on ? item.label : null, map.on ? explain : null));
  if (focused !== undefined) [...place.querySelectorAll("button")].find((button) => button.dataset.label === focused)?.focus();
}

function explain(label) {
  album.shown.label = label;
  render();
}

function problemBox({ title, detail, remedy, mayPass }, again) {
  const box = element("div", { class: "problem" }, element("h2", { text: title }));
  for (const text of [detail, remedy]) if (text) box.append(element("p", { text: sentence(text) }));
  if (mayPass && again) {
    const button = element("button", { type: "button", text: "Try again" });
    button.addEventListener("click", again);
    box.append(button);
  }
  return box;
}

// The server's causes begin with a small letter, or with the name of a file, which stays as it is.
const sentence = (text) => text.replace(/^[a-z]+ /, (word) => word.charAt(0).toUpperCase() + word.slice(1));

function complain(problem, again) {
  const place = byId("failure");
  place.hidden = !problem;
  place.replaceChildren(...(problem ? problemBox(problemOf(problem), again).childNodes : []));
}

// What the reader can do

byId("picture").addEventListener("load", ({ target }) => {
  markSmall(target);
  render();
});
byId("picture").addEventListener("error", ({ target }) => {
  target.hidden = true;
  render();
});
byId("risk").addEventListener("change", ({ target }) => {
  risk = Number(target.value);
  explainRisk();
  for (const item of album.items) if (!item.problem) album.renew(item);
});
byId("model").addEventListener("change", ({ target }) => choose(asked.models[target.value]));
byId("clear").addEventListener("click", () => {
  discard(album.clear());
  byId("answers").hidden = true;
  byId("files").focus();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  backend.useKey(byId("key").value);
  start();
});

const whenOpen = (act) => (given) => { if (asked) act(given); };
gatherFiles(whenOpen(take), whenOpen(complain));
connectCamera((blob) => take([new File([blob], "Camera", { type: blob.type })]), complain);
await start();
