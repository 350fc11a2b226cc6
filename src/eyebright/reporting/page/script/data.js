// What the page was written with: see page_data.py. Images are known by their number.
const data = JSON.parse(byId("page-data").textContent);
const images = data.images || null;
const answers = data.answers || [];
const classes = images ? images.classes : [];
const total = images ? images.given.length : 0;

const THIN = "\u202f"; // narrow no-break space, as in numbers.py
const percent = (share) => `${(100 * share).toFixed(1)}${THIN}%`;
const count = (whole) => whole.toLocaleString("en-US");
const plural = (whole, one, many) => `${count(whole)} ${whole === 1 ? one : many}`;
// A probability of an image, 0..10000; what would round to certainty is not called so.
const sure = (whole) => (whole > 9995 && whole < 10000 ? `> 99.9${THIN}%` : percent(whole / 10000));
const confidence = (number, answer = answers[0]) => answer.shares[number * answer.top];
const right = (number, answer = answers[0]) => answer.predicted[number] === images.given[number];

function said(number) {
  const given = classes[images.given[number]];
  if (data.doubted) return `labelled ${given}, rather ${classes[answers[0].predicted[number]]}`;
  if (answers.length > 1) return answers.map((answer) => `${answer.title}: ${classes[answer.predicted[number]]}`).join(", ");
  return right(number) ? `${given}, right` : `${given} taken for ${classes[answers[0].predicted[number]]}`;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) found[i] = text.charCodeAt(i);
  return found;
}
