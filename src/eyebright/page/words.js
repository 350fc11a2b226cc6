// Numbers and verdicts in plain words.
const THIN = "\u202f"; // narrow no-break space
const NAMED = 4; // plausible classes that a sentence names

export function percent(share) {
  const text = (100 * share).toFixed(1);
  if (text === "100.0" && share < 1) return `> 99.9${THIN}%`; // what would round to certainty is not called so
  return `${text}${THIN}%`;
}

export function megabytes(bytes) { return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`; }

export function list(words, last = "and") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

// An answer as { sure, said, why }. Where the model has no risks nothing is said about how sure it is.
export function verdict(answer) {
  const { label, plausible, sure } = answer;
  if (plausible === undefined) return { sure: true, said: label, why: `${percent(answer.probability)}.` };
  if (sure) return { sure, said: label, why: `${percent(answer.probability)}. No other class that it knows is plausible.` };
  if (!plausible.length) {
    return { sure, said: "Not sure", why: "No class that it knows fits well. Perhaps the image shows something else." };
  }
  const named = plausible.length > NAMED + 1 ? plausible.slice(0, NAMED) : plausible;
  const rest = plausible.length - named.length;
  const words = rest ? [...named, `${rest} others`] : named;
  return { sure, said: "Not sure", why: `It may be ${list(words, "or")}.` };
}

// A risk of 0.05 as "1 of 20 images".
export function share(risk) { return `1 of ${Math.round(1 / risk)} images`; }
