// The cells of the confusion matrix, and the list of its largest, open their images.
if (chooser) {
  const open = (cell) => chooser.cell(cell.dataset.given, cell.dataset.predicted);
  for (const button of document.querySelectorAll("button[data-given]")) button.addEventListener("click", () => open(button));
  const matrix = document.querySelector("svg.matrix");
  if (matrix) {
    matrix.setAttribute("role", "group");
    matrix.classList.add("live");
    const cells = [...matrix.querySelectorAll(".cell")];
    cells.forEach((cell, place) => {
      cell.setAttribute("role", "button");
      cell.setAttribute("aria-label", cell.querySelector("title").textContent);
      cell.setAttribute("tabindex", place === 0 ? "0" : "-1");
    });
    matrix.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) open(cell);
    });
    matrix.addEventListener("keydown", (event) => {
      const cell = event.target.closest(".cell");
      if (!cell || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      open(cell);
    });
    rove(matrix, ".cell");
  }
}
