// AWS SDK for JavaScript v3 from outside, with AWS_ENDPOINT_URL. Arguments: management
// URL, connection id, table, function.
import assert from "node:assert/strict";
import {
  ApiGatewayManagementApiClient,
  DeleteConnectionCommand,
  GetConnectionCommand,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";
import { DescribeTableCommand, DynamoDBClient, GetItemCommand, ListTablesCommand, PutItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const [endpoint, ConnectionId, TableName, FunctionName] = process.argv.slice(2);
const gateway = new ApiGatewayManagementApiClient({ endpoint });

await gateway.send(new PostToConnectionCommand({ ConnectionId, Data: "from SDK v3" }));
const state = await gateway.send(new GetConnectionCommand({ ConnectionId }));
assert.ok(state.ConnectedAt instanceof Date && state.LastActiveAt >= state.ConnectedAt, JSON.stringify(state));
assert.match(state.Identity.SourceIp, /^(127\.0\.0\.1|::1)$/);

const gone = await gateway.send(new PostToConnectionCommand({ ConnectionId: "AAAAAAAAAAAAAAA=", Data: "x" })).catch((err) => err);
assert.equal(gone.name, "GoneException");
assert.equal(gone.$metadata.httpStatusCode, 410);
const large = await gateway.send(new PostToConnectionCommand({ ConnectionId, Data: "x".repeat(131073) })).catch((err) => err);
assert.equal(large.name, "PayloadTooLargeException");

const db = new DynamoDBClient({});
assert.ok((await db.send(new ListTablesCommand({}))).TableNames.includes(TableName));
assert.equal((await db.send(new DescribeTableCommand({ TableName }))).Table.TableStatus, "ACTIVE");
const Item = { id: { S: "sdk3" }, n: { N: "12345678901234567890.5" }, l: { L: [{ BOOL: true }, { NULL: true }] }, b: { B: new Uint8Array([0, 255]) } };
await db.send(new PutItemCommand({ TableName, Item }));
assert.deepEqual((await db.send(new GetItemCommand({ TableName, Key: { id: { S: "sdk3" } } }))).Item, Item);
assert.equal((await db.send(new ScanCommand({ TableName }))).Count, 1);
const failed = await db
  .send(new PutItemCommand({ TableName, Item, ConditionExpression: "attribute_not_exists(id)" }))
  .catch((err) => err);
assert.equal(failed.name, "ConditionalCheckFailedException");

const lambda = new LambdaClient({});
const invoked = await lambda.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify({ kind: "post", tag: "sdk3", endpoint, connectionId: "x", data: "x" }) }));
assert.equal(invoked.StatusCode, 200);
const missing = await lambda.send(new InvokeCommand({ FunctionName: "nobody" })).catch((err) => err);
assert.equal(missing.name, "ResourceNotFoundException");

assert.match((await new STSClient({}).send(new GetCallerIdentityCommand({}))).Account, /^\d{12}$/);

await gateway.send(new DeleteConnectionCommand({ ConnectionId }));
console.log("ok");
