// What became of each step of one application: passed, waits for something that livegate
// does not have yet, or failed. A step that runs in two rounds counts once, by its worse
// end.

const rank = { passed: 0, waits: 1, failed: 2 };

/** The step that ended a scenario. */
export class Failed extends Error {
  constructor(name, cause) {
    super(cause.message, { cause });
    this.step = name;
  }
}

export class Steps {
  #ends = new Map();
  #say;

  /** @param {(mark: string, text: string) => void} say hears of each end */
  constructor(say = () => {}) {
    this.#say = say;
  }

  /**
   * Runs one step.
   * @param {string} name
   * @param {{waits?: string[], alone?: boolean}} how waits: what is not built yet; then
   *   check is not called. alone: what follows does not build on this step, so that its
   *   failure does not end the scenario.
   * @param {() => Promise<void>} check
   * @returns {Promise<boolean>} whether it passed
   * @throws {Failed} when it failed and is not alone
   */
  async run(name, { waits = [], alone = false }, check) {
    if (waits.length) {
      this.#keep(name, { state: "waits", waits });
      this.#say("wait", `${name}: waits for ${waits.join(", ")}`);
      return false;
    }
    try {
      await check();
    } catch (err) {
      this.#keep(name, { state: "failed", error: err });
      this.#say("FAIL", `${name}\n${err.message}`);
      if (!alone) throw new Failed(name, err);
      return false;
    }
    this.#keep(name, { state: "passed" });
    this.#say("ok", name);
    return true;
  }

  #keep(name, end) {
    const before = this.#ends.get(name);
    if (!before || rank[end.state] >= rank[before.state]) this.#ends.set(name, end);
  }

  #count(state) {
    return [...this.#ends.values()].filter((end) => end.state === state).length;
  }

  get passed() {
    return this.#count("passed");
  }

  get waiting() {
    return this.#count("waits");
  }

  get failed() {
    return this.#count("failed");
  }

  /** Names of the steps that failed, in order. */
  get failures() {
    return [...this.#ends].filter(([, end]) => end.state === "failed").map(([name]) => name);
  }

  /** What is waited for, each once, in order. */
  get waitsFor() {
    return [...new Set([...this.#ends.values()].flatMap((end) => end.waits ?? []))];
  }
}
