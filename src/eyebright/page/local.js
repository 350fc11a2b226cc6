// The model in this browser, in a thread of its own: nothing is sent anywhere.
import { Problem } from "./problem.js";
import { megabytes } from "./words.js";

export const note = "The model runs in this browser: your images do not leave this device.";

export async function open(site, tell) {
  tell(`Loading the model (${megabytes(site.bytes)}).`);
  const local = new Local(site);
  local.models = [{ ...await local.call("open"), known_images: site.known_images, examples: site.examples.length }];
  return local;
}

class Local {
  constructor(site) {
    this.site = site;
    this.calls = 0;
    this.waiting = new Map(); // number of a call -> what settles it
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.settle(data));
    this.worker.addEventListener("error", () => this.fail());
  }

  async examples() {
    return Promise.all(this.site.examples.map(async (path) => (await fetch(new URL(path, import.meta.url))).blob()));
  }

  predict(_model, blob, _name, options) { return this.call("predict", blob, options); }

  explain(_model, blob, _name, label) { return this.call("explain", blob, label); }

  call(what, ...given) {
    return new Promise((resolve, reject) => {
      const number = this.calls += 1;
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ number, what, given });
    });
  }

  settle({ number, value, problem }) {
    const { resolve, reject } = this.waiting.get(number);
    this.waiting.delete(number);
    if (problem) reject(new Problem(problem));
    else resolve(value);
  }

  fail() {
    const problem = { title: "The model does not run in this browser", remedy: "Try a newer browser." };
    for (const { reject } of this.waiting.values()) reject(new Problem(problem));
    this.waiting.clear();
  }
}
