// AWS SDK for JavaScript v3 as a service with credentials of its own. Arguments:
// management URL, connection id. Prints, for each call, "ok" or the error's name and
// status.
import { ApiGatewayManagementApiClient, DeleteConnectionCommand, GetConnectionCommand, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

const [endpoint, ConnectionId] = process.argv.slice(2);
const gateway = new ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1 });
for (const command of [
  new PostToConnectionCommand({ ConnectionId, Data: "from the service" }),
  new GetConnectionCommand({ ConnectionId }),
  new DeleteConnectionCommand({ ConnectionId }),
]) {
  const outcome = await gateway.send(command).then(
    () => "ok",
    (err) => `${err.name} ${err.$metadata?.httpStatusCode}`,
  );
  console.log(`${command.constructor.name}: ${outcome}`);
}
