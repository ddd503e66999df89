const { ApiGatewayManagementApiClient, PostToConnectionCommand } = require("@aws-sdk/client-apigatewaymanagementapi");
const { DynamoDBClient, paginateScan } = require("@aws-sdk/client-dynamodb");

const table = new DynamoDBClient({});

exports.handler = async (event) => {
  const { authorizer, domainName, stage } = event.requestContext;
  const gateway = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
  const message = JSON.stringify({ type: "message", name: authorizer.name, text: JSON.parse(event.body).text });
  for await (const page of paginateScan({ client: table }, { TableName: process.env.PEOPLE, ProjectionExpression: "connectionId" })) {
    await Promise.all(
      page.Items.map(({ connectionId }) =>
        gateway.send(new PostToConnectionCommand({ ConnectionId: connectionId.S, Data: message })).catch((err) => {
          if (err.name !== "GoneException") throw err; // who is gone is about to leave the table
        }),
      ),
    );
  }
  return { statusCode: 200 };
};
