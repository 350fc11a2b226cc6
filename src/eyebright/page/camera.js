// A picture from the camera.
import { byId } from "./elements.js";
import { Problem } from "./problem.js";

const CAUSES = {
  NotAllowedError: ["The camera may not be used", "Allow it in the browser's settings for this page."],
  NotFoundError: ["There is no camera", "Choose an image instead."],
};

// Calls `take(blob)` with each picture, and `fail(problem)` where there is none.
export function connectCamera(take, fail) {
  const opener = byId("camera-open");
  const dialog = byId("camera");
  const view = byId("camera-view");
  const taker = byId("camera-take");
  // Browsers give the camera to pages over HTTPS and of this machine only.
  if (!navigator.mediaDevices?.getUserMedia) {
    opener.hidden = true;
    return;
  }

  const stop = () => {
    for (const track of view.srcObject?.getTracks() ?? []) track.stop();
    view.srcObject = null;
    taker.disabled = true;
  };

  opener.addEventListener("click", async () => {
    dialog.showModal();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      view.srcObject = stream;
      if (!dialog.open) stop(); // it was cancelled while the browser asked
    } catch (error) {
      dialog.close();
      const [title, remedy] = CAUSES[error.name] ?? ["The camera does not start", "Is another program using it?"];
      fail(new Problem({ title, remedy }));
    }
  });
  view.addEventListener("playing", () => { taker.disabled = false; });
  dialog.addEventListener("close", stop);
  taker.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [view.videoWidth, view.videoHeight];
    canvas.getContext("2d").drawImage(view, 0, 0);
    canvas.toBlob((blob) => take(blob), "image/png");
    dialog.close();
  });
}
