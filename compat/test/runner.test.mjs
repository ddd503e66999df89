// What decides the verdict: steps, what they wait for, the tree, the commit.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkout } from "../lib/checkout.mjs";
import { missing, queueEvents, restApi, rules, sqs } from "../lib/needs.mjs";
import { exitCode, summary, verdict } from "../lib/report.mjs";
import { Failed, Steps } from "../lib/steps.mjs";
import { difference, listing, unexcused } from "../lib/tree.mjs";

const pass = async () => {};
const throwing = async () => {
  throw new Error("no");
};

test("a step that waits is not run and not passed", async () => {
  const said = [];
  const steps = new Steps((mark, text) => said.push([mark, text]));
  assert.equal(await steps.run("one", { waits: ["SQS", "EventBridge"] }, () => assert.fail("it ran")), false);
  assert.deepEqual([steps.passed, steps.waiting, steps.failed], [0, 1, 0]);
  assert.deepEqual(steps.waitsFor, ["SQS", "EventBridge"]);
  assert.deepEqual(said, [["wait", "one: waits for SQS, EventBridge"]]);
});

test("a failed step ends the scenario, unless it is alone", async () => {
  const steps = new Steps();
  assert.equal(await steps.run("alone", { alone: true }, throwing), false);
  await assert.rejects(steps.run("not alone", {}, throwing), (err) => err instanceof Failed && err.step === "not alone");
  assert.deepEqual(steps.failures, ["alone", "not alone"]);
});

test("a step of two rounds counts once, by its worse end", async () => {
  const steps = new Steps();
  await steps.run("a", {}, pass);
  await steps.run("a", { alone: true }, throwing);
  await steps.run("a", {}, pass);
  await steps.run("b", { waits: ["SQS"] }, pass);
  await steps.run("b", {}, pass);
  assert.deepEqual([steps.passed, steps.waiting, steps.failed], [0, 1, 1]);
});

async function outcome(id, ends, more = {}) {
  const steps = new Steps();
  for (const [name, waits, check] of ends) await steps.run(name, { waits, alone: true }, check);
  return { app: { id, title: id, source: { repository: "o/r", commit: "abc", branch: "b" } }, steps, standIns: [], ...more };
}

test("only an application without waiting and failed steps passes", async () => {
  const good = await outcome("good", [["1", [], pass]]);
  const waits = await outcome("waits", [["1", [], pass], ["2", ["SQS"], pass]], { standIns: ["Secrets Manager"] });
  const bad = await outcome("bad", [["1", [], throwing], ["2", ["SQS"], pass]]);
  const away = await outcome("away", [], { absent: "it is not here" });
  assert.deepEqual([good, waits, bad, away].map(verdict), ["pass", "waits", "fail", "absent"]);
  assert.equal(exitCode([good, waits, away]), 0);
  assert.equal(exitCode([good, waits, away], { all: true }), 1);
  assert.equal(exitCode([good], { all: true }), 0);
  assert.equal(exitCode([good, bad]), 1);
  assert.equal(exitCode([away]), 1, "nothing ran");
  const text = summary([good, waits, bad, away]);
  assert.match(text, /waits +waits +waits +1 passed, 1 waiting, 0 failed · waits for SQS · with a stand-in for Secrets Manager/);
  assert.match(text, /bad +bad +FAIL +0 passed, 1 waiting, 1 failed · failed: 1 · waits for SQS/);
  assert.match(text, /away was not run; get it from https:\/\/github.com\/o\/r \(branch b, commit abc\)/);
  assert.match(text, /4 applications: 1 passed, 1 waiting, 1 failed, 1 absent\nsteps: 2 passed, 2 waiting, 1 failed$/);
});

test("what is missing is seen in the answers of services and in the findings", () => {
  const status = { findings: [
    { code: "event-source-not-supported", message: "SQS events are not supported yet: M." },
    { code: "unsupported-resource", message: "AWS::ApiGateway::RestApi is not supported yet: Api (line 3)." },
  ] };
  const livegate = { status, services: { SQS: false } };
  assert.deepEqual(missing([sqs, queueEvents, rules, restApi, sqs], livegate), ["SQS", "SQS event sources", "REST APIs"]);
  assert.deepEqual(missing([sqs, queueEvents, restApi], { status: { findings: [] }, services: { SQS: true } }), []);
});

async function scratch(t) {
  const dir = await mkdtemp(join(tmpdir(), "compat-test-"));
  t.after(() => rm(dir, { recursive: true }));
  return dir;
}

test("products are left out of the tree only where the application ignores them", async (t) => {
  const dir = await scratch(t);
  await mkdir(join(dir, "part", "out"), { recursive: true });
  await mkdir(join(dir, "src"));
  await writeFile(join(dir, ".gitignore"), "# ours\n.cache\n/out/\n");
  const before = await listing(dir, ["part/out"]);
  await writeFile(join(dir, "part", "out", "x"), "x");
  assert.deepEqual(difference(before, await listing(dir, ["part/out"])), []);
  assert.deepEqual(difference(before, await listing(dir)), ["+ part/out", "+ part/out/x"]);
  assert.deepEqual(await unexcused(dir, ["part/out", "src", ".cache"]), ["src"]);
});

test("a clone gives its commit, whatever is checked out; a plain directory itself", async (t) => {
  const dir = await scratch(t);
  const [apps, work] = [join(dir, "apps"), join(dir, "work")];
  const repository = join(apps, "app");
  await mkdir(join(repository, "sub"), { recursive: true });
  await mkdir(work);
  const git = (...args) => execFileSync("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args], { encoding: "utf8" }).trim();
  git("init", "--quiet");
  await writeFile(join(repository, "sub", "file"), "old");
  await writeFile(join(repository, "other"), "other");
  git("add", ".");
  git("commit", "--quiet", "-m", "one");
  const commit = git("rev-parse", "HEAD");
  await writeFile(join(repository, "sub", "file"), "new");

  const source = { repository: "owner/app", commit, paths: ["sub"] };
  const { dir: tree, note } = await checkout({ apps, work, source });
  assert.equal(await readFile(join(tree, "sub", "file"), "utf8"), "old");
  assert.equal(note, undefined);
  assert.deepEqual((await listing(tree)).map((line) => line.split(" ")[0]), ["sub", "sub/file"]);
  assert.match((await checkout({ apps, work, source: { ...source, commit: "0123456789" } })).absent, /has no commit 0123456789/);
  assert.match((await checkout({ apps, work, source: { ...source, repository: "owner/another" } })).absent, /another is missing/);

  const plain = await checkout({ apps: repository, work, source: { repository: "owner/sub", commit } });
  assert.equal(plain.dir, join(repository, "sub"));
  assert.match(plain.note, /no history/);
  assert.match((await checkout({ apps: repository, work, source: { repository: "owner/sub", commit, branch: "b" } })).absent, /no clone/);
});
