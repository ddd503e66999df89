// A ticket is {"name", "until"} in base64url, a dot, and a signature of that.
const { createHmac, timingSafeEqual } = require("node:crypto");

const sign = (payload, secret) => createHmac("sha256", secret).update(payload).digest();

exports.make = (name, minutes, secret) => {
  const payload = Buffer.from(JSON.stringify({ name, until: Date.now() + minutes * 60_000 })).toString("base64url");
  return `${payload}.${sign(payload, secret).toString("base64url")}`;
};

// read returns the name on a ticket; undefined for one that is forged or has expired.
function read(ticket, secret) {
  const [payload, signature = ""] = ticket.split(".");
  const given = Buffer.from(signature, "base64url");
  const wanted = sign(payload, secret);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return;
  const { name, until } = JSON.parse(Buffer.from(payload, "base64url"));
  return Date.now() < until ? name : undefined;
}

exports.authorize = async (event) => {
  const name = read(event.queryStringParameters.ticket, process.env.TICKET_SECRET);
  if (!name) throw new Error("Unauthorized"); // API Gateway makes 401 of this very word
  return {
    principalId: name,
    policyDocument: { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "execute-api:Invoke", Resource: event.methodArn }] },
    context: { name }, // later events and templates have it as authorizer.name
  };
};
