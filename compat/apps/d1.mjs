// D1: the chat of the freeCodeCamp article "Real-time applications using WebSockets with
// AWS API Gateway and Lambda". Callback handlers, aws-sdk v2 with a hand-patched client,
// posts that nobody awaits.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeApp } from "../lib/article.mjs";
import { Client, expectErrorFrame, expectExactly, expectRefused, expectSilence } from "../lib/client.mjs";
import { eventually, freePort } from "../lib/livegate.mjs";
import { delayingRelay } from "../lib/relay.mjs";
import { Tables } from "../lib/tables.mjs";

const region = "us-east-1";

export const d1 = {
  id: "D1",
  title: "freeCodeCamp chat (from the article)",
  obtain: "https://www.freecodecamp.org/news/real-time-applications-using-websockets-with-aws-api-gateway-and-lambda-a5bb493e9452",
  args: ["--region", region],

  /** The article's code in work, or why it is absent. */
  async locate({ article, work }) {
    if (!article) return { absent: "no --article FILE was given" };
    if (!existsSync(article)) return { absent: `there is no file ${article}` };
    const dir = join(work, "app");
    if (!existsSync(dir)) await writeApp(article, dir);
    return { dir };
  },

  async scenario({ gate, step }) {
    const url = gate.url("Test");
    const tables = new Tables(gate.status);
    const rows = async () => (await tables.scan("Chat")).map((item) => item.connectionid.S).sort();
    const countIs = (n) => eventually(5_000, async () => assert.equal((await rows()).length, n, "items in Chat"));
    let a, b, c;

    await step("1. connect A: 101, one item with only connectionid", async () => {
      a = await Client.open(url, { name: "A" });
      const items = await tables.scan("Chat");
      assert.equal(items.length, 1, "items in Chat");
      assert.deepEqual(Object.keys(items[0]), ["connectionid"]);
    });
    await step("2. connect B and C: three distinct ids", async () => {
      b = await Client.open(url, { name: "B" });
      c = await Client.open(url, { name: "C" });
      assert.equal(new Set(await rows()).size, 3);
    });
    await step("3. A's message reaches A, B and C once, and nothing else does", async () => {
      a.send('{"action" : "onMessage" , "message" : "Hello everyone"}');
      const echo = ["Echo: Hello everyone"];
      await expectExactly([[a, echo], [b, echo], [c, echo]]);
    });
    await step("4. the text is byte-identical", async () => {
      const text = 'héllo 🌍 "q"';
      a.send({ action: "onMessage", message: text });
      await expectExactly([[a, [`Echo: ${text}`]], [b, [`Echo: ${text}`]], [c, [`Echo: ${text}`]]]);
    });
    await step("5. B's TCP connection dies: its item is gone within 5 s", async () => {
      b.kill();
      await countIs(2);
    });
    await step("6. C's message reaches A and C", async () => {
      c.send({ action: "onMessage", message: "still here" });
      await expectExactly([[a, ["Echo: still here"]], [c, ["Echo: still here"]]]);
    });
    await step("8. a stale id kills the process at worst; the next message works", async () => {
      await tables.put("Chat", { connectionid: { S: "gone=" } });
      a.send({ action: "onMessage", message: "into the void" });
      await expectQuiet([a, c]);
      await tables.remove("Chat", { connectionid: { S: "gone=" } });
      c.send({ action: "onMessage", message: "back again" });
      await expectExactly([[a, ["Echo: back again"]], [c, ["Echo: back again"]]]);
    });
    await step("9. unknown action and plain text: one Forbidden frame each, still open", async () => {
      for (const text of ['{"action":"OnMessage","message":"x"}', "hello"]) {
        a.send(text);
        await expectErrorFrame(a, "Forbidden");
      }
      await expectSilence([a, c]);
      assert.ok(a.open, "A was disconnected");
    });
    await step("end. both close: no item is left", async () => {
      await Promise.all([a.close(), c.close()]);
      await countIs(0);
    });
    tables.close();
  },

  /** Steps that need a start of their own. */
  async extra({ start, step, work, article }) {
    await step("7. 50 clients, DynamoDB 300 ms away: all 50 get their frame", async () => {
      const port = await freePort();
      const relay = await delayingRelay(port, 300);
      const gate = await start({ port, args: ["--map-host", `dynamodb.${region}.amazonaws.com=${relay.address}`] });
      try {
        const clients = [];
        while (clients.length < 50) {
          const five = [0, 1, 2, 3, 4].map((i) => Client.open(gate.url("Test"), { name: `client ${clients.length + i}` }));
          clients.push(...(await Promise.all(five)));
        }
        assert.ok(relay.requests() > 0, "the functions did not go through the delaying relay: --map-host had no effect");
        const started = Date.now();
        clients[0].send({ action: "onMessage", message: "far away" });
        await expectExactly(clients.map((client) => [client, ["Echo: far away"]]));
        assert.ok(Date.now() - started >= 300, "the message was faster than the delay");
        await Promise.all(clients.map((client) => client.close()));
      } finally {
        await gate.stop();
        await relay.close();
      }
    });
    await step("10. the connect function as printed: 502, and the log names the error and the function", async () => {
      const dir = join(work, "as-printed");
      await writeApp(article, dir, { mended: false });
      const gate = await start({ dir, dataDir: join(work, "as-printed-data") });
      try {
        await expectRefused(502, gate.url("Test"));
        await eventually(5_000, async () => {
          assert.match(gate.output, /ReferenceError: ddb is not defined/);
          assert.match(gate.output, /ChatRoomConnectFunction/);
        });
      } finally {
        await gate.stop();
      }
    });
  },
};

// For the message with the stale id any outcome is allowed: what came is thrown away
// once nothing more comes.
async function expectQuiet(clients) {
  await eventually(15_000, async () => {
    clients.forEach((client) => client.drain());
    await expectSilence(clients);
  });
}
