// Runs one application: gets its tree, lets livegate build it once with the network, then
// plays its scenario twice from the same data directory without it.
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkout } from "./checkout.mjs";
import { Livegate } from "./livegate.mjs";
import { missing, services } from "./needs.mjs";
import { Failed, Steps } from "./steps.mjs";
import { difference, listing, unexcused } from "./tree.mjs";

const buildTimeout = 15 * 60_000; // the first start may install SDKs, layers and packagers
const startTimeout = 60_000;

/**
 * @typedef {object} App an application and its scenario
 * @property {string} id
 * @property {string} title
 * @property {import("./checkout.mjs").Source} [source] where its tree is; or else locate
 * @property {(options: object) => Promise<{dir?: string, absent?: string, note?: string}>} [locate]
 * @property {string} [obtain] where to get it, when that is not source's repository
 * @property {string} [at] the path that livegate is started with, below the tree
 * @property {string[]} [args] further arguments of `livegate dev`
 * @property {string[]} [products] directories that the application's tools write, all of
 *   them ignored by its own .gitignore
 * @property {(dir: string) => Promise<void>} [setup] what its README says to do once
 * @property {(services: Record<string, boolean>) => Promise<object[]>} [standIns] servers
 *   in place of services that livegate does not have, see standin.mjs
 * @property {(play: object) => Promise<void>} scenario one round: {gate, step, round, standIns, dir}
 * @property {(play: object) => Promise<void>} [extra] steps with starts of their own: {start, step, ...}
 */

const places = (app, options) => {
  const work = join(options.work, app.id);
  return { work, dataDir: join(work, "data"), before: join(work, "before.json"), services: join(work, "services.json"), failed: join(work, "build-failed.txt") };
};

const locate = async (app, options, work) =>
  app.locate ? app.locate({ ...options, work }) : checkout({ apps: options.apps, work, source: app.source });

/** Everything that may use the network happens here, once: scenarios run --offline. */
export async function prepare(app, options, say) {
  const { work, dataDir, before, failed, services: asked } = places(app, options);
  await mkdir(work, { recursive: true });
  await rm(failed, { force: true });
  const { dir, absent } = await locate(app, options, work);
  if (absent) return;
  say(app, "build", "");
  try {
    const hidden = await unexcused(dir, app.products ?? []);
    if (hidden.length) throw new Error(`the application's .gitignore does not name ${hidden}`);
    await app.setup?.(dir);
    await writeFile(before, JSON.stringify(await listing(dir, app.products)));
    const gate = await Livegate.start({ bin: options.livegate, dir: join(dir, app.at ?? ""), dataDir, args: app.args, timeout: buildTimeout });
    try {
      await writeFile(asked, JSON.stringify(await services(gate.status)));
    } finally {
      await writeFile(join(work, "livegate-build.log"), gate.output);
      await gate.stop();
    }
  } catch (err) {
    await writeFile(failed, err.message);
  }
}

async function flags(servers, file) {
  const lines = servers.map((s) => s.env).join("");
  await writeFile(file, lines);
  return [...servers.flatMap((s) => ["--map-host", s.map]), ...(lines ? ["--env-file", file] : [])];
}

/**
 * Plays an application.
 * @returns {Promise<{app: App, absent?: string, note?: string, steps: Steps, standIns: string[], output?: string}>}
 *   output: livegate's last lines, when a step failed
 */
export async function play(app, options, say) {
  const { work, dataDir, before, failed, services: asked } = places(app, options);
  const steps = new Steps((mark, text) => say(app, mark, text));
  const result = { app, steps, standIns: [] };
  const { dir, absent, note } = await locate(app, options, work);
  if (absent) return { ...result, absent };
  result.note = note;

  const gates = [];
  let servers = [];
  let away = []; // flags that lead functions to the stand-ins
  const begin = async (how = {}) => {
    const { args = [], ...rest } = how;
    const gate = await Livegate.start({ bin: options.livegate, dir: join(dir, app.at ?? ""), dataDir, timeout: startTimeout, ...rest,
      args: [...(app.args ?? []), "--offline", ...away, ...args] });
    gates.push(gate);
    return gate;
  };
  try {
    await steps.run("built, with the network", {}, async () => {
      if (existsSync(failed)) throw new Error(await readFile(failed, "utf8"));
    });
    const has = JSON.parse(await readFile(asked, "utf8"));
    servers = (await app.standIns?.(has)) ?? [];
    result.standIns = servers.map((s) => s.name);
    away = await flags(servers, join(work, "stand-ins.env"));
    const stepOf = (gate) => (name, ...rest) => {
      const check = rest.pop();
      const { needs = [], alone } = rest.pop() ?? {};
      return steps.run(name, { waits: missing(needs, { status: gate().status, services: has }), alone }, check);
    };
    for (const round of [1, 2]) {
      say(app, "round", `${round} of 2, same data directory`);
      let gate;
      await steps.run("starts offline, twice from one data directory", {}, async () => (gate = await begin()));
      await app.scenario({ gate, step: stepOf(() => gate), round, standIns: servers, services: has, dir });
      await steps.run("Ctrl-C ends it with code 0", {}, () => gate.stop());
    }
    const last = () => gates.at(-1);
    await app.extra?.({ start: begin, step: stepOf(last), work, article: options.article, standIns: servers, services: has, dir });
    await steps.run("no file of the application is changed", {}, async () => {
      const changed = difference(JSON.parse(await readFile(before, "utf8")), await listing(dir, app.products));
      if (changed.length) throw new Error(`these are not as they were:\n${changed.join("\n")}`);
    });
  } catch (err) {
    if (!(err instanceof Failed)) await steps.run("the scenario itself", { alone: true }, async () => Promise.reject(err));
  } finally {
    if (steps.failed) result.output = gates.at(-1)?.tail();
    await Promise.all(gates.map((gate) => gate.kill()));
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all(gates.map((gate, i) => writeFile(join(work, `livegate-${i + 1}.log`), gate.output)));
  }
  return result;
}
