// The ways in which images come: chosen, dropped, pasted.
import { byId } from "./elements.js";
import { Problem } from "./problem.js";

// Calls `take(files)` with what came, and `fail(problem)` where it holds no file.
export function gatherFiles(take, fail) {
  const input = byId("files");
  const given = (files, nothing) => {
    if (files.length) take([...files]);
    else fail(new Problem(nothing));
  };

  input.addEventListener("change", () => {
    if (input.files.length) take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });

  const root = document.documentElement;
  let inside = 0; // elements that the pointer is over while it drags
  const dragging = (change) => {
    inside = Math.max(0, inside + change);
    root.classList.toggle("dragging", inside > 0);
  };
  root.addEventListener("dragenter", () => dragging(1));
  root.addEventListener("dragleave", () => dragging(-1));
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(-inside);
    given(event.dataTransfer.files, { title: "What was dropped is not a file", remedy: "Save the image first, then drop its file." });
  });

  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input")) return;
    given(event.clipboardData.files, { title: "The clipboard holds no image", remedy: "Copy an image, not its address." });
  });
}
