// D10: aws-samples/websocket-api-cognito-auth-sample. CDK: a cloud assembly whose functions
// the project bundles itself, an authorizer that checks a Cognito user pool's tokens against
// the pool's keys, and a callback URL that depends on the domain's name.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  AdminConfirmSignUpCommand, CognitoIdentityProviderClient, InitiateAuthCommand, SignUpCommand,
} from "@aws-sdk/client-cognito-identity-provider";
import { configuration } from "../lib/aws.mjs";
import { Client, expectExactly, expectRefused } from "../lib/client.mjs";
import { eventually } from "../lib/livegate.mjs";
import { appSyncEvents, cognito } from "../lib/needs.mjs";
import { rest } from "../lib/rest.mjs";
import { userPool } from "../lib/standin.mjs";
import { Tables } from "../lib/tables.mjs";

const run = promisify(execFile);
const region = "us-east-1";

export const d10 = {
  id: "D10",
  title: "websocket-api-cognito-auth-sample (CDK)",
  source: { repository: "aws-samples/websocket-api-cognito-auth-sample", commit: "26bd4881be" },
  at: "cdk",
  args: ["--region", region],
  products: ["backend/node_modules", "cdk/node_modules", "cdk/cdk.out"],

  /** `npm ci` in both directories, as its README says. */
  async setup(dir) {
    for (const part of ["backend", "cdk"]) {
      const cwd = join(dir, part);
      if (existsSync(join(cwd, "node_modules"))) continue;
      await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd, maxBuffer: 1 << 26 });
    }
  },

  standIns: async (services) => (services[cognito.name] ? [] : [await userPool(region)]),

  async scenario({ gate, step, standIns: [pool] }) {
    const { outputs, apis, tables: listed } = gate.status;
    const url = gate.url("prod");
    const tables = new Tables(gate.status);
    const table = listed[0].name;
    const slow = { timeout: 15_000 }; // both functions' first start is in the handshake
    let token, sub, a;

    await step("0. outputs of the assembly, in AWS's shapes", async () => {
      assert.match(outputs.UserPoolId, /^us-east-1_[A-Za-z0-9]+$/);
      assert.match(outputs.UserPoolWebClientId, /^[a-z0-9]{20,}$/);
      assert.equal(outputs.WebSocketEndpoint, `wss://${apis[0].id}.execute-api.${region}.amazonaws.com/prod`);
      assert.equal(outputs.Region, region);
    });
    await step("0b. the output of the AppSync endpoint, too", { alone: true }, async () => {
      assert.match(outputs.AppSyncEventsEndpoint, /^https:\/\/\w+\.appsync-api\.us-east-1\.amazonaws\.com\/event$/);
    });
    await step("1. a user signs up and signs in: an id token", { needs: [cognito] }, async () => {
      ({ token, sub } = await signIn(gate.status, outputs));
    });
    token ??= pool.idToken(outputs.UserPoolId, outputs.UserPoolWebClientId);
    sub ??= JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString("utf8")).sub;

    await step("2. no idToken: 401, the authorizer is not called", async () => {
      await expectRefused(401, url);
      await expectRefused(401, `${url}?idToken=`);
    });
    await step("3. the token in the query: 101, and a row with the token's user", async () => {
      a = await Client.open(`${url}?idToken=${token}`, { name: "A", ...slow });
      const items = await tables.scan(table);
      assert.equal(items.length, 1, "items in the table");
      assert.deepEqual(Object.keys(items[0]).sort(), ["connectionId", "removedAt", "userId"]);
      assert.equal(items[0].userId.S, sub);
      if (pool) assert.ok(pool.calls() > 0, "nobody asked for the pool's keys");
    });
    await step("4. a message comes back in JSON, posted to the stage's URL", async () => {
      for (const text of ["hello", '{"action":"x"}', "héllo 🌍"]) {
        a.send(text);
        await expectExactly([[a, [JSON.stringify({ message: text })]]]);
      }
    });
    await step("5. a garbage token: 403, by an explicit Deny", async () => {
      await expectRefused(403, `${url}?idToken=garbage`, slow);
    });
    if (pool) {
      await step("5'. expired, for another client, of another pool, an access token, another's signature: 403", async () => {
        const { privateKey: key } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
        const make = (claims, how) => pool.idToken(outputs.UserPoolId, outputs.UserPoolWebClientId, claims, how);
        const bad = [make({ exp: 1 }), make({ aud: "another" }), make({ iss: `https://cognito-idp.${region}.amazonaws.com/us-east-1_Another` }),
          make({ token_use: "access" }), make({}, { key })];
        for (const text of bad) await expectRefused(403, `${url}?idToken=${text}`, slow);
        assert.equal((await tables.scan(table)).length, 1, "items in the table: $connect ran");
      });
    }
    await step("6. the client leaves: its row is gone", async () => {
      await a.close();
      await eventually(5_000, async () => assert.equal((await tables.scan(table)).length, 0));
    });
    await step("7. AppSync Events: an event is published to the namespace default", { needs: [cognito, appSyncEvents] }, async () => {
      const answer = await rest(gate, outputs.AppSyncEventsEndpoint, {
        method: "POST", headers: { authorization: token, "content-type": "application/json" },
        body: JSON.stringify({ channel: "default/x", events: ['"hi"'] }),
      });
      assert.equal(answer.status, 200);
    });
    tables.close();
  },
};

async function signIn(status, { UserPoolId, UserPoolWebClientId: ClientId }) {
  const client = new CognitoIdentityProviderClient(configuration(status));
  const Username = `compat-${Date.now()}@example.com`;
  const Password = "Compat-2026!";
  const { UserSub } = await client.send(new SignUpCommand({ ClientId, Username, Password, UserAttributes: [{ Name: "email", Value: Username }] }));
  await client.send(new AdminConfirmSignUpCommand({ UserPoolId, Username }));
  const { AuthenticationResult } = await client.send(new InitiateAuthCommand({
    ClientId, AuthFlow: "USER_PASSWORD_AUTH", AuthParameters: { USERNAME: Username, PASSWORD: Password },
  }));
  client.destroy();
  return { token: AuthenticationResult.IdToken, sub: UserSub };
}
