// Signature Version 4 with nothing but Node: for clients that are no SDK.
import { createHash, createHmac } from "node:crypto";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const hmac = (key, data) => createHmac("sha256", key).update(data).digest();
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Headers that sign a request with the function's own credentials; path is percent-encoded once. */
export function sign({ method, host, path, service, body, headers = {} }) {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION } = process.env;
  const date = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const all = { ...headers, host, "x-amz-date": date, "x-amz-security-token": AWS_SESSION_TOKEN };
  const names = Object.keys(all).sort();
  const canonical = [method, path.split("/").map(encode).join("/"), "", ...names.map((n) => `${n}:${all[n]}`), "", names.join(";"), sha256(body)];
  const scope = `${date.slice(0, 8)}/${AWS_REGION}/${service}/aws4_request`;
  const key = scope.split("/").reduce(hmac, `AWS4${AWS_SECRET_ACCESS_KEY}`);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", date, scope, sha256(canonical.join("\n"))].join("\n")).toString("hex");
  const { host: _, ...sent } = all;
  return { ...sent, authorization: `AWS4-HMAC-SHA256 Credential=${AWS_ACCESS_KEY_ID}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}` };
}
