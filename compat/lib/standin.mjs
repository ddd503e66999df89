// Small servers that answer for an AWS service that livegate does not have yet, so that
// what stands behind it can be shown today. Functions are sent to them with --map-host,
// under the service's own name, and SDKs that have an endpoint of their own per service with
// its variable, because AWS_ENDPOINT_URL leads them past any name. What was shown with a
// stand-in is said to be.
import { createPrivateKey, createPublicKey, createSign, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Serves answers on loopback.
 * @param {string} name the service, as shown
 * @param {string} host its host name
 * @param {(request: {method: string, path: string, target: string, body: string}) => {status?: number, body: object}} answer
 *   target is the X-Amz-Target header
 * @param {string} [variable] an SDK's variable for the service's endpoint
 * @returns {Promise<{name: string, map: string, env: string, calls: () => number, close: () => Promise<void>}>}
 *   map is a value for --map-host, env lines for --env-file
 */
export async function standIn(name, host, answer, variable) {
  let count = 0;
  const server = createServer((request, response) => {
    count++;
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (text) => (body += text));
    request.on("end", () => {
      const target = request.headers["x-amz-target"] ?? "";
      const { status = 200, body: out } = answer({ method: request.method, path: request.url, target, body });
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(out));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    name,
    map: `${host}=127.0.0.1:${server.address().port}`,
    env: variable ? `${variable}=http://127.0.0.1:${server.address().port}\n` : "",
    calls: () => count,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/**
 * Secrets Manager with one secret, found by its name or an ARN that ends in the name and
 * a dash.
 */
export function secretsManager(region, secretName, text) {
  return standIn("Secrets Manager", `secretsmanager.${region}.amazonaws.com`, ({ target, body }) => {
    const wanted = target === "secretsmanager.GetSecretValue" ? JSON.parse(body).SecretId ?? "" : "";
    const arn = new RegExp(`^arn:aws:secretsmanager:${region}:\\d{12}:secret:${secretName}-\\w{6}$`);
    if (wanted !== secretName && !arn.test(wanted)) {
      return { status: 400, body: { __type: "ResourceNotFoundException", message: `no secret ${JSON.stringify(wanted)} (${target})` } };
    }
    return { body: { ARN: wanted, Name: secretName, SecretString: text } };
  }, "AWS_ENDPOINT_URL_SECRETS_MANAGER");
}

/**
 * A Cognito user pool's keys, and tokens signed with one of them.
 * @returns {Promise<object>} a stand-in with idToken(pool, client, claims, {key, kid})
 */
export async function userPool(region) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" } });
  const jwk = { ...createPublicKey(privateKey).export({ format: "jwk" }), kid: "compat", alg: "RS256", use: "sig" };
  const host = `cognito-idp.${region}.amazonaws.com`;
  const server = await standIn("Cognito user pools", host, ({ method, path }) =>
    method === "GET" && /^\/[\w-]+\/\.well-known\/jwks\.json$/.test(path)
      ? { body: { keys: [jwk] } }
      : { status: 400, body: { __type: "NotImplementedException", message: `${method} ${path}` } });
  return {
    ...server,
    idToken(pool, client, claims = {}, { key = privateKey } = {}) {
      const now = Math.floor(Date.now() / 1000);
      const body = { sub: "11111111-2222-4333-8444-555555555555", aud: client, iss: `https://${host}/${pool}`, token_use: "id",
        "cognito:username": "compat", auth_time: now, iat: now, exp: now + 3600, ...claims };
      return jwt({ alg: "RS256", typ: "JWT", kid: "compat" }, body, (text) => createSign("RSA-SHA256").update(text).sign(createPrivateKey(key)));
    },
  };
}

/**
 * A JSON Web Token in its compact form.
 * @param {object} header @param {object} claims
 * @param {(text: string) => Buffer} sign
 */
export function jwt(header, claims, sign) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${sign(text).toString("base64url")}`;
}
