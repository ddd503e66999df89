// D2: allenheltondev/serverless-websockets. A layer with a build, a composite key with
// TTL and a GSI, the subprotocol taken from the $connect answer, TransactWriteItems.
//
// Only the branch part-one can run yet: part-two and later, and main, put a Lambda
// authorizer before $connect. The steps with EventBridge and SQS (7, 8, 12) wait too.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, expectErrorFrame, expectSilence } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { Tables } from "../lib/tables.mjs";

const run = promisify(execFile);
const table = "websocket";

export const d2 = {
  id: "D2",
  title: "serverless-websockets, branch part-one",
  source: "https://github.com/allenheltondev/serverless-websockets",
  notes: ["not run: authorizer steps 1-4 and 14 (main), event steps 7, 8 and 12 (EventBridge and SQS)"],

  async locate({ apps, work }) {
    const dir = join(apps, "serverless-websockets");
    if (!existsSync(join(dir, "template.yaml"))) return { absent: `${dir} is missing` };
    if (!/AWS::ApiGatewayV2::Authorizer/.test(await readFile(join(dir, "template.yaml"), "utf8"))) return { dir };
    return (await partOne(dir, join(work, "app"))) ?? { absent: `${dir} has an authorizer: check out its branch part-one` };
  },

  async scenario({ gate, step }) {
    const url = gate.url("dev");
    const tables = new Tables(gate.status);
    const all = () => tables.scan(table);
    let a1, a2, id1;

    await step("4'. protocol websocket: 101 with Sec-WebSocket-Protocol: websocket", async () => {
      a1 = await Client.open(url, { name: "A1", protocols: ["websocket"] });
      assert.equal(a1.headers["sec-websocket-protocol"], "websocket");
      a2 = await Client.open(url, { name: "A2", protocols: ["websocket", "other"] });
      assert.equal(a2.headers["sec-websocket-protocol"], "websocket");
    });
    await step("5. one connection item each, with address, times and TTL", async () => {
      const items = await all();
      assert.equal(items.length, 2, "items in the table");
      for (const item of items) {
        assert.deepEqual(Object.keys(item).sort(), ["connectedAt", "ipAddress", "pk", "sk", "ttl"]);
        assert.equal(item.sk.S, "connection#");
        assert.match(item.ipAddress.S, /^(127\.0\.0\.1|::1)$/);
        assert.ok(Math.abs(Number(item.connectedAt.N) - Date.now()) < 60_000, "connectedAt is now, in ms");
        assert.ok(Math.abs(Number(item.ttl.N) - (Date.now() / 1000 + 24 * 3600)) < 60, "ttl is in 24 h, in s");
      }
    });
    await step("6. subscribe: no frame, one subscription item, found through the index", async () => {
      const before = new Set((await all()).map((item) => item.pk.S));
      a1.send({ action: "subscribe", entityId: "myEntityId" });
      const item = await eventually(5_000, async () => {
        const found = (await all()).find((i) => i.sk.S === "subscription#myEntityId");
        assert.ok(found, "no item subscription#myEntityId");
        return found;
      });
      assert.equal(item.GSI1PK.S, "myEntityId");
      assert.equal(item.GSI1SK.S, "subscription#");
      assert.ok(before.has(item.pk.S), "pk is A1's connection id");
      id1 = item.pk.S;
      await expectSilence([a1, a2]);
    });
    await step("9. unsubscribe: no frame, the item is gone", async () => {
      a1.send({ action: "unsubscribe", entityId: "myEntityId" });
      await eventually(5_000, async () => {
        const items = await tables.query(table, "pk", { S: id1 });
        assert.deepEqual(items.map((i) => i.sk.S), ["connection#"]);
      });
      await expectSilence([a1, a2]);
    });
    await step("13. unknown action: Forbidden frame, still open", async () => {
      a2.send({ action: "nothing-like-it" });
      await expectErrorFrame(a2, "Forbidden");
      assert.ok(a2.open, "A2 was disconnected");
    });
    await step("10. A1 closes: no item of it after 5 s", async () => {
      a1.send({ action: "subscribe", entityId: "e" });
      await eventually(5_000, async () => assert.equal((await tables.query(table, "pk", { S: id1 })).length, 2));
      await a1.close();
      await eventually(5_000, async () => assert.equal((await tables.query(table, "pk", { S: id1 })).length, 0));
    });
    await step("11. 30 subscriptions and a close: all 31 items gone, in two transactions", async () => {
      const id2 = (await all())[0].pk.S;
      for (let i = 0; i < 30; i++) a2.send({ action: "subscribe", entityId: `entity-${i}` });
      await eventually(15_000, async () => assert.equal((await tables.query(table, "pk", { S: id2 })).length, 31));
      await a2.close();
      await eventually(5_000, async () => assert.equal((await all()).length, 0));
    });
    await step("15. output WebsocketUri", async () => {
      const { apis, region, outputs } = gate.status;
      const value = outputs.WebsocketUri?.value ?? outputs.WebsocketUri;
      assert.equal(value, `wss://${apis[0].id}.execute-api.${region}.amazonaws.com/dev`);
    });
    tables.close();
  },
};

// A clone stands on main; the branch is taken out of it, the clone itself is not touched.
async function partOne(repository, dir) {
  if (existsSync(dir)) return { dir };
  for (const ref of ["origin/part-one", "part-one"]) {
    try {
      await run("git", ["-C", repository, "rev-parse", "--verify", "--quiet", `${ref}^{commit}`]);
    } catch {
      continue;
    }
    await mkdir(dir, { recursive: true });
    await run("sh", ["-c", 'git -C "$1" archive "$2" | tar x -C "$3"', "sh", repository, ref, dir]);
    return { dir };
  }
  return null;
}
