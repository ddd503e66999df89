// The AWS SDK for JavaScript v2 with its DocumentClient on the tables of a running
// Livegate; it knows no AWS_ENDPOINT_URL of its own.
import AWS from "aws-sdk";
import { scenarios } from "./scenarios.mjs";

process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
const options = { endpoint: process.env.AWS_ENDPOINT_URL, maxRetries: 0 };
const client = new AWS.DynamoDB(options);
const records = new AWS.DynamoDBStreams(options);
const documents = new AWS.DynamoDB.DocumentClient({ service: client });
const exact = new AWS.DynamoDB.DocumentClient({ service: client, wrapNumbers: true });

const method = (op) => op[0].toLowerCase() + op.slice(1);
const requests = {
  low: (op, params) => client[method(op)](params),
  doc: (op, params) => documents[method(op)](params),
  exact: (op, params) => exact[method(op)](params),
  streams: (op, params) => records[method(op)](params),
};

/** Something of the response body that v2 keeps to itself, such as an error's Item. */
function hidden(body) {
  const parsed = JSON.parse(body.toString());
  const plain = (item) => item && AWS.DynamoDB.Converter.unmarshall(item);
  return { item: plain(parsed.Item), reasons: parsed.CancellationReasons?.map((r) => ({ ...r, Item: plain(r.Item) })) };
}

await scenarios({
  name: "js2",
  documentPartiQL: false,

  low: (op, params) => requests.low(op, params).promise(),
  doc: (op, params) => requests.doc(op, params).promise(),
  exact: (op, params) => requests.exact(op, params).promise(),
  streams: (op, params) => requests.streams(op, params).promise(),

  set: (values) => documents.createSet(values),
  values: (set) => set.values,
  // v2 has no public class for numbers: take one from an answer, as applications do.
  async bigNumber(text) {
    const Key = { room: { S: "js2 number" }, seq: { N: "0" } };
    await client.putItem({ TableName: "rooms", Item: { ...Key, n: { N: text } } }).promise();
    const { Item } = await exact.get({ TableName: "rooms", Key: { room: "js2 number", seq: 0 } }).promise();
    return Item.n;
  },

  async failure(service, op, params) {
    const request = requests[service](op, params);
    let kept = {};
    request.on("extractError", (response) => {
      kept = hidden(response.httpResponse.body);
    });
    try {
      await request.promise();
    } catch (err) {
      return { name: err.code, message: err.message, status: err.statusCode, ...kept };
    }
    throw new Error(`${op} went through: ${JSON.stringify(params)}`);
  },

  pages: (op, params) =>
    new Promise((resolve, reject) => {
      const found = [];
      requests[op === "ListTables" ? "low" : "doc"](op, params).eachPage((err, page) => {
        if (err) {
          reject(err);
        } else if (page) {
          found.push(page);
        } else {
          resolve(found);
        }
      });
    }),

  exists: (TableName) => client.waitFor("tableExists", { TableName, $waiter: { delay: 1, maxAttempts: 20 } }).promise(),
  gone: (TableName) => client.waitFor("tableNotExists", { TableName, $waiter: { delay: 1, maxAttempts: 20 } }).promise(),
});
