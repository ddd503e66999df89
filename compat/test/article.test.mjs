// The extraction, on articles of our own that have the real one's shape.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { codeBlocks, parts, writeApp } from "../lib/article.mjs";

const blocks = [
  "exports.handler = (e, c, done) => {    addConnectionId(e.id).then(() => done(null, {        statusCode: 200    }))}",
  "function addConnectionId(id) {    return ddb.put({ Item: { id } }).promise();}",
  "const AWS = require('aws-sdk');const ddb = new AWS.DynamoDB.DocumentClient();",
  "exports.handler = (e, c, done) => {    deleteConnectionId(e.id)}",
  "function deleteConnectionId(id) {    return id}",
  "const AWS = require('aws-sdk');const ddb = new AWS.DynamoDB.DocumentClient();require('./patch.js');",
  "let send;function init(e) {  console.log(e)    const url = e.domainName;    send = () => api.postToConnection({ url })}",
  "exports.handler = (e) => {    init(e);    getConnections().then(send);    return {}}",
  "function getConnections() {    return ddb.scan({})}",
  "require('aws-sdk/lib/node_loader');",
  "AWS.X = Service.defineService('x', ['1']);",
  "module.exports = AWS.X;",
];
const markdown = blocks.map((b) => `Some words.\n\n\`\`\`\n${b}\n\`\`\`\n`).join("\n");

test("lost line ends are put back where runs of spaces stand for them", () => {
  const [block] = codeBlocks("```\nconsole.log(e)    const url = 1\n```\n");
  assert.equal(block, "console.log(e)\nconst url = 1");
});

test("a block that has its line ends keeps its spaces", () => {
  const [block] = codeBlocks('```js\nconst a = "x    y";\nconst b = 1;\n```\n');
  assert.equal(block, 'const a = "x    y";\nconst b = 1;');
});

test("HTML code blocks lose their tags and entities", () => {
  const [block] = codeBlocks('<p>x</p><pre class="k"><code>f(<b>a</b>) =&gt; &quot;&#39;&amp;lt;&quot;</code></pre>');
  assert.equal(block, "f(a) => \"'&lt;\"");
});

test("the parts are what the article prints", () => {
  const code = parts(markdown);
  assert.doesNotMatch(code.connect, /require/);
  assert.match(code.disconnect, /^const AWS.*\n\nexports\.handler/);
  assert.match(code.onMessage, /patch\.js[^]*postToConnection[^]*getConnections[^]*scan/);
  assert.match(code.patch, /node_loader[^]*defineService[^]*module\.exports/);
  assert.equal(code.sdk, "const AWS = require('aws-sdk');const ddb = new AWS.DynamoDB.DocumentClient();");
});

test("another article is refused by what it lacks", () => {
  assert.throws(() => parts("```\nconsole.log(1)\n```\n"), /no code block with the connect handler/);
});

test("the written application is JavaScript, mended or as printed", async () => {
  const dir = await mkdtemp(join(tmpdir(), "article-"));
  try {
    await writeFile(join(dir, "article.md"), markdown);
    await writeApp(join(dir, "article.md"), join(dir, "mended"));
    await writeApp(join(dir, "article.md"), join(dir, "printed"), { mended: false });
    for (const name of ["connect/index.js", "disconnect/index.js", "onmessage/index.js", "onmessage/patch.js"]) {
      execFileSync(process.execPath, ["--check", join(dir, "mended", name)]);
    }
    assert.match(await readFile(join(dir, "mended/connect/index.js"), "utf8"), /^const AWS/);
    assert.doesNotMatch(await readFile(join(dir, "printed/connect/index.js"), "utf8"), /const AWS/);
  } finally {
    await rm(dir, { recursive: true });
  }
});
