import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { Client, Refused, expectErrorFrame, expectExactly, expectSilence } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { delayingRelay } from "../lib/relay.mjs";
import { difference, listing } from "../lib/tree.mjs";

test("a tree differs by content, mode, new and missing entries; .livegate does not count", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tree-"));
  try {
    for (const name of ["a", "b", "c"]) await writeFile(join(dir, name), name);
    await symlink("a", join(dir, "link"));
    const before = await listing(dir);
    await mkdir(join(dir, ".livegate"));
    await writeFile(join(dir, ".livegate", "x"), "x");
    assert.deepEqual(difference(before, await listing(dir)), []);
    await writeFile(join(dir, "a"), "changed");
    await chmod(join(dir, "b"), 0o700);
    await rm(join(dir, "c"));
    await mkdir(join(dir, "node_modules"));
    assert.deepEqual(difference(before, await listing(dir)).sort(), ["+ a", "+ b", "+ node_modules", "- a", "- b", "- c"]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("the relay is late and goes on under its own name", async (t) => {
  const server = createServer((incoming, answer) => {
    answer.writeHead(418, { "x-host": incoming.headers.host, "x-auth": incoming.headers.authorization, "x-target": incoming.headers["x-amz-target"] });
    incoming.pipe(answer);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  const relay = await delayingRelay(port, 120);
  t.after(async () => {
    await relay.close();
    server.close();
  });
  const started = Date.now();
  const answer = await fetch(`http://${relay.address}/x?y=1`, { method: "POST", body: "through", headers: { "x-amz-target": "Scan", authorization: "AWS4 Credential=ASIAX/2026, Signature=f" } });
  assert.equal(await answer.text(), "through");
  assert.deepEqual([answer.status, answer.headers.get("x-host"), answer.headers.get("x-target")], [418, `127.0.0.1:${port}`, "Scan"]);
  assert.equal(answer.headers.get("x-auth"), "AWS4 Credential=AKIARELAYRELAYRELAYR/2026, Signature=f");
  assert.ok(Date.now() - started >= 120);
  assert.equal(relay.requests(), 1);
});

test("the client counts frames, notices extra ones and reads refusals", async (t) => {
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    verifyClient: ({ req }, done) => (req.url === "/no" ? done(false, 403, '{"message":"Forbidden"}') : done(true)),
  });
  await once(server, "listening");
  t.after(() => {
    server.clients.forEach((socket) => socket.terminate());
    server.close();
  });
  server.on("connection", (socket) => {
    socket.send("welcome"); // in the same packet as the 101, or close to it
    socket.on("message", (data) => socket.send(data.toString()));
  });
  const url = `ws://127.0.0.1:${server.address().port}`;
  await assert.rejects(Client.open(`${url}/no`), (err) => err instanceof Refused && err.status === 403 && /Forbidden/.test(err.body));
  const client = await Client.open(url, { name: "A" });
  await expectExactly([[client, ["welcome"]]]);
  client.send("one");
  client.send("two");
  await assert.rejects(expectExactly([[client, ["one"]]]), /A got frames that it should not get/);
  await assert.rejects(client.next(50), /A: no frame within 50 ms/);
  client.send({ message: "Forbidden", connectionId: "Qa1zTdYbrRcCJ4w=", requestId: "short" });
  await assert.rejects(expectErrorFrame(client, "Forbidden"), /requestId in/);
  await expectSilence([client]);
  client.kill();
  await eventually(2_000, async () => assert.ok(!client.open));
});
