// Wrong labels: marked by the reader, kept by the browser where it can, and saved as a file for `eyebright data fix`.
const marksKey = images ? `eyebright-marks-${data.fingerprint}` : "";

function showMark(number) {
  const given = images.given[number];
  const marked = marks.get(number);
  const select = byId("detail-proposed");
  select.value = String(marked ?? (right(number) ? answers[0].best[number * answers[0].top + 1] : answers[0].predicted[number]));
  byId("detail-unmark").hidden = marked === undefined;
  byId("detail-marked").textContent = marked === undefined
    ? `The data calls this “${classes[given]}”.`
    : `Marked: “${classes[given]}” should be “${classes[marked]}”.`;
}

function patch() {
  const changes = [...marks].sort(([a], [b]) => images.index[a] - images.index[b]).map(([number, proposed]) => ({
    index: images.index[number],
    file: images.files ? images.names[number] : null,
    given: classes[images.given[number]],
    proposed: classes[proposed],
  }));
  return { eyebright_label_patch: 1, source: images.source, fingerprint: data.fingerprint, split: images.split, changes };
}

if (images && byId("marks")) {
  const list = byId("marks-list");
  const showMarks = () => {
    const numbers = [...marks.keys()];
    byId("marks-none").hidden = numbers.length > 0;
    byId("marks-save").disabled = numbers.length === 0;
    byId("marks-save").textContent = numbers.length ? `Save the patch file (${plural(numbers.length, "label", "labels")})` : "Save the patch file";
    byId("marks-clear").hidden = numbers.length === 0;
    for (const thumb of document.querySelectorAll(".gallery .thumb")) thumb.classList.toggle("marked", marks.has(Number(thumb.dataset.number)));
    list.replaceChildren(...numbers.map((number, place) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      drawImage(canvas, number, 48, false);
      const text = `${classes[images.given[number]]} → ${classes[marks.get(number)]}`;
      const open = element("button", { type: "button", class: "thumb", "aria-label": `Open image ${images.index[number]}, ${text}` }, canvas);
      open.addEventListener("click", () => openDetail(numbers, place));
      const undo = element("button", { type: "button", class: "link", text: "take back", "aria-label": `Take the mark of image ${images.index[number]} back` });
      undo.addEventListener("click", () => change(number, null));
      return element("li", {}, open, element("span", { text }), undo);
    }));
  };
  const change = (number, proposed) => {
    if (proposed === null) marks.delete(number);
    else marks.set(number, proposed);
    keep();
    showMarks();
    if (detail.open) showMark(openedNumber());
  };
  const keep = () => store.set(marksKey, JSON.stringify([...marks].map(([each, wanted]) => [images.index[each], wanted])));
  const restore = () => {
    const numbers = new Map(images.index.map((index, number) => [index, number]));
    let kept = [];
    try { kept = JSON.parse(store.get(marksKey) || "[]"); } catch { /* not ours */ }
    for (const [index, proposed] of Array.isArray(kept) ? kept : []) {
      if (numbers.has(index) && classes[proposed] !== undefined) marks.set(numbers.get(index), proposed);
    }
  };

  byId("detail-proposed").append(...classes.map((name, position) => element("option", { value: position, text: name })));
  byId("detail-mark").addEventListener("submit", (event) => {
    event.preventDefault();
    const proposed = Number(byId("detail-proposed").value);
    if (proposed === images.given[openedNumber()]) byId("detail-marked").textContent = "That is the class it has already.";
    else change(openedNumber(), proposed);
  });
  byId("detail-unmark").addEventListener("click", () => change(openedNumber(), null));
  byId("marks-clear").addEventListener("click", () => { marks.clear(); change(-1, null); });
  if (byId("marks-all")) {
    byId("marks-all").addEventListener("click", () => {
      for (let number = 0; number < total; number += 1) if (!marks.has(number)) marks.set(number, answers[0].predicted[number]);
      keep();
      showMarks();
    });
  }
  detail.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "m" || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select")) return;
    if (marks.has(openedNumber())) change(openedNumber(), null);
    else byId("detail-mark").requestSubmit();
  });
  byId("marks-save").addEventListener("click", () => {
    const file = new Blob([`${JSON.stringify(patch(), null, 2)}\n`], { type: "application/json" });
    const link = element("a", { href: URL.createObjectURL(file), download: "labels.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  restore();
  showMarks();
}
