#!/usr/bin/env node
// Runs public applications, unedited, under `livegate dev` and says which pass.
// See README.md.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { d1 } from "./apps/d1.mjs";
import { d2 } from "./apps/d2.mjs";
import { d5 } from "./apps/d5.mjs";
import { d9 } from "./apps/d9.mjs";
import { Livegate } from "./lib/livegate.mjs";
import { difference, listing } from "./lib/tree.mjs";

const apps = [d1, d2, d5, d9];
const buildTimeout = 10 * 60_000; // the first start may install SDKs and layers
const startTimeout = 30_000;

const usage = `usage: node run.mjs --livegate PATH --apps DIR [options]

  --livegate PATH  the livegate binary
  --apps DIR       directory of checkouts, each named like its repository
  --article FILE   text of the freeCodeCamp article, for D1
  --only D5[,D9]   run these only
  --all            an absent application counts as a failure
  --isolate        run the scenarios in a network namespace that has only loopback (Linux)
  --work DIR       keep data directories and logs here (default: a temporary directory)
`;

async function main() {
  const options = read();
  options.work ??= await mkdtemp(join(tmpdir(), "livegate-compat-"));
  const chosen = apps.filter((app) => !options.only || options.only.includes(app.id));
  if (!options.prepared) await prepareAll(chosen, options);
  if (options.isolate) return again(options);

  const results = [];
  for (const app of chosen) {
    const result = await runApp(app, options);
    results.push(result);
    report(result);
  }
  return summary(results, options);
}

function read() {
  const types = { livegate: "string", apps: "string", article: "string", only: "string", work: "string",
    all: "boolean", isolate: "boolean", prepared: "boolean" };
  let values;
  try {
    ({ values } = parseArgs({ options: Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { type }])) }));
  } catch (err) {
    return fail(err.message);
  }
  for (const name of ["livegate", "apps"]) {
    if (!values[name]) fail(`--${name} is missing`);
  }
  for (const name of ["livegate", "apps", "article", "work"]) {
    if (values[name]) values[name] = resolve(values[name]);
  }
  if (!existsSync(values.livegate)) fail(`there is no binary ${values.livegate}`);
  if (values.only) {
    values.only = values.only.toUpperCase().split(",");
    const unknown = values.only.filter((id) => !apps.some((app) => app.id === id));
    if (unknown.length) fail(`--only knows ${apps.map((app) => app.id).join(", ")}, not ${unknown.join(", ")}`);
  }
  return values;
}

function fail(message) {
  process.stderr.write(`${message}\n\n${usage}`);
  process.exit(2);
}

// The places of one application. Nothing of ours is written beside the checkout.
function places(app, options) {
  const work = join(options.work, app.id);
  return { work, dataDir: join(work, "data"), before: join(work, "before.json"), failed: join(work, "prepare-failed.txt") };
}

// Everything that may use the network happens here, once: the scenarios run --offline.
async function prepareAll(chosen, options) {
  for (const app of chosen) {
    const { work, dataDir, before, failed } = places(app, options);
    await mkdir(work, { recursive: true });
    await rm(failed, { force: true });
    const { dir, absent } = await app.locate({ ...options, work });
    if (absent) continue;
    await writeFile(before, JSON.stringify(await listing(dir)));
    process.stdout.write(`${app.id}  building …\n`);
    try {
      const gate = await Livegate.start({ bin: options.livegate, dir, dataDir, args: app.args, timeout: buildTimeout });
      await gate.stop();
    } catch (err) {
      await writeFile(failed, err.message);
    }
  }
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
  return code;
}

async function runApp(app, options) {
  const { work, dataDir, before, failed } = places(app, options);
  const result = { app, steps: [] };
  const { dir, absent } = await app.locate({ ...options, work });
  if (absent) return { ...result, absent };

  const step = async (name, check) => {
    result.step = name;
    await check();
    result.steps.push(name);
    process.stdout.write(`${app.id}    ok  ${name}\n`);
  };
  const gates = [];
  const start = async (how = {}) => {
    const { args = [], ...rest } = how;
    const gate = await Livegate.start({ bin: options.livegate, dir, dataDir, timeout: startTimeout, ...rest,
      args: [...(app.args ?? []), "--offline", ...args] });
    gates.push(gate);
    return gate;
  };
  try {
    result.step = "build";
    if (existsSync(failed)) throw new Error(await readFile(failed, "utf8"));
    for (const round of [1, 2]) {
      process.stdout.write(`${app.id}  round ${round} of 2, same data directory\n`);
      result.step = `start, round ${round}`;
      const gate = await start();
      await app.scenario({ gate, step, round });
      result.step = `Ctrl-C, round ${round}`;
      await gate.stop();
    }
    await app.extra?.({ start, step, work, article: options.article });
    result.step = "the tree is as it was";
    const changed = difference(JSON.parse(await readFile(before, "utf8")), await listing(dir));
    if (changed.length) throw new Error(`livegate changed the application:\n${changed.join("\n")}`);
    result.passed = true;
  } catch (err) {
    result.error = err;
    result.output = gates.at(-1)?.tail();
  } finally {
    await Promise.all(gates.map((gate) => gate.kill()));
    await Promise.all(gates.map((gate, i) => writeFile(join(work, `livegate-${i + 1}.log`), gate.output)));
  }
  return result;
}

function report(result) {
  if (!result.error) return;
  const indent = (text) => text.trimEnd().replace(/^/gm, "      ");
  process.stdout.write(`${result.app.id}  FAILED at: ${result.step}\n${indent(result.error.message)}\n`);
  if (result.output) process.stdout.write(`    livegate's last lines:\n${indent(result.output)}\n`);
}

async function summary(results, options) {
  const lines = results.map(({ app, absent, passed, step }) => {
    const verdict = absent ? `ABSENT  ${absent}` : passed ? "pass" : `FAIL    at: ${step}`;
    return `${app.id.padEnd(4)}${app.title.padEnd(42)}${verdict}`;
  });
  const ran = results.filter((r) => !r.absent);
  const absent = results.filter((r) => r.absent);
  const notes = ran.flatMap((r) => (r.app.notes ?? []).map((note) => `${r.app.id}: ${note}`));
  process.stdout.write(`\n${lines.join("\n")}\n${notes.length ? `\n${notes.join("\n")}\n` : ""}`);
  for (const { app } of absent) process.stdout.write(`${app.id} was not run; get it from ${app.source}\n`);
  const passed = ran.filter((r) => r.passed).length;
  process.stdout.write(`${passed} of ${ran.length} passed, ${absent.length} absent\n`);
  const good = ran.length > 0 && passed === ran.length && !(options.all && absent.length);
  if (good && options.work.startsWith(join(tmpdir(), "livegate-compat-"))) await rm(options.work, { recursive: true });
  else process.stdout.write(`data directories and logs: ${options.work}\n`);
  return good ? 0 : 1;
}

// The SDK's advice about the Node version would stand between the steps.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
process.exit(await main());
