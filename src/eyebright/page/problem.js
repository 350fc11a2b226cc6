// Why an image, or the page itself, got no answer. As the server's problem+json: a title, the cause, what to do.
export class Problem extends Error {
  constructor({ kind = "", title, detail = "", remedy = "" }) {
    super(title);
    Object.assign(this, { kind, title, detail, remedy });
  }

  get mayPass() { return ["overloaded", "timed-out", "not-ready", "unreachable", "failed"].includes(this.kind); }
}
