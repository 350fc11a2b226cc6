// The images of the page, and the questions about them: a few at a time, each in its turn.
const AT_ONCE = 4; // questions under way: a page is not to fill the queue of its server
export const MOST = 64; // images that are kept

export class Album {
  // `ask(item)` gives { answer } or { problem }; `changed(item)` is told when an item begins to wait or has its answer.
  constructor(ask, changed) {
    this.ask = ask;
    this.changed = changed;
    this.items = []; // { name, blob, url, answer, problem, urls, label, maps, turn }
    this.shown = null;
    this.queue = [];
    this.working = 0;
  }

  // Take images in, the oldest make room; the first of the new ones is shown. Returns those that had to go.
  add(files) {
    const made = files.slice(0, MOST).map((file) => ({ name: file.name || "Pasted image", blob: file, url: URL.createObjectURL(file), maps: new Map() }));
    const gone = this.items.splice(0, Math.max(0, this.items.length + made.length - MOST));
    this.items.push(...made);
    [this.shown] = made;
    gone.forEach(release);
    made.forEach((item) => this.renew(item));
    return gone;
  }

  clear() {
    const gone = this.items.splice(0);
    this.shown = null;
    gone.forEach(release);
    return gone;
  }

  // Ask about an image anew: another model, another risk, another try.
  renew(item) {
    forget(item);
    Object.assign(item, { answer: null, problem: null, urls: [], turn: Symbol(item.name) });
    this.queue.push({ item, turn: item.turn });
    this.changed(item);
    this.work();
  }

  async work() {
    if (this.working >= AT_ONCE || !this.queue.length) return;
    const { item, turn } = this.queue.shift();
    const current = () => item.turn === turn && this.items.includes(item);
    if (current()) {
      this.working += 1;
      const settled = await this.ask(item);
      this.working -= 1;
      if (current()) this.settle(item, settled);
    }
    this.work();
  }

  settle(item, settled) {
    Object.assign(item, settled);
    item.urls = (item.answer?.nearest ?? []).map((near) => URL.createObjectURL(near.image));
    this.changed(item);
  }
}

function forget(item) { for (const url of item.urls ?? []) URL.revokeObjectURL(url); }

function release(item) {
  forget(item);
  URL.revokeObjectURL(item.url);
}
