// The stand-ins answer as the services do, and no more than that.
import assert from "node:assert/strict";
import { createPublicKey, createVerify } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { queueEvent } from "../lib/aws.mjs";
import { services } from "../lib/needs.mjs";
import { rest } from "../lib/rest.mjs";
import { secretsManager, userPool } from "../lib/standin.mjs";

const region = "us-east-1";

test("the secret is found by its ARN and by its name; another is not", async (t) => {
  const server = await secretsManager(region, "Mine", "hidden");
  t.after(() => server.close());
  const [host, address] = server.map.split("=");
  assert.equal(host, "secretsmanager.us-east-1.amazonaws.com");
  const client = new SecretsManagerClient({ endpoint: `http://${address}`, region, credentials: { accessKeyId: "a", secretAccessKey: "b" }, maxAttempts: 1 });
  t.after(() => client.destroy());
  for (const SecretId of ["Mine", "arn:aws:secretsmanager:us-east-1:123456789012:secret:Mine-Ab12Cd"]) {
    assert.equal((await client.send(new GetSecretValueCommand({ SecretId }))).SecretString, "hidden");
  }
  for (const SecretId of ["Yours", "arn:aws:secretsmanager:us-east-1:123456789012:secret:Mine"]) {
    await assert.rejects(client.send(new GetSecretValueCommand({ SecretId })), { name: "ResourceNotFoundException" });
  }
  assert.equal(server.calls(), 4);
});

test("a user pool's tokens are signed with the key that it publishes", async (t) => {
  const pool = await userPool(region);
  t.after(() => pool.close());
  const base = `http://${pool.map.split("=")[1]}`;
  const { keys: [jwk] } = await (await fetch(`${base}/us-east-1_Abc/.well-known/jwks.json`)).json();
  assert.equal((await fetch(`${base}/`)).status, 400);
  const [header, claims, signature] = pool.idToken("us-east-1_Abc", "client", { aud: "x" }).split(".");
  const decode = (part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  assert.equal(decode(header).kid, jwk.kid);
  assert.deepEqual([decode(claims).iss, decode(claims).aud], ["https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Abc", "x"]);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  assert.ok(createVerify("RSA-SHA256").update(`${header}.${claims}`).verify(key, Buffer.from(signature, "base64url")));
});

test("a queue's event has one record per message, with its attributes", () => {
  const { Records } = queueEvent("arn:aws:sqs:eu-west-1:123456789012:q", [{ body: "a", attributes: { id: "1" } }, { body: "b" }]);
  assert.deepEqual(Records.map((r) => [r.body, r.awsRegion, r.messageAttributes.id?.stringValue]), [["a", "eu-west-1", "1"], ["b", "eu-west-1", undefined]]);
  assert.notEqual(Records[0].messageId, Records[1].messageId);
});

async function serve(t, answer) {
  const server = createServer((request, response) => answer(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return server.address().port;
}

test("a service is missing only when it is said to be not implemented", async (t) => {
  const port = await serve(t, (request, response) => {
    const service = /Credential=[^/]+\/\d+\/[^/]+\/([^/]+)/.exec(request.headers.authorization)[1];
    const status = { sqs: 501, events: 200, secretsmanager: 400 }[service] ?? 500;
    response.writeHead(status, { "content-type": "application/x-amz-json-1.1" });
    response.end(status === 200 ? "{}" : JSON.stringify({ __type: "SomeException", message: service }));
  });
  assert.deepEqual(await services({ endpointUrl: `http://127.0.0.1:${port}`, region }),
    { "SQS": false, "EventBridge": true, "Secrets Manager": true, "Cognito user pools": true });
  await assert.rejects(services({ endpointUrl: "http://127.0.0.1:1", region }), /ECONNREFUSED/);
});

test("a REST API is called by its own name, at livegate's port", async (t) => {
  const port = await serve(t, (request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => response.writeHead(202).end([request.method, request.headers.host, request.url, body].join(" ")));
  });
  assert.deepEqual(await rest({ port }, "https://abc.execute-api.us-east-1.amazonaws.com/dev/x?y=1", { method: "POST", body: "hello" }),
    { status: 202, body: "POST abc.execute-api.us-east-1.amazonaws.com /dev/x?y=1 hello" });
});
