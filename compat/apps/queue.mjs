// What D6 and D11 share: the same application once in SAM with Node and once in Terraform
// with Python. A $default route that puts each message into a FIFO queue (an integration
// of type AWS with a form-encoded template), and a function that the queue feeds, which
// posts the message back.
import assert from "node:assert/strict";
import { Functions, queueEvent } from "../lib/aws.mjs";
import { Client, expectErrorFrame, expectExactly, expectSilence } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { queueEvents, sqs } from "../lib/needs.mjs";

const queue = [sqs, queueEvents];

/**
 * @param {object} play of the runner
 * @param {{consumer: string, queueArn: string, fails: boolean}} of consumer is the
 *   function's logical id; fails: it lets a stale connection's error out
 */
export async function queueSteps({ gate, step, services }, { consumer, queueArn, fails }) {
  const url = gate.url("production");
  const functions = new Functions(gate.status);
  let a, b, idA;

  await step("1. there is no $connect route: 101", async () => {
    a = await Client.open(url, { name: "A" });
    b = await Client.open(url, { name: "B" });
  });
  if (!services[sqs.name]) {
    await step("2'. no SQS here: an error frame, the log says why since the start, still open", async () => {
      await logged(gate, /warning: .*route \$default: .*sqs.* is not supported yet/);
      a.send({ MessageGroupId: "g1", x: 1 });
      idA = (await expectErrorFrame(a, "Internal server error")).connectionId;
      await logged(gate, /error: route \$default failed: .*sqs.* is not supported yet/);
      await expectSilence([a, b]);
      assert.ok(a.open, "A was disconnected");
    });
  }
  await step("2. a message comes back through the queue, with connection and request id", { needs: queue }, async () => {
    a.send('{"MessageGroupId":"g1","x":1}');
    const answer = JSON.parse(await a.next());
    assert.deepEqual(Object.keys(answer), ["connectionId", "requestId", "message"]);
    assert.match(answer.connectionId, /^[\w-]{15}=$/);
    assert.match(answer.requestId, /^[\w-]{15}=$/);
    assert.deepEqual(JSON.parse(answer.message), { MessageGroupId: "g1", x: 1 });
    idA = answer.connectionId;
    await expectSilence([a, b]);
  });
  await step("3. fifty messages of one group come back in order", { needs: queue }, async () => {
    for (let x = 0; x < 50; x++) a.send({ MessageGroupId: "g1", x });
    for (let x = 0; x < 50; x++) assert.equal(JSON.parse(JSON.parse(await a.next(30_000)).message).x, x);
    await expectSilence([a, b]);
  });
  await step("4. without a MessageGroupId: an error frame or a line in the log, still open", { needs: queue }, async () => {
    const before = gate.output.length;
    a.send({ x: 1 });
    await expectFrameOrLog(a, gate, before);
    assert.ok(a.open, "A was disconnected");
    a.send({ MessageGroupId: "g1", x: "after" });
    assert.equal(JSON.parse(JSON.parse(await a.next()).message).x, "after");
  });
  const handed = (...messages) => functions.invoke(functions.name(consumer), queueEvent(queueArn, messages));
  const message = (connectionId, body) => ({ body, attributes: { connectionId, requestId: "Qa1zTdYbrRcCJ4w=" } });
  await step("5'. the consumer, called with the queue's event, posts each record to its connection", async () => {
    assert.ok(idA, "A's connection id is not known: an earlier step tells it");
    const bodies = ['{"MessageGroupId":"g1","x":1}', '{"MessageGroupId":"g1","text":"héllo 🌍"}'];
    const { answer, error } = await handed(...bodies.map((body) => message(idA, body)));
    assert.equal(error, undefined, JSON.stringify(answer));
    assert.equal(answer.statusCode, 200);
    const frames = await Promise.all(bodies.map(() => a.next()));
    assert.deepEqual(frames.map((frame) => JSON.parse(frame)), bodies.map((body) => ({ connectionId: idA, requestId: "Qa1zTdYbrRcCJ4w=", message: body })));
    await expectExactly([[a, []], [b, []]]);
  });
  await step("6'. a record of a connection that is gone: " + (fails ? "the function fails with GoneException" : "logged, the others are served"), async () => {
    await b.close();
    const gone = `${idA.slice(0, 14)}A=`;
    const { answer, error } = await handed(message(gone, "{}"), message(idA, "{}"));
    assert.equal(Boolean(error), fails, JSON.stringify(answer));
    if (fails) assert.equal(answer.errorType, "GoneException");
    else {
      assert.equal(JSON.parse(await a.next()).message, "{}");
      await logged(gate, /GoneException/);
    }
    await expectSilence([a]);
  });
  await a.close();
  functions.close();
}

// The log comes through a pipe: a frame may overtake its line.
const logged = (gate, line) => eventually(2_000, async () => assert.ok(line.test(gate.output), `the log has no line like ${line}`));

async function expectFrameOrLog(client, gate, before) {
  const frame = await client.next(5_000).catch(() => null);
  if (frame) assert.match(JSON.parse(frame).message, /\w/);
  else assert.ok(/MessageGroupId/.test(gate.output.slice(before)), "neither a frame nor a line of the log");
}
