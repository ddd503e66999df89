// D7: MengLinMaker/reconnecting-websockets-on-AWS. Serverless Framework, Python, no
// $connect route; a row with a number of the client's own stands between a socket and those
// who write to it, and the table's stream pushes. Functions with one second of time, which
// an interpreter's start must not count towards.
import assert from "node:assert/strict";
import { Functions } from "../lib/aws.mjs";
import { Client, expectErrorFrame, expectSilence } from "../lib/client.mjs";
import { eventually, sleep } from "../lib/livegate.mjs";
import { restApi, streamEvents } from "../lib/needs.mjs";
import { rest } from "../lib/rest.mjs";
import { Tables } from "../lib/tables.mjs";

const table = "WebSocket-Test-Table";
const region = "ap-southeast-2"; // of serverless.yml

export const d7 = {
  id: "D7",
  title: "reconnecting-websockets-on-AWS",
  source: { repository: "MengLinMaker/reconnecting-websockets-on-AWS", commit: "ed0f75e121" },
  at: "backend",
  products: ["backend/.serverless"],

  async scenario({ gate, step }) {
    const url = gate.url("dev");
    const tables = new Tables(gate.status);
    const functions = new Functions(gate.status);
    const endpoint = `https://${gate.status.apis[0].id}.execute-api.${region}.amazonaws.com/dev`;
    const row = async (socketId) => (await tables.query(table, "socketUrl", { S: endpoint })).find((item) => item.socketId.S === socketId);
    const call = (logicalId, event) => functions.invoke(functions.name(logicalId), event);
    const ping = (socketId) => call("PingLambdaFunction", { body: JSON.stringify({ endpoint, socketId }) });
    const post = () => rest(gate, `${gate.status.outputs.ServiceEndpoint}/ping`, { method: "POST", body: JSON.stringify({ endpoint, socketId }) });
    let a, b, socketId, first;

    await step("0. region and stage of serverless.yml; the table, and four functions", async () => {
      assert.equal(gate.status.region, region);
      assert.deepEqual(gate.status.tables.map((t) => t.name), [table]);
      assert.equal(gate.status.functions.length, 4);
    });
    await step("1. there is no $connect route: 101", async () => {
      a = await Client.open(url, { name: "A" });
    });
    await step("2. open without a socketId: one frame with a new one, and its row", async () => {
      a.send({ action: "open", socketId: "" });
      const answer = JSON.parse(await a.next());
      assert.deepEqual(Object.keys(answer), ["socketId"]);
      socketId = answer.socketId;
      assert.match(socketId, /^[\w-]{32}$/);
      first = await eventually(5_000, async () => {
        const item = await row(socketId);
        assert.ok(item, "no row");
        return item;
      });
      assert.deepEqual(Object.keys(first).sort(), ["TTL", "currentId", "socketId", "socketUrl"]);
      assert.ok(Math.abs(Number(first.TTL.N) - (Date.now() / 1000 + 300)) < 60, "TTL is in five minutes, in s");
      await expectSilence([a]);
    });
    await step("3'. the stream's function, called with a record of the row: A gets the message", async () => {
      const image = { ...first, message: { S: '{"Time": "0.0 sec"}' } };
      const { error } = await call("MessageLambdaFunction", streamEvent(image));
      assert.equal(error, undefined);
      assert.equal(await a.next(), JSON.stringify({ message: '{"Time": "0.0 sec"}' }).replace(":", ": "));
      await expectSilence([a]);
    });
    let times = [];
    await step("4'. ping, called directly: eight messages in the row, 2.5 s apart; a reconnected socket takes the row over", async () => {
      const began = Date.now();
      const running = ping(socketId);
      let over = false;
      running.finally(() => (over = true)).catch(() => {});
      while (!over) {
        const text = (await row(socketId)).message?.S;
        if (text && text !== times.at(-1)) times.push(text);
        if (times.length === 3 && !b) {
          b = await Client.open(url, { name: "B" });
          b.send({ action: "open", socketId });
        }
        await sleep(200);
      }
      const { answer, error } = await running;
      assert.equal(error, undefined, JSON.stringify(answer));
      assert.equal(answer.statusCode, 200);
      const took = (Date.now() - began) / 1000;
      assert.ok(took > 19 && took < 25, `it took ${took} s`);
      assert.equal(times.length, 8, times.join(" "));
      const current = (await row(socketId)).currentId.S;
      assert.match(current, /^[\w-]{15}=$/);
      assert.notEqual(current, first.currentId.S, "the row still names A");
    });
    await step("4. the same, as frames: A gets the first ones through the stream, B the rest", { needs: [streamEvents] }, async () => {
      const frames = [...a.drain(), ...b.drain()].map((frame) => JSON.parse(frame).message);
      assert.deepEqual(frames, times);
    });
    await step("5. POST /dev/ping: about eight frames through the stream, 200 after 20 s", { needs: [restApi, streamEvents] }, async () => {
      const answer = await post();
      assert.equal(answer.status, 200);
      const frames = b.drain();
      assert.ok(frames.length >= 7 && frames.length <= 9, `${frames.length} frames`);
    });
    await step("6. the route message runs the stream's function, which finds no record: no frame", async () => {
      a.drain();
      b.drain();
      a.send({ action: "message" });
      await expectSilence([a, b]);
    });
    await step("7. unknown action: Forbidden frame, still open", async () => {
      a.send({ action: "nope" });
      await expectErrorFrame(a, "Forbidden");
      assert.ok(a.open, "A was disconnected");
    });
    await step("8. close: the row is gone, and ping fails on its condition", async () => {
      b.send({ action: "close", socketId });
      await eventually(5_000, async () => assert.equal(await row(socketId), undefined));
      const { answer, error } = await ping(socketId);
      assert.equal(error, "Unhandled");
      assert.equal(answer.errorType, "ConditionalCheckFailedException");
      await expectSilence([a, b]);
    });
    await step("8b. POST /dev/ping fails on its condition: 502", { needs: [restApi] }, async () => {
      assert.equal((await post()).status, 502);
    });
    await Promise.all([a.close(), b.close()]);
    functions.close();
    tables.close();
  },
};

// What a DynamoDB stream's event source hands to a function.
function streamEvent(image) {
  return {
    Records: [{
      eventID: "c81e728d9d4c2f636f067f89cc14862c", eventName: "MODIFY", eventVersion: "1.1", eventSource: "aws:dynamodb", awsRegion: region,
      dynamodb: {
        ApproximateCreationDateTime: Math.floor(Date.now() / 1000), SequenceNumber: "100000000000000000001", SizeBytes: 200,
        StreamViewType: "NEW_IMAGE", Keys: { socketUrl: image.socketUrl, socketId: image.socketId }, NewImage: image,
      },
      eventSourceARN: `arn:aws:dynamodb:${region}:123456789012:table/${table}/stream/2026-01-01T00:00:00.000`,
    }],
  };
}
