// The handlers of the chat room. The AWS SDK comes with the Lambda runtime, so
// there is nothing to install here.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  paginateScan,
} from "@aws-sdk/lib-dynamodb";
import {
  ApiGatewayManagementApiClient,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";

const table = process.env.TABLE_NAME;
const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export const connect = async (event) => {
  const { connectionId, connectedAt } = event.requestContext;
  const name = cleanName(event.queryStringParameters?.name);
  // A connection lives two hours at most; a row that $disconnect never reached
  // goes an hour later.
  const expiresAt = Math.floor(connectedAt / 1000) + 3 * 3600;
  await db.send(new PutCommand({ TableName: table, Item: { connectionId, name, expiresAt } }));
  // The newcomer's own socket opens only after this function has returned.
  await broadcast(event, { type: "joined", name }, connectionId);
  return { statusCode: 200 };
};

export const disconnect = async (event) => {
  const { connectionId } = event.requestContext;
  const old = await db.send(
    new DeleteCommand({ TableName: table, Key: { connectionId }, ReturnValues: "ALL_OLD" }),
  );
  if (old.Attributes) {
    await broadcast(event, { type: "left", name: old.Attributes.name }, connectionId);
  }
  return { statusCode: 200 };
};

export const sendmessage = async (event) => {
  const { connectionId, requestTimeEpoch } = event.requestContext;
  const { data } = JSON.parse(event.body);
  if (typeof data !== "string" || data.trim() === "") {
    return { statusCode: 400 };
  }
  const sender = await db.send(new GetCommand({ TableName: table, Key: { connectionId } }));
  const name = sender.Item?.name ?? "someone";
  await broadcast(event, { type: "message", name, text: data, at: requestTimeEpoch, from: connectionId });
  return { statusCode: 200 };
};

export const help = async () => ({
  statusCode: 200,
  body: JSON.stringify({
    type: "help",
    text: 'Send {"action":"sendmessage","data":"hello"} to talk to everybody.',
  }),
});

// broadcast posts one message to every connection in the table but `except`, and
// drops the rows of connections that are gone.
async function broadcast(event, message, except) {
  const { domainName, stage } = event.requestContext;
  const gateway = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
  const Data = JSON.stringify(message);
  const pages = paginateScan({ client: db }, { TableName: table, ProjectionExpression: "connectionId" });
  for await (const { Items } of pages) {
    await Promise.all(
      Items.filter((row) => row.connectionId !== except).map(async ({ connectionId }) => {
        try {
          await gateway.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data }));
        } catch (err) {
          if (err.name !== "GoneException") throw err;
          await db.send(new DeleteCommand({ TableName: table, Key: { connectionId } }));
        }
      }),
    );
  }
}

function cleanName(name) {
  return (name ?? "").trim().slice(0, 24) || "someone";
}
