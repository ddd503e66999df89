#!/usr/bin/env node
// Runs public applications, unedited, under `livegate dev` and says which pass, which wait
// for something that livegate does not have yet, and which fail. See README.md.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { d1 } from "./apps/d1.mjs";
import { d10 } from "./apps/d10.mjs";
import { d11 } from "./apps/d11.mjs";
import { d2 } from "./apps/d2.mjs";
import { d5 } from "./apps/d5.mjs";
import { d6 } from "./apps/d6.mjs";
import { d7 } from "./apps/d7.mjs";
import { d8 } from "./apps/d8.mjs";
import { d9 } from "./apps/d9.mjs";
import { exitCode, obtain, summary, verdict } from "./lib/report.mjs";
import { play, prepare } from "./lib/runner.mjs";

const apps = [d1, ...d2, d5, d6, d7, ...d8, d9, d10, d11];

const usage = `usage: node run.mjs --livegate PATH --apps DIR [options]
       node run.mjs --list

  --livegate PATH  the livegate binary
  --apps DIR       directory of clones, each named like its repository
  --article FILE   text of the freeCodeCamp article, for D1
  --only D5[,D2]   run these only; D2 means all of D2-…
  --all            an application that is absent or waits counts as a failure
  --isolate        run the scenarios in a network namespace that has only loopback (Linux)
  --work DIR       keep data directories and logs here (default: a temporary directory)
  --list           say what there is to run and where it comes from
`;

async function main() {
  const options = read();
  if (options.list) {
    process.stdout.write(apps.map((app) => `${app.id}  ${app.title}\n    ${obtain(app)}\n`).join(""));
    return 0;
  }
  options.work ??= await mkdtemp(join(tmpdir(), "livegate-compat-"));
  const chosen = apps.filter((app) => !options.only || options.only.some((id) => covers(id, app)));
  if (!options.prepared) {
    for (const app of chosen) await prepare(app, options, say);
  }
  if (options.isolate) return again(options);

  const results = [];
  for (const app of chosen) {
    const result = await play(app, options, say);
    results.push(result);
    if (result.output) process.stdout.write(`    livegate's last lines:\n${indent(result.output)}\n`);
  }
  process.stdout.write(`\n${summary(results)}\n`);
  const good = results.every((result) => verdict(result) === "pass");
  if (good && options.work.startsWith(join(tmpdir(), "livegate-compat-"))) await rm(options.work, { recursive: true });
  else process.stdout.write(`data directories and logs: ${options.work}\n`);
  return exitCode(results, options);
}

// D2 covers D2-main; upper and lower case are the same.
const covers = (id, app) => `${app.id.toUpperCase()}-`.startsWith(`${id}-`);

const indent = (text) => text.trimEnd().replace(/^/gm, "      ");

const marks = { build: "building …", round: "round", ok: "  ok  ", wait: "  wait", FAIL: "  FAIL" };

function say(app, mark, text) {
  const [first, ...rest] = text.split("\n");
  process.stdout.write(`${app.id}  ${marks[mark]}  ${first}\n${rest.length ? `${indent(rest.join("\n"))}\n` : ""}`);
}

function read() {
  const types = { livegate: "string", apps: "string", article: "string", only: "string", work: "string",
    all: "boolean", isolate: "boolean", prepared: "boolean", list: "boolean" };
  let values;
  try {
    ({ values } = parseArgs({ options: Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { type }])) }));
  } catch (err) {
    return fail(err.message);
  }
  if (values.list) return values;
  for (const name of ["livegate", "apps"]) {
    if (!values[name]) fail(`--${name} is missing`);
  }
  for (const name of ["livegate", "apps", "article", "work"]) {
    if (values[name]) values[name] = resolve(values[name]);
  }
  if (!existsSync(values.livegate)) fail(`there is no binary ${values.livegate}`);
  if (values.only) {
    values.only = values.only.toUpperCase().split(",");
    const unknown = values.only.filter((id) => !apps.some((app) => covers(id, app)));
    if (unknown.length) fail(`--only knows ${apps.map((app) => app.id).join(", ")}, not ${unknown.join(", ")}`);
  }
  return values;
}

function fail(message) {
  process.stderr.write(`${message}\n\n${usage}`);
  process.exit(2);
}

// The scenarios again, in a network namespace without any route.
async function again(options) {
  const args = [fileURLToPath(import.meta.url), "--prepared", "--livegate", options.livegate, "--apps", options.apps, "--work", options.work];
  if (options.article) args.push("--article", options.article);
  if (options.only) args.push("--only", options.only.join(","));
  if (options.all) args.push("--all");
  const shell = 'ip link set lo up && exec "$0" "$@"';
  const child = spawn("unshare", ["--map-root-user", "--net", "sh", "-c", shell, process.execPath, ...args], { stdio: "inherit" });
  const [code] = await once(child, "exit");
  return code ?? 1;
}

// The SDK's advice about the Node version would stand between the steps.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
process.exit(await main());
