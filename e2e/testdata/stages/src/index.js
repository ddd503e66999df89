const { ApiGatewayManagementApiClient, PostToConnectionCommand } = require("@aws-sdk/client-apigatewaymanagementapi");

const on = (color) => async (event) => {
  if (event.isBase64Encoded) {
    const bytes = Buffer.from(event.body, "base64").reverse();
    return { statusCode: 200, isBase64Encoded: true, body: bytes.toString("base64") };
  }
  const { domainName, stage, connectionId } = event.requestContext;
  if (event.body === "callback") {
    // Under a custom domain the mapping key stands where the stage would.
    const base = event.stageVariables.base ?? "";
    const endpoint = `https://${domainName}${domainName.includes("execute-api") ? `/${stage}` : base}`;
    await new ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1 }).send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: "called back" }));
    return { statusCode: 200 };
  }
  return { statusCode: 200, body: event.body.length > 100 ? event.body : JSON.stringify({ color, stage, domainName, table: event.stageVariables.table }) };
};

exports.blue = on("blue");
exports.green = on("green");
