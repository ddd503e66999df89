const { DynamoDBClient, PutItemCommand } = require("@aws-sdk/client-dynamodb");
const { ApiGatewayManagementApiClient, PostToConnectionCommand } = require("@aws-sdk/client-apigatewaymanagementapi");

exports.handler = async (event) => {
  const { domainName, apiId, stage, connectionId: ConnectionId } = event.requestContext;
  const post = (endpoint, Data) =>
    new ApiGatewayManagementApiClient({ endpoint }).send(new PostToConnectionCommand({ ConnectionId, Data }));
  await post(`https://${domainName}/${stage}`, "domain node-v3");
  await post(`https://${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com/${stage}`, "api node-v3");
  await new DynamoDBClient({}).send(
    new PutItemCommand({ TableName: process.env.TABLE_NAME, Item: { id: { S: "node-v3" } } }),
  );
  return { statusCode: 200 };
};
