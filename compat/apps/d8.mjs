// D8: dherault/serverless-offline, the WebSocket services of its integration tests and its
// example. What its tests expect is asked here in our words, of the services as they are.
//
// One thing differs, and must: the service with the authorizer leaves identitySource to the
// framework, whose default is the header Auth. AWS answers 401 to a handshake without it
// and asks nobody; serverless-offline asks the authorizer all the same. The client sends
// the header where the authorizer's own answer is meant.
import assert from "node:assert/strict";
import { Functions } from "../lib/aws.mjs";
import { Client, expectErrorFrame, expectExactly, expectRefused, expectSilence } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { restApi } from "../lib/needs.mjs";
import { rest } from "../lib/rest.mjs";

const source = (path) => ({ repository: "dherault/serverless-offline", commit: "d243b3ed4a", paths: [".gitignore", "package.json", path] });

const service = (name, path, scenario, more = {}) => ({
  id: `D8-${name}`,
  title: `serverless-offline, ${path.replace("tests/integration/", "").replace("examples/", "example ")}`,
  source: source(path),
  at: path,
  products: [`${path}/.serverless`],
  scenario,
  ...more,
});

const payload = (more = {}) => JSON.stringify({ hello: "world", now: new Date().toISOString(), ...more });

// GET /echo beside the WebSocket routes; no test of the suite calls it.
const echo = ({ gate, step }) =>
  step("the HTTP event: GET /dev/echo answers 200", { needs: [restApi], alone: true }, async () => {
    const { status } = await rest(gate, `${gate.status.outputs.ServiceEndpoint}/echo`);
    assert.equal(status, 200);
  });

const failing = (url, step) =>
  step("the handler throws: one frame Internal server error, still open", { alone: true }, async () => {
    const client = await Client.open(url);
    client.send(payload({ throwError: true }));
    await expectErrorFrame(client, "Internal server error");
    await expectSilence([client]);
    assert.ok(client.open, "the client was disconnected");
    await client.close();
  });

async function authorizer({ gate, step }) {
  const url = gate.url("dev");
  const identity = { headers: { Auth: "me" }, timeout: 10_000 };
  const echoed = async (credential) => {
    const client = await Client.open(`${url}?credential=${credential}`, identity);
    client.send("{}");
    await expectExactly([[client, ["{}"]]]);
    await client.close();
  };
  await step("credential isValid: 101, and the reply is what was sent", { alone: true }, () => echoed("isValid"));
  await step("credential isNotValid, the policy denies: 403", { alone: true }, async () => {
    await expectRefused(403, `${url}?credential=isNotValid`, identity);
  });
  await step("credential noContext, a policy without context: 101, and the reply", { alone: true }, () => echoed("noContext"));
  await step("credential exception, the authorizer throws: 500", { alone: true }, async () => {
    await expectRefused(500, `${url}?credential=exception`, identity);
  });
  await step("no credential and no identity: 401", { alone: true }, async () => {
    await expectRefused(401, url);
  });
  await step("as on AWS: a good credential without the identity header: 401", { alone: true }, async () => {
    await expectRefused(401, `${url}?credential=isValid`);
  });
  await step("as on AWS: an answer that is no policy: 500", { alone: true }, async () => {
    await expectRefused(500, url, identity);
  });
  await echo({ gate, step });
}

async function oneway({ gate, step }) {
  const url = gate.url("dev");
  await step("a route without a route response answers nothing", { alone: true }, async () => {
    const client = await Client.open(url);
    client.send(payload());
    await expectSilence([client]);
    assert.ok(client.open, "the client was disconnected");
    await client.close();
  });
  await failing(url, step);
  await echo({ gate, step });
}

async function twoway({ gate, step }) {
  const url = gate.url("dev");
  await step("the reply is what was sent", { alone: true }, async () => {
    const client = await Client.open(url);
    const text = payload();
    client.send(text);
    await expectExactly([[client, [text]]]);
    await client.close();
  });
  for (const status of [401, 500, 501, 502]) {
    await step(`$connect answers ${status}: so does the handshake`, { alone: true }, async () => {
      await expectRefused(status, `${url}?statusCode=${status}`);
    });
  }
  await step("$connect throws: 502", { alone: true }, async () => {
    await expectRefused(502, `${url}?throwError=true`);
  });
  await failing(url, step);
  await echo({ gate, step });
}

async function example({ gate, step }) {
  const client = await Client.open(gate.url("dev"), { name: "A" });
  await step("any text gets the reply of the default route, as it was printed", async () => {
    client.send("hello");
    await expectExactly([[client, ['{\n  "Hello": "World"\n}']]]);
  });
  await step("POST /initiate-one-way pushes to the connection (the code posts to port 3001)", { needs: [restApi] }, async () => {
    await withConnectionId(gate, async (id) => {
      const { status } = await rest(gate, `${gate.status.outputs.ServiceEndpoint}/initiate-one-way`, {
        method: "POST", body: '{"hello":"world"}', headers: { "connection-id": id, "content-type": "application/json" },
      });
      assert.equal(status, gate.port === 3001 ? 200 : 502);
    });
  });
  await client.close();
}

// The service's own code names the port: this start must have it.
async function pushing({ start, step }) {
  await step("initiate-one-way, called directly, posts to http://localhost:3001/@connections/{id}: the frame comes", async () => {
    const gate = await start({ port: 3001 });
    const functions = new Functions(gate.status);
    try {
      const client = await Client.open(gate.url("dev"), { name: "A" });
      client.send("who am I?");
      await client.next();
      await withConnectionId(gate, async (id) => {
        const { answer, error } = await functions.invoke(functions.name("InitiateOneWayLambdaFunction"), {
          body: '{"hello":"from outside"}', headers: { "connection-id": id },
        });
        assert.equal(error, undefined, JSON.stringify(answer));
        assert.equal(answer.statusCode, 200);
      });
      await expectExactly([[client, ['{"hello":"from outside"}']]]);
      await client.close();
    } finally {
      functions.close();
      await gate.stop();
    }
  });
}

// The example prints its events, and those name the connection.
async function withConnectionId(gate, use) {
  const id = await eventually(5_000, async () => {
    const found = [...gate.output.matchAll(/"connectionId": "([^"]+)"/g)].at(-1);
    assert.ok(found, "the log shows no connectionId");
    return found[1];
  });
  await use(id);
}

export const d8 = [
  service("authorizer", "tests/integration/websocket-authorizer", authorizer),
  service("oneway", "tests/integration/websocket-oneway", oneway),
  service("twoway", "tests/integration/websocket-twoway", twoway),
  service("example", "examples/events/websocket", example, { extra: pushing }),
];
