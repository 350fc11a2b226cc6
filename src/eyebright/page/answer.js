// What the model says of one image, as elements.
import { element } from "./elements.js";
import { percent, verdict } from "./words.js";

// `explained` is the class whose map is shown, and `explain(label)` asks for another's; null where no map is shown.
export function answerParts(answer, urls, explained, explain) {
  const { sure, said, why } = verdict(answer);
  const parts = [element("h2", { class: sure ? "said" : "said unsure", text: said }), element("p", { text: why })];
  if (answer.remark) parts.push(element("p", { class: "small quiet", text: answer.remark }));
  parts.push(element("ol", { class: "bars" }, ...answer.top.map((each) => bar(each, answer, explained, explain))));
  if (answer.nearest?.length) parts.push(...nearestParts(answer.nearest, urls));
  return parts;
}

function bar({ label, probability }, answer, explained, explain) {
  const ruledOut = answer.plausible !== undefined && !answer.plausible.includes(label);
  const track = element("span", { class: "bar-track", "aria-hidden": "true" }, element("span", { class: "bar-fill" }));
  track.firstChild.style.width = `${100 * probability}%`;
  const name = element("span", { class: "bar-name", text: label });
  if (ruledOut) name.append(element("span", { class: "unseen", text: " (ruled out)" }));
  const content = [name, track, element("span", { class: "bar-value", text: percent(probability) })];
  const style = ruledOut ? "bar ruled-out" : "bar";
  if (!explain) return element("li", {}, element("span", { class: style }, ...content));
  const pressed = String(label === explained);
  const button = element("button", { type: "button", class: style, "aria-pressed": pressed, "data-label": label }, ...content);
  button.addEventListener("click", () => explain(label));
  return element("li", {}, button);
}

function nearestParts(nearest, urls) {
  const pictures = nearest.map(({ label, similarity }, place) => element(
    "li", {},
    element("img", { src: urls[place], alt: "" }),
    element("span", { text: label }),
    element("small", { class: "quiet", text: similarity.toFixed(2), title: "Similarity: 1 is the same" }),
  ));
  return [
    element("h3", { text: "What it knows that looks most alike" }),
    element("ul", { class: "nearest" }, ...pictures),
  ];
}
