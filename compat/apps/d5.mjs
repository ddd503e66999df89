// D5: aws-samples/simple-websockets-chat-app. ES modules with SDK v3 and no node_modules;
// the callback URL is put together from apiId and region in code.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Client, expectExactly } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { Tables } from "../lib/tables.mjs";

const table = "simplechat_connections";

export const d5 = {
  id: "D5",
  title: "simple-websockets-chat-app",
  source: { repository: "aws-samples/simple-websockets-chat-app", commit: "fb1f0d686a" },

  async scenario({ gate, step, round }) {
    const tables = new Tables(gate.status);
    const countIs = (n) =>
      eventually(5_000, async () => assert.equal((await tables.scan(table)).length, n, `items in ${table}`));
    let a, b, c;

    await step("1. three clients connect, the third over TLS", async () => {
      await countIs(0); // in round two: $disconnect ran for the client that was open at Ctrl-C
      a = await Client.open(gate.url("Prod"), { name: "A" });
      b = await Client.open(gate.url("Prod"), { name: "B" });
      const ca = await readFile(gate.status.caFile);
      c = await Client.open(gate.url("Prod", { secure: true }), { name: "C", ca });
      await countIs(3);
    });
    await step("2. hello world reaches each of them once", async () => {
      a.send('{"action":"sendmessage","data":"hello world"}');
      await expectExactly([[a, ["hello world"]], [b, ["hello world"]], [c, ["hello world"]]]);
    });
    await step("3. no data: an error frame or none, everybody stays connected", async () => {
      b.send({ action: "sendmessage" });
      await settle([a, b, c]);
      b.send({ action: "sendmessage", data: "after" });
      await expectExactly([[a, ["after"]], [b, ["after"]], [c, ["after"]]]);
    });
    await step("4. a stale row: the function fails, the living get their frame", async () => {
      await tables.put(table, { connectionId: { S: "gone=" } });
      c.send({ action: "sendmessage", data: "to the living" });
      for (const client of [a, b, c]) {
        assert.equal(await client.next(), "to the living", client.name);
      }
      await settle([a, b, c]);
      assert.ok(a.open && b.open && c.open, "a client was disconnected");
      await tables.remove(table, { connectionId: { S: "gone=" } });
      a.send({ action: "sendmessage", data: "clean again" });
      await expectExactly([[a, ["clean again"]], [b, ["clean again"]], [c, ["clean again"]]]);
    });
    await step("5. a reset and a close: both rows are gone within 5 s", async () => {
      b.kill();
      await c.close();
      await countIs(1);
    });
    if (round === 2) await a.close();
    tables.close();
  },
};

// Lets a failing call finish: whatever it sent to the clients is thrown away.
async function settle(clients) {
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  clients.forEach((client) => client.drain());
}
