// Calls a REST API of the application by its name on AWS, at livegate's port.
import { request } from "node:http";

/**
 * @param {{port: number}} gate
 * @param {string} url as on AWS: https://{id}.execute-api.{region}.amazonaws.com/{stage}/…
 * @param {{method?: string, headers?: object, body?: string}} options
 * @returns {Promise<{status: number, body: string}>}
 */
export function rest(gate, url, { method = "GET", headers = {}, body } = {}) {
  const { host, pathname, search } = new URL(url);
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port: gate.port, method, path: pathname + search, headers: { ...headers, host } }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, body: text }));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}
