// D2: allenheltondev/serverless-websockets, its six branches: a series of articles, each
// with what the ones before it built. A layer with a build, a composite key with TTL and a
// GSI, the subprotocol taken from the $connect answer, TransactWriteItems; from part two a
// Lambda authorizer that reads its key from Secrets Manager; events through EventBridge
// and SQS; from part five a custom domain.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";
import { SecretsManagerClient, GetSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import { Functions, configuration, queueEvent } from "../lib/aws.mjs";
import { Client, expectErrorFrame, expectExactly, expectRefused, expectSilence } from "../lib/client.mjs";
import { eventually, sleep } from "../lib/livegate.mjs";
import { eventBridge, queueEvents, rules, secretsManager, sqs } from "../lib/needs.mjs";
import { jwt, secretsManager as secretsStandIn } from "../lib/standin.mjs";
import { Tables } from "../lib/tables.mjs";
import { domainSteps } from "./d2-domain.mjs";

const table = "websocket";
const region = "us-east-1";
const secret = "s3cret";
const secretText = `{\n  "signature": "${secret}"\n}`; // what the template makes of it
const events = [eventBridge, rules, sqs, queueEvents];

const branches = [
  { branch: "part-one", commit: "6e568c0bb2" },
  { branch: "part-two", commit: "1f81374c35", auth: true },
  { branch: "part-three", commit: "8580447f0e", auth: true },
  { branch: "part-four", commit: "590213329b", auth: true, notices: true },
  { branch: "part-five", commit: "d5b00ae133", auth: true, notices: true, domain: true },
  { branch: "main", commit: "a7e12d093f", auth: true, notices: true, domain: true },
];

export const d2 = branches.map((has) => ({
  id: `D2-${has.branch}`,
  title: `serverless-websockets, ${has.branch}`,
  source: { repository: "allenheltondev/serverless-websockets", commit: has.commit, branch: has.branch },
  args: ["--region", region, ...parameters(has)],
  standIns: async (services) =>
    has.auth && !services[secretsManager.name] ? [await secretsStandIn(region, "JwtSignatureSecret", secretText)] : [],
  scenario: (play) => scenario({ ...play, has }),
  extra: has.domain ? (play) => domainSteps({ ...play, region, domain: "ws.example.test" }) : undefined,
}));

function parameters({ auth, domain }) {
  if (!auth) return [];
  const all = [`JwtSecret=${secret}`, ...(domain ? ["DeployCustomDomain=false", "DomainName=none", "HostedZoneId=none"] : [])];
  return ["--parameter-overrides", all.join(" ")];
}

async function scenario({ gate, step, has, dir }) {
  const url = gate.url("dev");
  const tables = new Tables(gate.status);
  const functions = new Functions(gate.status);
  const app = { gate, url, tables, functions, has, dir, table, all: () => tables.scan(table) };
  if (has.auth) await authorizerSteps(app, step);
  else {
    await step("4'. protocol websocket: 101 with Sec-WebSocket-Protocol: websocket", async () => {
      app.a1 = await open(app, "A1", ["websocket"]);
      app.a2 = await open(app, "A2", ["websocket", "other"]);
    });
  }
  await tableSteps(app, step);
  await eventSteps(app, step);
  await endSteps(app, step);
  functions.close();
  tables.close();
}

async function open(app, name, protocols, query = "") {
  const client = await Client.open(app.url + query, { name, protocols, timeout: 10_000 });
  assert.equal(client.headers["sec-websocket-protocol"], "websocket", `${name}'s subprotocol`);
  return client;
}

async function authorizerSteps(app, step) {
  const { gate, functions } = app;
  const token = async (payload) => {
    const { answer, error } = await functions.invoke("CreateTestJwt", payload);
    assert.equal(error, undefined, JSON.stringify(answer));
    assert.deepEqual(Object.keys(answer ?? {}), ["authToken"]);
    return answer.authToken;
  };
  const claims = (text) => JSON.parse(Buffer.from(text.split(".")[1], "base64url").toString("utf8"));
  let mine, others;

  await step("1. CreateTestJwt, invoked with {} and without a payload, answers a token for myuserid", async () => {
    mine = await token({});
    assert.equal(claims(mine).data.userId, "myuserid");
    assert.equal(claims(await token()).data.userId, "myuserid");
    others = await token({ userId: "other" });
    assert.equal(claims(others).data.userId, "other");
  });
  await step("1b. the secret is the template's, from Secrets Manager", { needs: [secretsManager] }, async () => {
    const client = new SecretsManagerClient(configuration(gate.status));
    const answer = await client.send(new GetSecretValueCommand({ SecretId: "JwtSignatureSecret" }));
    client.destroy();
    assert.equal(answer.SecretString, secretText);
  });
  await step("2. no Sec-WebSocket-Protocol: 401, the authorizer is not called", async () => {
    await expectRefused(401, app.url);
    await expectRefused(401, `${app.url}?access_token=${mine}`);
    await sleep(500); // its log comes through a pipe
    assert.ok(!/"Sec-Websocket-Protocol" header is missing/.test(gate.output), "the authorizer ran");
  });
  await step("3. no token, a garbage one, a foreign one, an expired one: 401", async () => {
    const signed = (data, key) => jwt({ alg: "HS256", typ: "JWT" }, data, (text) => createHmac("sha256", key).update(text).digest());
    const now = Math.floor(Date.now() / 1000);
    const data = { userId: "myuserid" };
    for (const protocols of [["websocket"], ["websocket", "garbage"], ["other", mine],
      ["websocket", signed({ data, exp: now + 3600 }, "another secret")], ["websocket", signed({ data, exp: now - 60 }, secret)]]) {
      await expectRefused(401, app.url, { protocols });
    }
    assert.equal((await app.all()).length, 0, "items in the table: $connect ran");
  });
  await step("4. protocols websocket and the token, or ?access_token: 101 with Sec-WebSocket-Protocol: websocket", async () => {
    app.a1 = await open(app, "A1", ["websocket", mine]);
    app.a2 = await open(app, "A2", ["websocket"], `?access_token=${mine}`);
    app.b = await open(app, "B", ["websocket", others]);
  });
}

// The rows, and subscriptions. Sets app.id1: A1's connection id.
async function tableSteps(app, step) {
  const { tables, all, has } = app;
  const clients = [app.a1, app.a2, app.b].filter(Boolean);

  await step("5. one connection item each, with address, times, TTL and the user", async () => {
    const items = await all();
    assert.equal(items.length, clients.length, "items in the table");
    const user = has.auth ? ["GSI1PK", "GSI1SK"] : [];
    for (const item of items) {
      assert.deepEqual(Object.keys(item).sort(), [...user, "connectedAt", "ipAddress", "pk", "sk", "ttl"]);
      assert.equal(item.sk.S, "connection#");
      assert.match(item.ipAddress.S, /^(127\.0\.0\.1|::1)$/);
      assert.ok(Math.abs(Number(item.connectedAt.N) - Date.now()) < 60_000, "connectedAt is now, in ms");
      assert.ok(Math.abs(Number(item.ttl.N) - (Date.now() / 1000 + 24 * 3600)) < 60, "ttl is in 24 h, in s");
      if (has.auth) assert.equal(item.GSI1SK.S, "user#");
    }
    if (has.auth) assert.deepEqual(items.map((item) => item.GSI1PK.S).sort(), ["myuserid", "myuserid", "other"]);
  });
  await step("6. subscribe: no frame, one subscription item", async () => {
    const before = new Set((await all()).map((item) => item.pk.S));
    app.a1.send({ action: "subscribe", entityId: "myEntityId" });
    const item = await eventually(5_000, async () => {
      const found = (await all()).find((i) => i.sk.S === "subscription#myEntityId");
      assert.ok(found, "no item subscription#myEntityId");
      return found;
    });
    assert.equal(item.GSI1PK.S, "myEntityId");
    assert.equal(item.GSI1SK.S, "subscription#");
    assert.ok(before.has(item.pk.S), "pk is A1's connection id");
    app.id1 = item.pk.S;
    await expectSilence(clients);
  });
}

// Events: as the queue would hand them to the function, and all the way from PutEvents.
async function eventSteps(app, step) {
  const { gate, functions, has, a1, a2, b, dir, tables } = app;
  const clients = [a1, a2, b].filter(Boolean);
  const none = (...but) => clients.filter((c) => !but.includes(c)).map((c) => [c, []]);
  const examples = {
    updated: { DetailType: "Entity Updated", Detail: '{"entityId":"myEntityId","message":"The example worked!"}', Source: "CLI" },
  };
  if (has.notices) {
    for (const [name, file] of [["updated", "entity-updated"], ["notice", "send-user-push-notification"]]) {
      [examples[name]] = JSON.parse(await readFile(join(dir, "examples", `${file}.json`), "utf8"));
    }
  }
  const updated = JSON.stringify({ type: "Entity Updated", entityId: "myEntityId", message: "The example worked!" });
  const notice = JSON.stringify({ type: "User Push Notification", message: "The user notification worked! Hello World!", callback: "https://github.com/allenheltondev/serverless-websockets" });
  const handed = (logicalId, example) => functions.invoke(functions.name(logicalId), fromBus(gate.status, logicalId, example));
  const bus = new EventBridgeClient(configuration(gate.status));
  const put = async (...entries) => {
    const answer = await bus.send(new PutEventsCommand({ Entries: entries }));
    assert.equal(answer.FailedEntryCount, 0, JSON.stringify(answer));
  };

  await step("7'. the consumer, called with the queue's event: A1 gets the entity's update, nobody else", async () => {
    const { answer, error } = await handed("PostToSubscriptionsFunction", examples.updated);
    assert.equal(error, undefined, JSON.stringify(answer));
    await expectExactly([[a1, [updated]], ...none(a1)]);
  });
  await step("7. PutEvents with the entity's update: the same, through bus and queue", { needs: events }, async () => {
    await put(examples.updated);
    await expectExactly([[a1, [updated]], ...none(a1)]);
  });
  if (has.notices) {
    await step("8'. the other consumer, called with the queue's event: A1 and A2 get the notice, B nothing", async () => {
      const { answer, error } = await handed("CreateUserNotificationFunction", examples.notice);
      assert.equal(error, undefined, JSON.stringify(answer));
      await expectExactly([[a1, [notice]], [a2, [notice]], ...none(a1, a2)]);
    });
    await step("8. PutEvents with the notice: the same, through bus and queue", { needs: events }, async () => {
      await put(examples.notice);
      await expectExactly([[a1, [notice]], [a2, [notice]], ...none(a1, a2)]);
    });
    await step("12'. a stale row: the consumer, called with the queue's event, fails, and A1 is served", async () => {
      await tables.put(app.table, staleRow);
      const { error } = await handed("PostToSubscriptionsFunction", examples.updated);
      await tables.remove(app.table, { pk: staleRow.pk, sk: staleRow.sk });
      assert.ok(error, "the function called back with an error, and the invocation has none");
      await expectExactly([[a1, [updated]], ...none(a1)]);
    });
    await step("12. a stale row: the message comes back until the row is gone, A1 is served each time", { needs: events }, async () => {
      await tables.put(app.table, staleRow);
      await put(examples.updated);
      assert.equal(await a1.next(), updated);
      assert.equal(await a1.next(45_000), updated, "after the visibility time-out"); // 30 s
      await tables.remove(app.table, { pk: staleRow.pk, sk: staleRow.sk });
      assert.equal(await a1.next(45_000), updated, "redelivered once more");
      await sleep(35_000);
      await expectSilence(clients);
    });
  }
  await step("9. unsubscribe: no frame, the item is gone", async () => {
    a1.send({ action: "unsubscribe", entityId: "myEntityId" });
    await eventually(5_000, async () => {
      const items = await tables.query(app.table, "pk", { S: app.id1 });
      assert.deepEqual(items.map((i) => i.sk.S), ["connection#"]);
    });
    await expectSilence(clients);
  });
  await step("9b. events after unsubscribing, and of another type: nobody gets anything", { needs: events }, async () => {
    await put(examples.updated, { ...examples.updated, DetailType: "Something Else" });
    await expectSilence(clients);
  });
  bus.destroy();
}

async function endSteps(app, step) {
  const { gate, tables, all, has, a1, a2, b } = app;

  await step("13. unknown action: Forbidden frame, still open", async () => {
    a2.send({ action: "nothing-like-it" });
    await expectErrorFrame(a2, "Forbidden");
    assert.ok(a2.open, "A2 was disconnected");
  });
  await step("10. A1 closes: no item of it after 5 s", async () => {
    a1.send({ action: "subscribe", entityId: "e" });
    await eventually(5_000, async () => assert.equal((await tables.query(app.table, "pk", { S: app.id1 })).length, 2));
    await a1.close();
    await eventually(5_000, async () => assert.equal((await tables.query(app.table, "pk", { S: app.id1 })).length, 0));
    await b?.close();
  });
  await step("11. 30 subscriptions and a close: all 31 items gone, in two transactions", async () => {
    const [only, ...rest] = await eventually(5_000, async () => {
      const items = await all();
      assert.equal(items.length, 1, "items in the table");
      return items;
    });
    assert.equal(rest.length, 0);
    for (let i = 0; i < 30; i++) a2.send({ action: "subscribe", entityId: `entity-${i}` });
    await eventually(15_000, async () => assert.equal((await tables.query(app.table, "pk", { S: only.pk.S })).length, 31));
    await a2.close();
    await eventually(5_000, async () => assert.equal((await all()).length, 0));
  });
  await step(`15. output WebsocketUri${has.domain ? ", and no custom domain" : ""}`, async () => {
    const { apis, outputs } = gate.status;
    assert.equal(outputs.WebsocketUri, `wss://${apis[0].id}.execute-api.${region}.amazonaws.com/dev`);
    if (has.domain) assert.equal(outputs.WebSocketDomainName, "Not Provided");
  });
}

const staleRow = {
  pk: { S: "gone=" }, sk: { S: "subscription#myEntityId" }, GSI1PK: { S: "myEntityId" }, GSI1SK: { S: "subscription#" },
};

// What the queue behind an EventBridge rule hands to its function.
function fromBus({ accountId }, logicalId, { DetailType, Detail, Source }) {
  const body = JSON.stringify({
    version: "0", id: "5b1e0c5c-0000-4000-8000-000000000001", "detail-type": DetailType, source: Source, account: accountId,
    time: new Date().toISOString().replace(/\.\d+/, ""), region, resources: [], detail: JSON.parse(Detail),
  });
  return queueEvent(`arn:aws:sqs:${region}:${accountId}:${logicalId}`, [{ body }]);
}
