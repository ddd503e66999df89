// Starts and stops `livegate dev` as a user would, and asks `livegate status --json`.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A free loopback port. Somebody else may take it before we do; then the start fails and says so. */
export async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** One running `livegate dev`. */
export class Livegate {
  #process;
  #exited;
  #command;

  /** Everything it printed so far, standard output and error together. */
  output = "";
  /** The last answer of `livegate status --json`. */
  status;

  constructor(command) {
    this.#command = command;
  }

  /**
   * Starts the binary and waits until it says that it is ready.
   * @param {{bin: string, dir: string, dataDir: string, port?: number, args?: string[], timeout: number}} command
   *   timeout is in milliseconds
   */
  static async start(command) {
    const gate = new Livegate({ ...command, args: command.args ?? [], port: command.port ?? (await freePort()) });
    gate.#spawn();
    try {
      await gate.#ready();
    } catch (err) {
      await gate.kill();
      throw err;
    }
    return gate;
  }

  #spawn() {
    const { bin, dir, port, dataDir, args } = this.#command;
    const argv = ["dev", dir, "--port", String(port), "--data-dir", dataDir, ...args];
    this.#process = spawn(bin, argv, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => (this.output += text));
    }
    this.#exited = new Promise((resolve) => {
      this.#process.on("error", (err) => {
        this.output += `${bin}: ${err.message}\n`;
        resolve({ code: -1, signal: null });
      });
      this.#process.on("exit", (code, signal) => resolve({ code, signal }));
    });
  }

  async #ready() {
    const deadline = Date.now() + this.#command.timeout;
    let gone = null;
    this.#exited.then((how) => (gone = how));
    let last = "no answer yet";
    while (Date.now() < deadline) {
      if (gone) {
        throw new Error(`livegate dev ended (exit code ${gone.code}) before it was ready:\n${this.tail()}`);
      }
      try {
        this.status = JSON.parse((await this.#ask("status", "--json")).stdout);
        if (this.status.ready) return;
        last = "ready is false";
      } catch (err) {
        last = err.stderr?.trim() || err.message;
      }
      await sleep(100);
    }
    throw new Error(`not ready within ${this.#command.timeout} ms (status: ${last}):\n${this.tail()}`);
  }

  #ask(...args) {
    return run(this.#command.bin, [...args, "--data-dir", this.#command.dataDir], { cwd: this.#command.dir });
  }

  /** The WebSocket URL of the only API's stage. secure: wss. */
  url(stage, { secure = false } = {}) {
    const found = this.status.apis.flatMap((api) => api.stages).filter((s) => s.name === stage);
    if (found.length !== 1) {
      throw new Error(`status lists ${found.length} stages called ${stage}: ${JSON.stringify(this.status.apis)}`);
    }
    return secure ? found[0].secureWebSocketUrl : found[0].webSocketUrl;
  }

  /** The port that it listens on. */
  get port() {
    return this.#command.port;
  }

  /**
   * The certificates to trust for wss: the CA of local names, and the one that the data
   * directory has for an application's custom domains.
   */
  async authorities() {
    const files = [this.status.caFile, join(this.#command.dataDir, "ca", "ca.pem")];
    return Promise.all(files.filter((file) => existsSync(file)).map((file) => readFile(file)));
  }

  /** The last lines of the output, for error messages. */
  tail(lines = 25) {
    return this.output.trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** Ctrl-C, and waits. Fails when it does not end by itself with code 0. */
  async stop(timeout = 20_000) {
    this.#process.kill("SIGINT");
    const how = await Promise.race([this.#exited, sleep(timeout)]);
    if (!how) {
      await this.kill();
      throw new Error(`still running ${timeout} ms after Ctrl-C:\n${this.tail()}`);
    }
    if (how.code !== 0) {
      throw new Error(`Ctrl-C ended it with code ${how.code}, signal ${how.signal}:\n${this.tail()}`);
    }
  }

  async kill() {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Calls check until it returns without an error, at most timeout milliseconds; then
 * its last error is thrown.
 */
export async function eventually(timeout, check) {
  const deadline = Date.now() + timeout;
  for (;;) {
    try {
      return await check();
    } catch (err) {
      if (Date.now() >= deadline) throw err;
      await sleep(50);
    }
  }
}
