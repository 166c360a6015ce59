// One image and what was done to it. The server computes and may forget; the drawings are kept here, and where it has
// forgotten, the image is sent again and the drawings are computed again.

import { zipSync } from "fflate";
import { Sentence } from "./server.js";

const MOST_ATTEMPTS = 3;

export class Work {
  /**
   * @param {import("./server.js").Server} server
   * @param {{bundle: string, label: string | null}} model
   * @param {File[][] | null} files Of each channel; null for the demo case.
   */
  constructor(server, model, files) {
    Object.assign(this, { server, model, files });
    this.session = "none"; // as the server names it
    this.image = ""; // SHA-256, by which kept drawings are found again
    this.started = false;
    this.done = []; // drawn slices of each step, as the server names them
    this.undone = [];
    this.previewed = null;
    this.asking = new AbortController();
  }

  /** Send the image. Gives what the server says of it. */
  async begin(progress) {
    progress("send the image", null);
    this.asking = new AbortController();
    const begun = await this._begun(this.asking.signal);
    clearInterval(this._beating);
    this.session = begun.session;
    this.image = begun.image;
    this.noStructureSet = begun.no_structure_set;
    this._beating = setInterval(() => this._ask("POST", "alive").catch(() => {}), (1000 * begun.lease_s) / 3);
    return begun;
  }

  async _begun(signal) {
    if (this.files === null) return this.server.ask("POST", "api/page/demo", this.model, { signal });
    const size_bytes = this.files.flat().reduce((sum, file) => sum + file.size, 0);
    await this.server.ask("POST", "api/page/room", { ...this.model, size_bytes }, { signal }); // before anything is sent
    const archive = {};
    for (const [channel, files] of this.files.entries()) {
      for (const file of files) archive[`${channel}/${file.name}`] = new Uint8Array(await this._read(file));
    }
    const query = new URLSearchParams(Object.entries(this.model).filter(([, value]) => value !== null));
    return this.server.ask("POST", `api/page/files?${query}`, zipSync(archive, { level: 0 }), { signal });
  }

  async _read(file) {
    try {
      return await file.arrayBuffer();
    } catch {
      throw new Sentence(`'${file.name}' cannot be read any more; choose it again`);
    }
  }

  /** A channel of the image as a NIfTI file. */
  async imageFile(channel) {
    const { signal } = this.asking;
    return (await this.server.send("GET", `api/sessions/${this.session}/page/image/${channel}`, undefined, { signal })).arrayBuffer();
  }

  /** The model's own segmentation. */
  async predict(progress) {
    const { initial } = await this._patiently(() => this._compute("start", { initial: null }, progress), progress);
    this.started = true;
    return initial;
  }

  /** What a drawing would give: segmentation and what is said. `mask` is the whole segmentation as drawn. */
  async preview(mask, axis, progress) {
    return this._patiently(async () => {
      const { edits } = await this._compute("page/edits", { mask, axis }, progress);
      const answer = await this._compute("page/preview", { edits }, progress);
      this.previewed = edits;
      return answer;
    }, progress);
  }

  /** Do what was previewed. */
  async apply(progress) {
    const edits = this.previewed;
    const standing = await this._step(async (again) => {
      if (again) await this._compute("page/preview", { edits }, progress);
      return this._compute("page/apply", undefined, progress);
    }, progress);
    this.done.push(edits);
    this.undone = [];
    this.previewed = null;
    return standing;
  }

  async undo(progress) {
    const standing = await this._step(() => this._compute("page/undo", undefined, progress), progress);
    this.undone.push(this.done.pop());
    return standing;
  }

  async redo(progress) {
    const standing = await this._step(() => this._compute("page/redo", undefined, progress), progress);
    this.done.push(this.undone.pop());
    return standing;
  }

  /** The segmentation as a file: name and data. */
  file(kind, progress) {
    return this._patiently(() => this._compute("page/file", { kind }, progress), progress);
  }

  /** Compute kept drawings again; gives where the segmentation stands, null where there are none. */
  async replay({ done, undone }, progress) {
    let standing = null;
    try {
      for (const [number, edits] of [...done, ...[...undone].reverse()].entries()) {
        const counted = (stage, fraction) => progress(`drawing ${number + 1}: ${stage}`, fraction);
        await this._compute("page/preview", { edits }, counted);
        standing = await this._compute("page/apply", undefined, counted);
      }
      for (let left = undone.length; left > 0; left--) standing = await this._compute("page/undo", undefined, progress);
    } catch (error) {
      this._giveUp(); // it has some of the drawings
      throw error;
    }
    Object.assign(this, { done: [...done], undone: [...undone] });
    return standing;
  }

  /** Stop what the server computes, or what is sent to it. */
  cancel() {
    this.asking.abort();
    if (this.session !== "none") this._ask("POST", "cancel").catch(() => {});
  }

  /** Let the server forget the image. */
  close() {
    clearInterval(this._beating);
    if (this.session !== "none") this._ask("DELETE", "", { keepalive: true }).catch(() => {});
  }

  _ask(method, what, options) {
    return this.server.ask(method, `api/sessions/${this.session}${what && `/${what}`}`, undefined, options);
  }

  _compute(what, message, progress) {
    return this.server.compute(`api/sessions/${this.session}/${what}`, message, progress);
  }

  /** Of the history: where no answer comes, nobody knows whether it was done, and the session is begun anew. */
  async _step(attempt, progress) {
    try {
      return await this._patiently(attempt, progress);
    } catch (error) {
      if (error.kind === "silent") this._giveUp();
      throw error;
    }
  }

  async _patiently(attempt, progress) {
    for (let number = 0; ; number++) {
      try {
        return await attempt(number > 0);
      } catch (error) {
        if (error.kind !== "gone" || number + 1 >= MOST_ATTEMPTS) throw error;
        await this._beginAnew(progress);
      }
    }
  }

  async _beginAnew(progress) {
    await this.begin(progress);
    if (!this.started) return;
    try {
      await this._compute("start", { initial: null }, progress);
    } catch (error) {
      this._giveUp();
      throw error;
    }
    await this.replay({ done: this.done, undone: this.undone }, progress);
  }

  /** What is asked next finds no session, and begins it anew. */
  _giveUp() {
    this.close();
    this.session = "none";
  }
}
