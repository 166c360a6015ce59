// Requests to the server that this page came from. What goes wrong is a Sentence that can be shown as it is.

export class Sentence extends Error {
  constructor(message, kind = "input") {
    super(message);
    this.kind = kind;
  }
}

const SILENT = "The server does not answer; what you drew is kept in this page: try again";

export class Server {
  /** @param {() => Promise<string>} askForToken Asks the person for the token that the server wants. */
  constructor(askForToken) {
    this.askForToken = askForToken;
    this.token = "";
  }

  /** The server's answer to one request; `options` as of fetch. */
  async send(method, path, body, options = {}) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    const isBytes = body instanceof Uint8Array;
    if (body !== undefined) headers["Content-Type"] = isBytes ? "application/zip" : "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: isBytes ? body : JSON.stringify(body), ...options });
    } catch (error) {
      throw error.name === "AbortError" ? new Sentence("Cancelled; nothing was changed", "cancelled") : new Sentence(SILENT, "silent");
    }
    if (answer.status === 401) {
      this.token = await this.askForToken();
      return this.send(method, path, body, options);
    }
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Sentence(said.message ?? `The server answered ${answer.status}; try again`, answer.status === 404 ? "gone" : "input");
    }
    return answer;
  }

  async ask(method, path, body, options) {
    const answer = await this.send(method, path, body, options);
    return answer.status === 204 ? null : answer.json();
  }

  /**
   * What takes long: its answer is a line of JSON for how far it is, again and again, and one for what came out.
   * @param {(stage: string, fraction: number) => void} progress
   */
  async compute(path, body, progress) {
    const answer = await this.send("POST", path, body);
    let last = {};
    for await (const line of linesOf(answer.body)) {
      last = JSON.parse(line);
      if (last.progress) progress(...last.progress);
    }
    if (last.error) throw new Sentence(last.error.message, last.error.kind);
    if (!("result" in last)) throw new Sentence(SILENT, "silent");
    return last.result;
  }
}

async function* linesOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      yield* lines.filter(Boolean);
    }
  } catch {
    throw new Sentence(SILENT, "silent");
  }
}
