// Takes the chat of the freeCodeCamp article (scenario D1) out of the article's own text.
// The article is somebody else's work: it is read at run time and never stored here.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * The code blocks of an article in Markdown (``` fences) or HTML (<pre>), in order.
 * Where a copy of the article has lost its line ends, runs of spaces stand for them:
 * "console.log(event)    const x" is no JavaScript before they are put back.
 */
export function codeBlocks(text) {
  const found = /```/.test(text)
    ? [...text.matchAll(/^```[^\n]*\n(.*?)^```/gms)].map((m) => m[1])
    : [...text.matchAll(/<pre[^>]*>(.*?)<\/pre>/gis)].map((m) => unescapeHtml(m[1].replace(/<[^>]+>/g, "")));
  return found.map((block) => block.trim()).map((block) => (block.includes("\n") ? block : block.replace(/ {2,}/g, "\n")));
}

function unescapeHtml(text) {
  const names = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&", nbsp: " " };
  return text.replace(/&(#x?[0-9a-f]+|\w+);/gi, (whole, name) => {
    if (name.startsWith("#")) {
      return String.fromCodePoint(name[1] === "x" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10));
    }
    return names[name] ?? whole;
  });
}

/**
 * The article's four files as it prints them.
 * @returns {{connect: string, disconnect: string, onMessage: string, patch: string, sdk: string}}
 *   sdk: the two lines that define the SDK and the table client
 */
export function parts(text) {
  const blocks = codeBlocks(text);
  const index = (what, test) => {
    const i = blocks.findIndex(test);
    if (i < 0) throw new Error(`the article has no code block with ${what}: is it the right article?`);
    return i;
  };
  // One block may hold several parts, depending on who rendered the article.
  const together = (...numbers) => [...new Set(numbers)].map((i) => blocks[i]).join("\n\n");

  const connect = index("the connect handler", (b) => /exports\.handler/.test(b) && /addConnectionId\(/.test(b));
  const add = index("function addConnectionId", (b) => /function addConnectionId/.test(b));
  const disconnect = index("the disconnect handler", (b) => /exports\.handler/.test(b) && /deleteConnectionId\(/.test(b));
  const remove = index("function deleteConnectionId", (b) => /function deleteConnectionId/.test(b));
  const sdk = index("the SDK and the table client", (b) => /require\(['"]aws-sdk['"]\)/.test(b) && /DocumentClient/.test(b));
  const head = index("require('./patch.js')", (b) => /require\(['"]\.\/patch/.test(b));
  const send = index("the send function", (b) => /postToConnection/.test(b) && /domainName/.test(b));
  const message = index("the message handler", (b) => /exports\.handler/.test(b) && /getConnections\(/.test(b));
  const scan = index("function getConnections", (b) => /function getConnections/.test(b));
  const loader = index("aws-sdk/lib/node_loader", (b) => /aws-sdk\/lib\/node_loader/.test(b));
  const service = index("the patched service", (b) => /defineService/.test(b));
  const exported = index("the patch's export", (b) => /module\.exports/.test(b));
  return {
    connect: together(connect, add),
    disconnect: together(sdk, disconnect, remove),
    onMessage: together(head, send, message, scan),
    patch: together(loader, service, exported),
    sdk: blocks[sdk].match(/.*require\(['"]aws-sdk['"]\).*?DocumentClient\(\);?/s)[0],
  };
}

/**
 * Writes the application into dir with the two known defects of the article mended: the
 * connect function gets the two lines that the disconnect function has, and the route is
 * called onMessage, as the client's action is. mended: false leaves the connect function
 * as printed.
 */
export async function writeApp(articleFile, dir, { mended = true } = {}) {
  const code = parts(await readFile(articleFile, "utf8"));
  const files = {
    "template.yaml": template,
    "connect/index.js": mended ? `${code.sdk}\n\n${code.connect}` : code.connect,
    "disconnect/index.js": code.disconnect,
    "onmessage/index.js": code.onMessage,
    "onmessage/patch.js": code.patch,
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(dir, name, ".."), { recursive: true });
    await writeFile(join(dir, name), text + "\n");
  }
}

// What the article does by hand in the AWS console.
const template = `AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: nodejs16.x
    Handler: index.handler
    Timeout: 10
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: Chat
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: connectionid, AttributeType: S}]
      KeySchema: [{AttributeName: connectionid, KeyType: HASH}]
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: Chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Api, StageName: Test, AutoDeploy: true}
${route("Connect", "ChatRoomConnectFunction", "$connect", "connect/")}
${route("Disconnect", "ChatRoomDisconnectFunction", "$disconnect", "disconnect/")}
${route("OnMessage", "ChatRoomOnMessageFunction", "onMessage", "onmessage/")}`;

function route(name, functionName, key, code) {
  return `  ${functionName}:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: ${functionName}, CodeUri: ${code}}
  ${name}Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub arn:aws:apigateway:\${AWS::Region}:lambda:path/2015-03-31/functions/\${${functionName}.Arn}/invocations
  ${name}Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: ${key}, Target: !Sub "integrations/\${${name}Integration}"}`;
}
