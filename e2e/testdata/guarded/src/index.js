// An authorizer that does what its token says, and a function that tells what it knows
// of its caller. Calls are written to $RECORD_FILE, one JSON line each.
const fs = require("node:fs");

function record(line) {
  fs.appendFileSync(process.env.RECORD_FILE, JSON.stringify(line) + "\n");
}

const policy = (Effect, Resource) => ({ Version: "2012-10-17", Statement: [{ Action: "execute-api:Invoke", Effect, Resource }] });

exports.authorize = async (event) => {
  const token = event.queryStringParameters.token;
  record({ kind: "authorize", tag: token, connectionId: event.requestContext.connectionId, event });
  const allow = { principalId: "ada", policyDocument: policy("Allow", event.methodArn), context: { tenant: event.headers["X-Tenant"], level: 7, admin: true } };
  switch (token) {
    case "allow":
      return allow;
    case "wildcard":
      return { ...allow, policyDocument: policy("Allow", event.methodArn.replace(/\/prod\/.*/, "/*")) };
    case "deny":
      return { ...allow, policyDocument: policy("Deny", event.methodArn) };
    case "allow-and-deny":
      return { ...allow, policyDocument: { Version: "2012-10-17", Statement: [policy("Allow", "*"), policy("Deny", event.methodArn)].flatMap((p) => p.Statement) } };
    case "elsewhere":
      return { ...allow, policyDocument: policy("Allow", event.methodArn.replace("/prod/", "/test/")) };
    case "unauthorized":
      throw new Error("Unauthorized");
    case "broken":
      throw new Error("the user directory is down");
    case "nobody":
      return { policyDocument: policy("Allow", event.methodArn) };
    case "simple":
      return { isAuthorized: true };
    case "array":
      return { ...allow, context: { list: ["a"] } };
    case "hang":
      return new Promise(() => setInterval(() => {}, 1000));
    case "exit":
      process.exit(1);
  }
};

exports.talk = async (event) => {
  const { eventType, connectionId, requestId, authorizer, identity, routeKey, disconnectStatusCode: code, disconnectReason: reason } = event.requestContext;
  const kind = eventType.toLowerCase();
  const tag = kind === "connect" ? (event.queryStringParameters?.tag ?? "") : connectionId;
  record({ kind, tag, connectionId, requestId, code, reason, event });
  return { statusCode: 200, body: JSON.stringify({ route: routeKey, authorizer, identity }) };
};
