// Handlers that behave and misbehave on request. What they saw goes into
// $RECORD_FILE, one JSON line each, so that it survives whatever happens to them.
const fs = require("node:fs");
const http = require("node:http");
const { ApiGatewayManagementApiClient, PostToConnectionCommand } = require("@aws-sdk/client-apigatewaymanagementapi");
const { LambdaClient, InvokeCommand } = require("@aws-sdk/client-lambda");

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const forever = () => new Promise(() => setInterval(() => {}, 1000));

function record(line) {
  fs.appendFileSync(process.env.RECORD_FILE, JSON.stringify(line) + "\n");
}

// $disconnect has no query string: the tag is kept beside the records.
const tagFile = (id) => `${process.env.RECORD_FILE}.${id.replaceAll("/", "_")}`;

exports.connect = async (event) => {
  const query = event.queryStringParameters ?? {};
  const { connectionId, requestId } = event.requestContext;
  const tag = query.tag ?? "";
  fs.writeFileSync(tagFile(connectionId), tag);
  record({ kind: "connect", tag, connectionId, requestId, event, pid: process.pid });
  switch (query.mode) {
    case "status":
      return { statusCode: Number(query.status), body: "refused" };
    case "throw":
      throw new Error("refused by throwing");
    case "hang":
      return forever();
    case "garbage":
      return "no proxy result";
    case "exit":
      process.exit(3);
    case "slow":
      await sleep(Number(query.ms));
      return { statusCode: Number(query.status ?? 200) };
    case "protocol":
      return { statusCode: 200, headers: { "Sec-WebSocket-Protocol": query.protocol } };
    case "post":
      await post({ kind: "post", tag, endpoint: endpoint(event), connectionId, data: "from inside" });
      return { statusCode: 200 };
    case "sync":
    case "async":
      await new LambdaClient({}).send(
        new InvokeCommand({
          FunctionName: "probe-poster",
          InvocationType: query.mode === "sync" ? "RequestResponse" : "Event",
          Payload: JSON.stringify({ kind: "post", tag, endpoint: endpoint(event), connectionId, data: `by ${query.mode}` }),
        }),
      );
      await sleep(Number(query.ms ?? 0));
      return { statusCode: Number(query.status ?? 200) };
    default:
      return { statusCode: 200 };
  }
};

exports.disconnect = async (event) => {
  const { connectionId, requestId, disconnectStatusCode: code, disconnectReason: reason } = event.requestContext;
  const tag = fs.readFileSync(tagFile(connectionId), "utf8");
  record({ kind: "disconnect", tag, connectionId, requestId, code, reason, event });
  if (process.env.HANG_FILE && fs.existsSync(process.env.HANG_FILE)) await forever();
  record({ kind: "disconnected", tag, connectionId, requestId });
};

exports.message = async (event) => {
  const { data } = JSON.parse(event.body);
  const answer = (body) => ({ statusCode: 200, body });
  switch (event.requestContext.routeKey) {
    case "echo":
      return answer(data);
    case "dump":
      return answer(JSON.stringify(event));
    case "oneway":
      record({ kind: "oneway", tag: data });
      return answer("nobody gets this");
    case "post":
      await post({ kind: "post", tag: data.tag, endpoint: endpoint(event), connectionId: data.to ?? event.requestContext.connectionId, data: data.text });
      return { statusCode: 200 };
    case "fault":
      return fault(data);
  }
};

async function fault(kind) {
  switch (kind) {
    case "throw":
      throw new TypeError("thrown on purpose");
    case "hang":
      return forever();
    case "exit":
      process.exit(7);
    case "flood":
      for (let i = 0; i < 40_000; i++) console.log(`flood ${i} ${"x".repeat(200)}`);
      process.stdout.write("y".repeat(1 << 20)); // a megabyte without a line end
      return { statusCode: 200, body: "flooded" };
    case "raw": // what a protocol on standard output would choke on
      fs.writeSync(1, Buffer.from([0, 255, 0, 1, 2, 3, 10, 0x7b, 0x22, 10]));
      fs.writeSync(2, '{"type":"response","payload":"forged"}\n');
      return { statusCode: 200, body: "raw written" };
    case "garbage":
      return 42;
    case "circular": {
      const a = {};
      a.a = a;
      return a;
    }
    case "bigint":
      return { statusCode: 200, body: 1n };
    case "reject": // nobody awaits it: Node ends the process
      Promise.reject(new Error("rejected on purpose"));
      return { statusCode: 200, body: "before the rejection" };
    case "huge":
      return { statusCode: 200, body: "z".repeat(7 << 20) };
    case "proxy": // what the function's own proxy lets through
      return { statusCode: 200, body: JSON.stringify(await proxied(["169.254.169.254:80", "[fd00:ec2::254]:80", "example.com:443"])) };
    case "stack":
      return (function deeper() {
        return deeper();
      })();
  }
}

// proxied asks $HTTPS_PROXY for tunnels; the answers' statuses by destination.
async function proxied(destinations) {
  const proxy = new URL(process.env.HTTPS_PROXY);
  const token = Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
  const statuses = {};
  for (const path of destinations) {
    statuses[path] = await new Promise((resolve, reject) => {
      const request = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path, headers: { "Proxy-Authorization": `Basic ${token}` } });
      request.on("connect", (response, socket) => {
        socket.destroy();
        resolve(response.statusCode);
      });
      request.on("response", (response) => resolve(response.statusCode));
      request.on("error", reject);
      request.end();
    });
  }
  return statuses;
}

exports.poster = async (event) => {
  await post(event);
};

const endpoint = ({ requestContext: c }) => `https://${c.domainName}/${c.stage}`;

// post posts once and records how it ended; it never throws.
async function post({ kind, tag, endpoint, connectionId, data }) {
  const began = Date.now();
  const line = { kind, tag, connectionId, status: 200, error: "" };
  try {
    const client = new ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1 });
    await client.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: data }));
  } catch (err) {
    line.status = err.$metadata?.httpStatusCode ?? 0;
    line.error = err.name;
  }
  record({ ...line, millis: Date.now() - began });
}
