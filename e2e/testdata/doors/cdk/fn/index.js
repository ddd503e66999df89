exports.handler = async (event) => {
  if (event.requestContext.eventType === "CONNECT") return { statusCode: 200 };
  return { statusCode: 200, body: `cdk ${process.env.GREETING}: ${JSON.parse(event.body).data}` };
};
