// D2, step 14: the stack again with its custom domain. Names are resolved by the client
// alone: nothing on this machine, and nobody else, knows ws.example.test.
import assert from "node:assert/strict";
import { Agent } from "node:http";
import { ApiGatewayManagementApiClient, GetConnectionCommand, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";
import { Functions, configuration } from "../lib/aws.mjs";
import { Client, expectExactly, expectRefused, here } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { Tables } from "../lib/tables.mjs";

export async function domainSteps({ start, step, region, domain }) {
  let gate, tables, a, b, token;
  const url = (path, scheme = "ws") => `${scheme}://${domain}:${gate.port}${path}`;
  const protocols = () => ["websocket", token];

  await step("14a. DeployCustomDomain=true: the stack is accepted, and the output names the domain", async () => {
    gate = await start({ args: ["--parameter-overrides", `DeployCustomDomain=true DomainName=${domain} HostedZoneId=Z0COMPAT`] });
    assert.equal(gate.status.outputs.WebSocketDomainName, domain);
    assert.deepEqual(gate.status.findings.filter((f) => f.severity === "error"), []);
    tables = new Tables(gate.status);
    const functions = new Functions(gate.status);
    token = (await functions.invoke("CreateTestJwt", {})).answer.authToken;
    functions.close();
  });
  await step("14b. the domain's root: 101 over ws, and over wss with a certificate for its name", async () => {
    await expectRefused(401, url("/"), { lookup: here });
    a = await Client.open(url("/"), { name: "A", protocols: protocols(), lookup: here, timeout: 10_000 });
    const ca = await gate.authorities();
    b = await Client.open(url("/", "wss"), { name: "B", protocols: protocols(), lookup: here, ca, timeout: 10_000 });
    assert.equal(a.headers["sec-websocket-protocol"], "websocket");
    assert.equal((await tables.scan("websocket")).length, 2);
  });
  await step("14c. the stage is not part of the domain's path: 403", async () => {
    await expectRefused(403, url("/dev"), { protocols: protocols(), lookup: here });
  });
  await step("14d. @connections on the domain, without a stage: the connection is found, and gets what is posted", async () => {
    const client = new ApiGatewayManagementApiClient({
      ...configuration(gate.status), endpoint: `http://${domain}:${gate.port}`, requestHandler: { httpAgent: new Agent({ lookup: here }) },
    });
    for (const item of await tables.scan("websocket")) {
      const { Identity } = await client.send(new GetConnectionCommand({ ConnectionId: item.pk.S }));
      assert.match(Identity.SourceIp, /^(127\.0\.0\.1|::1)$/);
      await client.send(new PostToConnectionCommand({ ConnectionId: item.pk.S, Data: Buffer.from("hello") }));
    }
    client.destroy();
    await expectExactly([[a, ["hello"]], [b, ["hello"]]]);
  });
  await step("14e. messages are routed, and the default endpoint serves as well", async () => {
    a.send({ action: "subscribe", entityId: "myEntityId" });
    await eventually(5_000, async () => assert.equal((await tables.scan("websocket")).length, 3));
    const c = await Client.open(gate.url("dev"), { name: "C", protocols: protocols() });
    await Promise.all([a, b, c].map((client) => client.close()));
    await eventually(5_000, async () => assert.equal((await tables.scan("websocket")).length, 0));
  });
  tables?.close();
  await gate?.stop();
}
