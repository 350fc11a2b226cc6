// The model on the server of this page, over its REST API.
import { Problem } from "./problem.js";

let key = null; // kept until the page is left

export const note = "Your images go to the server of this page, which answers and does not keep them.";

export async function open() {
  return new Server(await (await ask("models")).json());
}

export function useKey(given) { key = given; }

class Server {
  constructor(models) { this.models = models; }

  async examples(model) {
    const found = await (await ask(`examples?${query(model)}`)).json();
    return Promise.all(found.map((example) => picture(example.image)));
  }

  async predict(model, blob, name, options) {
    const answer = await (await post("predict", query(model, options), blob, name)).json();
    const [judged] = answer.images;
    const nearest = (judged.nearest ?? []).map(async (near) => ({ ...near, image: await picture(near.image) }));
    return { ...judged, nearest: await Promise.all(nearest) };
  }

  async explain(model, blob, name, label) {
    const said = await (await post("explain", query(model, { label, format: "json" }), blob, name)).json();
    return { ...said, heat: Float32Array.from(said.heat.flat()) };
  }
}

function query({ name, version }, options = {}) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
  return new URLSearchParams([["model", name], ["version", version], ...given]);
}

async function post(path, options, blob, name) {
  const form = new FormData();
  form.append("image", blob, name);
  return ask(`${path}?${options}`, { method: "POST", body: form });
}

// The server names its images from its root; the page may lie deeper, behind a proxy.
async function picture(path) { return (await ask(path.replace(/^\//, ""))).blob(); }

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, import.meta.url), { ...options, headers: key ? { "X-API-Key": key } : {} });
  } catch {
    throw new Problem({ kind: "unreachable", title: "The server does not answer", remedy: "Check the connection, then try again." });
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response) {
  if (response.status === 429) {
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    return new Problem({ kind: "overloaded", title: "The server is busy", remedy: `Try again in ${seconds === 1 ? "a second" : `${seconds} seconds`}.` });
  }
  if (response.status === 401) {
    return new Problem({ kind: "unauthorized", title: "The key is missing or wrong", remedy: "Ask whoever runs this server for it." });
  }
  try {
    const { type, ...said } = await response.json();
    return new Problem({ kind: type.split(":").at(-1), ...said });
  } catch {
    return new Problem({ kind: "failed", title: "The server failed", detail: `It answered ${response.status}.`, remedy: "Try again later." });
  }
}
