// The same calls without an SDK: fetch, and http2 on a session of its own.
import http2 from "node:http2";
import { sign } from "./sign.mjs";

const hosts = ({ domainName, apiId }) => ({
  domain: domainName,
  api: `${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com`,
});

async function put(id, send) {
  const body = JSON.stringify({ TableName: process.env.TABLE_NAME, Item: { id: { S: id } } });
  const headers = { "content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.PutItem" };
  const host = `dynamodb.${process.env.AWS_REGION}.amazonaws.com`;
  await send({ method: "POST", host, path: "/", service: "dynamodb", body, headers });
}

async function both(event, id, send) {
  const { stage, connectionId } = event.requestContext;
  const path = `/${stage}/@connections/${encodeURIComponent(connectionId)}`;
  for (const [name, host] of Object.entries(hosts(event.requestContext))) {
    await send({ method: "POST", host, path, service: "execute-api", body: `${name} ${id}` });
  }
  await put(id, send);
  return { statusCode: 200 };
}

export const viaFetch = (event) =>
  both(event, "node-fetch", async (request) => {
    const { method, host, path, body } = request;
    const response = await fetch(`https://${host}${path}`, { method, body, headers: sign(request) });
    if (!response.ok) throw new Error(`fetch ${host}: ${response.status} ${await response.text()}`);
  });

export const viaHttp2 = (event) =>
  both(event, "node-http2", async (request) => {
    const { method, host, path, body } = request;
    const session = http2.connect(`https://${host}`);
    try {
      await new Promise((resolve, reject) => {
        session.on("error", reject);
        const stream = session.request({ ":method": method, ":path": path, ...sign(request) });
        stream.on("response", (headers) => {
          if (headers[":status"] !== 200) reject(new Error(`http2 ${host}: ${headers[":status"]}`));
        });
        stream.on("error", reject);
        stream.resume().on("end", resolve);
        stream.end(body);
      });
      if (session.alpnProtocol !== "h2") throw new Error(`spoke ${session.alpnProtocol}`);
    } finally {
      session.close();
    }
  });
