// The verdicts, in words. An application passes when every step did; one with steps that
// wait says for what, and is not counted among those that passed.

/** @returns {"absent" | "fail" | "waits" | "pass"} */
export function verdict({ absent, steps }) {
  if (absent) return "absent";
  if (steps.failed) return "fail";
  return steps.waiting ? "waits" : "pass";
}

const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

/** One line per application, then the sums. */
export function summary(results) {
  const width = Math.max(...results.map(({ app }) => app.id.length)) + 2;
  const titles = Math.max(...results.map(({ app }) => app.title.length)) + 2;
  const lines = results.map((result) => {
    const { app, absent, steps, standIns } = result;
    const of = { pass: "pass", waits: "waits", fail: "FAIL", absent: "ABSENT" }[verdict(result)];
    const parts = absent ? [absent] : [`${steps.passed} passed, ${steps.waiting} waiting, ${steps.failed} failed`];
    if (steps.failed) parts.push(`failed: ${steps.failures.join("; ")}`);
    if (steps.waiting) parts.push(`waits for ${steps.waitsFor.join(", ")}`);
    if (standIns.length) parts.push(`with a stand-in for ${standIns.join(", ")}`);
    return `${app.id.padEnd(width)}${app.title.padEnd(titles)}${of.padEnd(7)}${parts.join(" · ")}`;
  });
  const notes = results.filter((r) => r.note).map((r) => `${r.app.id}: ${r.note}`);
  const away = results.filter((r) => r.absent).map(({ app }) => `${app.id} was not run; get it from ${obtain(app)}`);
  const apps = (of) => results.filter((result) => verdict(result) === of).length;
  const sum = (of) => results.reduce((n, { steps }) => n + steps[of], 0);
  const sums = [
    `${plural(results.length, "application")}: ${apps("pass")} passed, ${apps("waits")} waiting, ${apps("fail")} failed, ${apps("absent")} absent`,
    `steps: ${sum("passed")} passed, ${sum("waiting")} waiting, ${sum("failed")} failed`,
  ];
  return [...lines, "", ...notes, ...away, ...sums].join("\n");
}

/** Where an application comes from, as one can follow it. */
export function obtain({ source, obtain: other }) {
  if (!source) return other;
  const { repository, commit, branch } = source;
  return `https://github.com/${repository} (${branch ? `branch ${branch}, ` : ""}commit ${commit})`;
}

/** The exit code: 0 when nothing failed; with all, also nothing was absent or waiting. */
export function exitCode(results, { all = false } = {}) {
  const bad = all ? ["fail", "absent", "waits"] : ["fail"];
  const ran = results.some((result) => verdict(result) !== "absent");
  return ran && !results.some((result) => bad.includes(verdict(result))) ? 0 : 1;
}
