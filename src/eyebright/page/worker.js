// The model, computed by ONNX Runtime in a thread of the browser. It answers as the server does, see server.js.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { occlusion, scaled } from "./explanation.js";
import { readNpz } from "./npz.js";
import { decode, fitted, pixels } from "./pixels.js";
import { Problem } from "./problem.js";

ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1; // several need headers that most web hosts do not send
ort.env.wasm.wasmPaths = { wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };

let session;
let manifest;
let thresholds; // by risk
let model; // as the server describes it
let known = null; // training images, read when they are first asked for

const calls = { open, predict, explain };
let last = Promise.resolve(); // one call at a time
self.addEventListener("message", ({ data }) => { last = last.then(() => answer(data)); });

async function answer({ number, what, given }) {
  try {
    self.postMessage({ number, value: await calls[what](...given) });
  } catch (error) {
    const { kind, title, detail, remedy } = error instanceof Problem ? error : failed(error);
    self.postMessage({ number, problem: { kind, title, detail, remedy } });
  }
}

function failed(error) {
  return { kind: "failed", title: "The model could not be computed", detail: `${error.message ?? error}.`, remedy: "Try a smaller image, or another browser." };
}

async function fetched(path) {
  const response = await fetch(new URL(`model/${path}`, import.meta.url)).catch(() => ({ ok: false }));
  if (response.ok) return response;
  throw new Problem({ kind: "unreachable", title: "The model could not be loaded", detail: `${path} is missing.`, remedy: "Check the connection, then load the page again." });
}

async function open() {
  manifest = await (await fetched("bundle.json")).json();
  const { file_accuracy: accuracy } = await (await fetched("certificate.json")).json();
  session = await ort.InferenceSession.create(new Uint8Array(await (await fetched(manifest.file)).arrayBuffer()), { executionProviders: ["wasm"] });
  thresholds = new Map(Object.entries(manifest.conformal).map(([risk, threshold]) => [Number(risk), Math.fround(threshold)]));
  model = {
    ...manifest.input_spec,
    name: manifest.name,
    version: manifest.version,
    risks: [...thresholds.keys()].sort((a, b) => a - b),
    accuracy: accuracy.value,
    accuracy_low: accuracy.low,
    accuracy_high: accuracy.high,
    limits: manifest.limits,
  };
  return model;
}

async function predict(blob, { top, risk, nearest }) {
  const bitmap = await decode(blob);
  const { probabilities, embedding } = await run(pixels(bitmap, model), 1, ["probabilities", "embedding"]);
  bitmap.close();
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  const named = (k) => ({ label: model.classes[k], probability: probabilities[k] });
  const said = { ...named(order[0]), top: order.slice(0, top).map(named), nearest: await alike(embedding, nearest) };
  if (risk === undefined) return said;
  const plausible = order.filter((k) => Math.fround(1 - probabilities[k]) <= thresholds.get(risk)).map((k) => model.classes[k]);
  return { ...said, plausible, sure: plausible.length === 1 };
}

async function explain(blob, label) {
  const bitmap = await decode(blob);
  const image = session.outputNames.includes("evidence") ? pixels(bitmap, model) : fitted(bitmap, model);
  bitmap.close();
  const { height, width } = model;
  const heat = await heatOf(image, model.classes.indexOf(label));
  return { label, height, width, heat };
}

async function heatOf(image, place) {
  const { height, width } = model;
  if (session.outputNames.includes("evidence")) {
    const { evidence } = await session.run(feeds(image, 1), ["evidence"]); // (1, K, h', w')
    const [, , rows, columns] = evidence.dims;
    return scaled(evidence.data.slice(place * rows * columns, (place + 1) * rows * columns), rows, columns, height, width);
  }
  const raw = await occlusion(image, model.mean, async (views, count) => {
    const { logits } = await run({ ...image, data: views }, count, ["logits"]);
    return Array.from({ length: count }, (_, number) => logits[number * model.classes.length + place]);
  });
  return scaled(raw, height, width, height, width);
}

async function run(image, count, outputs) {
  const found = await session.run(feeds(image, count), outputs);
  return Object.fromEntries(outputs.map((name) => [name, found[name].data]));
}

function feeds({ height, width, data }, count) {
  return { images: new ort.Tensor("uint8", data, [count, height, width, model.channels]) };
}

// The training images that are nearest to an embedding, by the cosine.
async function alike(embedding, count) {
  if (!count) return [];
  known ??= await readNpz(await (await fetched("known.npz")).arrayBuffer());
  const { embeddings, labels, thumbnails } = known;
  const [images, features] = embeddings.shape;
  const length = Math.hypot(...embedding) || 1;
  const cosines = Float32Array.from({ length: images }, (_, row) => {
    let sum = 0;
    for (let k = 0; k < features; k += 1) sum += embeddings.data[row * features + k] * embedding[k];
    return sum / length;
  });
  const order = Array.from(cosines.keys()).sort((a, b) => cosines[b] - cosines[a]).slice(0, count);
  return Promise.all(order.map(async (row) => ({
    label: model.classes[labels.data[row]], similarity: cosines[row], image: await picture(thumbnails, row),
  })));
}

async function picture({ shape: [, height, width, channels], data }, row) {
  const pixelsOfIt = data.subarray(row * height * width * channels, (row + 1) * height * width * channels);
  const image = new ImageData(width, height);
  for (let place = 0; place < height * width; place += 1) {
    const colour = pixelsOfIt.subarray(place * channels, (place + 1) * channels);
    image.data.set(channels === 1 ? [colour[0], colour[0], colour[0], 255] : [...colour, 255], 4 * place);
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob();
}
