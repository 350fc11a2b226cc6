// From an image file to the pixels that a network takes, as eyebright.data.decode has it: upright, on white where it is
// transparent, colour profiles ignored. The network itself brings them to its size.
import { looked } from "./fit.js";
import { Problem } from "./problem.js";

const MOST = 50_000_000; // pixels: a large telephone's photo
// Above so many pixels an image is shrunk by a whole factor first, since the network's own resizing would take seconds.
// It stays GAP times larger than what the network makes of it: so training shrinks its JPEGs while it decodes them.
const LARGE = 1 << 20;
const GAP = 3;
const BAND = 1 << 20; // pixels that are read at a time: telephones bound the size of a canvas

export async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    throw new Problem({
      kind: "not-an-image",
      title: blob.size ? "This is not an image that the browser can read" : "The image is empty",
      remedy: "Try JPEG, PNG, WebP or GIF; or the file is damaged.",
    });
  }
  if (bitmap.width * bitmap.height <= MOST) return bitmap;
  const size = `It has ${bitmap.width} x ${bitmap.height} pixels; the limit is ${MOST / 1e6} million.`;
  bitmap.close();
  throw new Problem({ kind: "too-many-pixels", title: "The image has too many pixels", detail: size, remedy: "Shrink it first." });
}

// The image as { height, width, data }, data being uint8 (height, width, channels) of the model.
export function pixels(bitmap, model) {
  const factor = shrinking(bitmap, model);
  const [height, width] = [bitmap.height, bitmap.width].map((side) => Math.floor(side / factor));
  const rows = Math.min(height, Math.max(1, Math.floor(BAND / (bitmap.width * factor))));
  const context = whiteCanvas(bitmap.width, rows * factor);
  const data = new Uint8Array(height * width * model.channels);
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.fillRect(0, 0, bitmap.width, rows * factor);
    context.drawImage(bitmap, 0, -top * factor);
    const band = context.getImageData(0, 0, bitmap.width, count * factor);
    const part = data.subarray(top * width * model.channels, (top + count) * width * model.channels);
    average(band, factor, width, model.channels, part);
  }
  return { height, width, data };
}

// The image at the model's size, near enough for a map: browsers do not tell how they resize.
export function fitted(bitmap, model) {
  const { from, to } = looked(model, bitmap);
  const context = whiteCanvas(model.width, model.height);
  context.fillStyle = "#000"; // around an image that is padded
  context.fillRect(0, 0, model.width, model.height);
  context.fillStyle = "#fff";
  context.fillRect(to.left, to.top, to.width, to.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, from.left, from.top, from.width, from.height, to.left, to.top, to.width, to.height);
  const data = new Uint8Array(model.height * model.width * model.channels);
  average(context.getImageData(0, 0, model.width, model.height), 1, model.width, model.channels, data);
  return { height: model.height, width: model.width, data };
}

function shrinking(bitmap, model) {
  if (bitmap.width * bitmap.height <= LARGE) return 1;
  const ratio = Math.min(bitmap.width, bitmap.height) / Math.max(model.width, model.height);
  return Math.max(1, Math.floor(ratio / GAP));
}

function whiteCanvas(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  return context;
}

// Means of squares of `factor` pixels each way, into `target`: three channels, or their luma by ITU-R 601.
function average(image, factor, width, channels, target) {
  const { data, width: stride } = image;
  const count = factor * factor;
  let place = 0;
  for (let row = 0; place < target.length; row += factor) {
    for (let column = 0; column < width * factor; column += factor) {
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let y = row; y < row + factor; y += 1) {
        for (let at = 4 * (y * stride + column); at < 4 * (y * stride + column + factor); at += 4) {
          red += data[at];
          green += data[at + 1];
          blue += data[at + 2];
        }
      }
      red = Math.round(red / count);
      green = Math.round(green / count);
      blue = Math.round(blue / count);
      if (channels === 1) {
        target[place] = luma(red, green, blue);
      } else {
        target[place] = red;
        target[place + 1] = green;
        target[place + 2] = blue;
      }
      place += channels;
    }
  }
}

// In whole numbers, as Pillow computes it.
function luma(red, green, blue) { return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16; }
