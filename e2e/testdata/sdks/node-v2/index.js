// aws-sdk v2, a callback handler, an endpoint without a scheme: as published samples do.
const AWS = require("aws-sdk");

const db = new AWS.DynamoDB.DocumentClient();

exports.handler = (event, context, callback) => {
  const { domainName, apiId, stage, connectionId } = event.requestContext;
  const post = (endpoint, Data) =>
    new AWS.ApiGatewayManagementApi({ endpoint }).postToConnection({ ConnectionId: connectionId, Data }).promise();
  post(`${domainName}/${stage}`, "domain node-v2")
    .then(() => post(`https://${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com/${stage}`, "api node-v2"))
    .then(() => db.put({ TableName: process.env.TABLE_NAME, Item: { id: "node-v2" } }).promise())
    .then(() => callback(null, { statusCode: 200 }), callback);
};
