// Node's ws against the probe application. Arguments: WebSocket URL, secure URL, CA file.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import WebSocket from "ws";

const [url, secure, caFile] = process.argv.slice(2);

async function open(address, protocols, options) {
  const socket = new WebSocket(address, protocols, options);
  socket.frames = [];
  socket.on("message", (data, binary) => socket.frames.push(binary ? data : data.toString()));
  await once(socket, "open");
  return socket;
}

async function frame(socket) {
  while (socket.frames.length === 0) await once(socket, "message");
  return socket.frames.shift();
}

const call = (action, data) => JSON.stringify({ action, data });

// Compression is offered, as ws does by default; whatever the answer, text stays text.
const plain = await open(url);
plain.send(call("echo", "hello from ws"));
assert.equal(await frame(plain), "hello from ws");

const big = "x".repeat(30_000);
plain.send(call("echo", big));
assert.equal(await frame(plain), big);

// A message in fragments of one character, with a ping in the middle.
const text = call("echo", "fragments ✓");
const bytes = Buffer.from(text);
for (let i = 0; i < bytes.length; i++) {
  plain.send(bytes.subarray(i, i + 1), { binary: false, fin: i === bytes.length - 1 });
  if (i === 5) plain.ping("p");
}
const [pong] = await once(plain, "pong");
assert.equal(pong.toString(), "p");
assert.equal(await frame(plain), "fragments ✓");

const wss = await open(secure, [], { ca: readFileSync(caFile) });
wss.send(call("echo", "over TLS"));
assert.equal(await frame(wss), "over TLS");

await assert.rejects(open(secure, []), /self-signed|unable to (get local issuer|verify)/, "the CA is trusted without being named");

const proto = await open(`${url}?mode=protocol&protocol=b`, ["a", "b"]);
assert.equal(proto.protocol, "b");
proto.close(4000, "enough");
const [code] = await once(proto, "close"); // the peer echoes the code (RFC 6455 §5.5.1)
assert.equal(code, 4000);

plain.send(Buffer.from([1, 2, 3]));
const [closed] = await once(plain, "close");
assert.equal(closed, 1003);

wss.terminate();
console.log("ok");
