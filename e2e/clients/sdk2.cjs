// AWS SDK for JavaScript v2 from outside; it knows no AWS_ENDPOINT_URL. Arguments:
// endpoint URL, management URL, connection id, table.
const assert = require("node:assert/strict");
const AWS = require("aws-sdk");

const [endpoint, management, ConnectionId, TableName] = process.argv.slice(2);
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";

async function main() {
  const gateway = new AWS.ApiGatewayManagementApi({ endpoint: management });
  await gateway.postToConnection({ ConnectionId, Data: "from SDK v2" }).promise();
  assert.ok((await gateway.getConnection({ ConnectionId }).promise()).ConnectedAt instanceof Date);
  const gone = await gateway.postToConnection({ ConnectionId: "AAAAAAAAAAAAAAA=", Data: "x" }).promise().catch((err) => err);
  assert.deepEqual([gone.code, gone.statusCode], ["GoneException", 410]);

  const db = new AWS.DynamoDB.DocumentClient({ endpoint });
  const Item = { id: "sdk2", list: [1, { deep: "ü" }], set: db.createSet(["a", "b"]) };
  await db.put({ TableName, Item }).promise();
  const found = (await db.get({ TableName, Key: { id: "sdk2" } }).promise()).Item;
  assert.deepEqual(found.list, Item.list);
  assert.deepEqual(found.set.values.sort(), ["a", "b"]);
  await db.update({ TableName, Key: { id: "sdk2" }, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 } }).promise();
  assert.equal((await db.get({ TableName, Key: { id: "sdk2" } }).promise()).Item.n, 1);

  const sts = new AWS.STS({ endpoint });
  assert.match((await sts.getCallerIdentity().promise()).Account, /^\d{12}$/);
  const s3 = await new AWS.S3({ endpoint, s3ForcePathStyle: true }).listBuckets().promise().catch((err) => err);
  assert.ok(s3 instanceof Error, "S3 is not there, and answers as if it were");
  console.log("ok");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
