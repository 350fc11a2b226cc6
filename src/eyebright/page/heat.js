// A map of what speaks for a class, drawn so that it lies over the image.
import { looked } from "./fit.js";

// viridis (van der Walt and Smith 2015, CC0) at five places, as eyebright.insight.overlay has it.
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const LONGEST = 640; // pixels of the canvas: the browser enlarges the rest
const VISIBLE = 0.02; // share of the image that may be cut off without a word

// Draw; returns whether a part that is worth a word was cut off.
export function drawHeat(canvas, image, model, { height, width, heat }) {
  const { from, to } = looked(model, image);
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height)) * Math.max(1, 64 / Math.max(image.width, image.height));
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#000"; // what the model does not see
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(
    coloured(height, width, heat),
    to.left, to.top, to.width, to.height,
    from.left * scale, from.top * scale, from.width * scale, from.height * scale,
  );
  return from.width * from.height < (1 - VISIBLE) * image.width * image.height;
}

function coloured(height, width, heat) {
  const canvas = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  heat.forEach((value, place) => pixels.data.set([...colour(value), 255], 4 * place));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function colour(value) {
  const place = value * (COLOURS.length - 1);
  const below = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[below].map((start, channel) => Math.round(start + (place - below) * (COLOURS[below + 1][channel] - start)));
}
