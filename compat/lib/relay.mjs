// An HTTP relay that answers late: the 300 ms between a function and DynamoDB that
// scenario D1 asks for. Named with --map-host it stands in for one service and hands
// every request back to livegate's AWS endpoint, so the application stays as it is.
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";

/**
 * Listens on loopback and passes requests on to http://127.0.0.1:port, each delay
 * milliseconds late. The Host changes on the way, because under the service's own name the
 * request would be mapped to the relay again. That breaks the function's signature, so
 * the request goes on under an access key of the relay's own, which nobody can verify.
 * @returns {Promise<{address: string, requests: () => number, close: () => Promise<void>}>}
 */
export async function delayingRelay(port, delay) {
  let count = 0;
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, answer) => {
    count++;
    const authorization = incoming.headers.authorization?.replace(/Credential=[^/]+/, "Credential=AKIARELAYRELAYRELAYR");
    const headers = { ...incoming.headers, authorization: authorization ?? "", host: `127.0.0.1:${port}` };
    delete headers["x-amz-security-token"];
    setTimeout(() => {
      const outgoing = request({ host: "127.0.0.1", port, agent, method: incoming.method, path: incoming.url, headers }, (reply) => {
        answer.writeHead(reply.statusCode, reply.rawHeaders);
        reply.pipe(answer);
      });
      outgoing.on("error", (err) => answer.destroy(err));
      incoming.pipe(outgoing);
    }, delay);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${server.address().port}`,
    requests: () => count,
    close: async () => {
      agent.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
