// A WebSocket client that remembers its frames and can be asked what it got.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";
import { sleep } from "./livegate.mjs";

const connectTimeout = 5_000;
const pushTimeout = 10_000;
const silence = 2_000;

export class Client {
  #unread = [];
  #arrival = () => {};

  constructor(name, socket, headers) {
    this.name = name;
    this.socket = socket;
    /** Headers of the 101, lower-case names. */
    this.headers = headers;
  }

  /**
   * Connects. Refused handshakes throw a Refused with the HTTP status.
   * @param {string} url
   * @param {{name?: string, protocols?: string[], headers?: object, ca?: Buffer | Buffer[], lookup?: Function, timeout?: number}} options
   *   lookup resolves the host name instead of the system; timeout in milliseconds is that
   *   of the handshake, of which an authorizer's and $connect's first start are a part
   */
  static async open(url, { name = "client", protocols = [], headers, ca, lookup, timeout = connectTimeout } = {}) {
    const socket = new WebSocket(url, protocols, { headers, ca, lookup, handshakeTimeout: timeout, perMessageDeflate: true });
    // Frames may follow the 101 in the same packet: listen before waiting.
    const early = [];
    const keep = (data, binary) => early.push(binary ? data : data.toString("utf8"));
    socket.on("message", keep);
    const answered = await new Promise((resolve, reject) => {
      let upgraded = {};
      socket.once("upgrade", (response) => (upgraded = response.headers));
      socket.once("open", () => resolve(upgraded));
      socket.once("error", (err) => reject(new Error(`${name} cannot connect to ${url}: ${err.message}`)));
      socket.once("unexpected-response", (request, response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (text) => (body += text));
        response.on("end", () => reject(new Refused(response.statusCode, response.headers, body)));
        response.on("error", reject);
      });
    });
    const client = new Client(name, socket, answered);
    socket.off("message", keep);
    socket.on("message", (data, binary) => client.#take(binary ? data : data.toString("utf8")));
    early.forEach((frame) => client.#take(frame));
    socket.on("error", () => {}); // resets of our own making
    return client;
  }

  #take(frame) {
    this.#unread.push(frame);
    this.#arrival();
  }

  send(message) {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The next frame; fails after the push time-out. */
  async next(timeout = pushTimeout) {
    const deadline = Date.now() + timeout;
    while (this.#unread.length === 0) {
      const left = deadline - Date.now();
      assert.ok(left > 0, `${this.name}: no frame within ${timeout} ms`);
      await Promise.race([new Promise((resolve) => (this.#arrival = resolve)), sleep(left)]);
    }
    return this.#unread.shift();
  }

  /** Everything that came and was not read yet. */
  drain() {
    return this.#unread.splice(0);
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** Close handshake, waited for. */
  async close(code = 1000) {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.close(code);
    await Promise.race([once(this.socket, "close"), sleep(connectTimeout)]);
  }

  /** Ends the TCP connection with a reset: no close frame, no FIN. */
  kill() {
    this.socket._socket.resetAndDestroy();
  }
}

/** A handshake that was answered with something else than 101. */
export class Refused extends Error {
  constructor(status, headers, body) {
    super(`handshake answered with ${status}: ${body}`);
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

/**
 * The handshake must be answered with this status.
 * @returns {Promise<Refused>}
 */
export async function expectRefused(status, url, options) {
  const refused = await Client.open(url, options).then(
    (client) => {
      client.kill();
      assert.fail(`the handshake ended with 101, not ${status}`);
    },
    (err) => {
      if (!(err instanceof Refused)) throw err;
      return err;
    },
  );
  assert.equal(refused.status, status, refused.message);
  return refused;
}

/** A lookup for Client.open that finds every name on this machine. */
export function here(host, options, done) {
  if (options.all) done(null, [{ address: "127.0.0.1", family: 4 }]);
  else done(null, "127.0.0.1", 4);
}

/**
 * Each client gets exactly the frames named for it, in that order, and then nobody gets
 * anything for two seconds.
 * @param {[Client, string[]][]} wanted
 */
export async function expectExactly(wanted) {
  for (const [client, frames] of wanted) {
    for (const frame of frames) {
      assert.equal(await client.next(), frame, `${client.name} got another frame`);
    }
  }
  await expectSilence(wanted.map(([client]) => client));
}

/** Nobody gets anything for two seconds. */
export async function expectSilence(clients) {
  await sleep(silence);
  for (const client of clients) {
    assert.deepEqual(client.drain(), [], `${client.name} got frames that it should not get`);
  }
}

/** Reads one error frame of the gateway and checks its shape. */
export async function expectErrorFrame(client, message) {
  const text = await client.next();
  const frame = JSON.parse(text);
  assert.equal(frame.message, message, `${client.name} got ${text}`);
  assert.match(frame.connectionId, /^[\w-]{15}=$/, `connectionId in ${text}`);
  assert.match(frame.requestId, /^[\w-]{15}=$/, `requestId in ${text}`);
  return frame;
}
