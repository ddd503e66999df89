import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, PutCommand } from "@aws-sdk/lib-dynamodb";
import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export const handler = async (event) => {
  const { domainName, apiId, stage, connectionId: ConnectionId } = event.requestContext;
  const post = (endpoint, Data) =>
    new ApiGatewayManagementApiClient({ endpoint }).send(new PostToConnectionCommand({ ConnectionId, Data }));
  await post(`https://${domainName}/${stage}`, "domain node-esm");
  await post(`https://${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com/${stage}`, "api node-esm");
  await db.send(new PutCommand({ TableName: process.env.TABLE_NAME, Item: { id: "node-esm" } }));
  return { statusCode: 200 };
};
