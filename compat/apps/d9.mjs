// D9: aws-samples/serverless-websocket-chat. Python, $default for text that is no JSON,
// UpdateItem with SET, ADD (string set) and REMOVE on a table with a number range key.
import assert from "node:assert/strict";
import { Client, expectExactly, expectSilence } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { Tables } from "../lib/tables.mjs";

export const d9 = {
  id: "D9",
  title: "serverless-websocket-chat (Python)",
  source: { repository: "aws-samples/serverless-websocket-chat", commit: "d88be8886c" },

  async scenario({ gate, step }) {
    const url = gate.url("Prod");
    const tables = new Tables(gate.status);
    const table = tableName(gate.status.tables);
    const item = async (pk) => (await tables.query(table, "pk", { S: pk })).find((row) => row.epoch.N === "0");
    const members = async (channel) =>
      Object.keys((await item(`${channel}:::connections`)) ?? {}).filter((name) => name.startsWith("CONN")).length;
    const membersAre = (channel, n) =>
      eventually(5_000, async () => assert.equal(await members(channel), n, `connections in #${channel}`));
    let a, b;

    await step("1. two clients connect: both are in #general", async () => {
      a = await Client.open(url, { name: "A" });
      b = await Client.open(url, { name: "B" });
      await membersAre("general", 2);
    });
    await step("2. plain text goes to the other one only, and is stored", async () => {
      a.send("hi");
      await expectExactly([[b, ["#general anonymous: hi"]], [a, []]]);
      const stored = (await tables.query(table, "pk", { S: "general" })).at(-1);
      assert.equal(stored.message.S, "hi");
      assert.ok(Math.abs(Number(stored.epoch.N) - Date.now()) < 60_000, "epoch is the request time in ms");
    });
    await step("3. /name: the answer comes, and the next message bears the name", async () => {
      a.send("/name bz");
      await expectExactly([[a, ["Set username to bz"]], [b, []]]);
      a.send("hello");
      await expectExactly([[b, ["#general bz: hello"]], [a, []]]);
    });
    await step("4. /channel: the answer comes, and #general is left", async () => {
      a.send("/channel random");
      await expectExactly([[a, ["Changed to #random"]], [b, []]]);
      await membersAre("general", 1);
      await membersAre("random", 1);
      b.send("anybody here?");
      await expectSilence([a, b]);
    });
    await step("5. the other one follows: they hear each other in #random", async () => {
      b.send("/channel #random");
      await expectExactly([[b, ["Changed to #random"]]]);
      b.send("héllo 🌍");
      await expectExactly([[a, ["#random anonymous: héllo 🌍"]], [b, []]]);
      a.send('{"action":"nope"}');
      await expectExactly([[b, ['#random bz: {"action":"nope"}']], [a, []]]);
      const channels = (await item("channels")).channels.SS;
      assert.deepEqual([...channels].sort(), ["general", "random"]);
    });
    await step("6. /help, and white space", async () => {
      b.send("/help");
      await expectExactly([[b, ["Valid commands: /help, /name [NAME], /channel [CHAN_NAME]"]], [a, []]]);
      b.send("   ");
      await expectSilence([a, b]);
    });
    await step("7. one resets, one closes: #random is empty within 5 s", async () => {
      a.kill();
      await b.close();
      await membersAre("random", 0);
    });
    tables.close();
  },
};

// status lists tables by name, or as objects with one.
function tableName(tables) {
  assert.equal(tables.length, 1, "tables in the status");
  return typeof tables[0] === "string" ? tables[0] : tables[0].name;
}
