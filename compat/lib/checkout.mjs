// Takes an application out of a clone of its repository: always the same commit, into a
// directory of its own. The clone is only read.
import { execFile } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * @typedef {object} Source where an application comes from
 * @property {string} repository "owner/name" on GitHub
 * @property {string} commit at least ten digits of its hash
 * @property {string[]} [paths] what is taken of it; everything without
 * @property {string} [branch] the branch that the commit ends; only a clone has it
 */

/**
 * The application's tree, or why it is absent. A clone (or a bare repository, with or
 * without .git at its end) named like the repository gives exactly the commit; a plain
 * directory of that name is used as it stands, and the note says so.
 * @param {{apps: string, work: string, source: Source}} from
 * @returns {Promise<{dir?: string, note?: string, absent?: string}>}
 */
export async function checkout({ apps, work, source }) {
  const { repository, commit, branch, paths = [] } = source;
  const name = basename(repository);
  const found = [name, `${name}.git`].map((n) => join(apps, n)).find((path) => existsSync(path));
  if (!found) return { absent: `${join(apps, name)} is missing` };
  if (!(await isRepository(found))) {
    if (branch) return { absent: `${found} is no clone, and the branch ${branch} is meant` };
    const lacking = paths.find((path) => !existsSync(join(found, path)));
    if (lacking) return { absent: `${join(found, lacking)} is missing` };
    return { dir: found, note: `${found} has no history: whether it is ${commit} is not known` };
  }
  const dir = join(work, "app");
  const mark = join(work, "app.commit");
  const wanted = [commit, ...paths].join(" ");
  if ((await readFile(mark, "utf8").catch(() => "")) === wanted) return { dir };
  const git = (...args) => run("git", ["-C", found, ...args]);
  try {
    await git("cat-file", "-e", `${commit}^{commit}`);
  } catch {
    return { absent: `${found} has no commit ${commit}: fetch all branches of ${repository}` };
  }
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await run("sh", ["-c", 'set -e; git -C "$1" archive --output "$2.tar" "$3" -- $4; tar xf "$2.tar" -C "$2"; rm "$2.tar"', "sh", found, dir, commit, paths.join(" ")]);
  await writeFile(mark, wanted);
  return { dir };
}

// A directory below somebody's repository is not a repository itself.
async function isRepository(path) {
  try {
    const { stdout } = await run("git", ["-C", path, "rev-parse", "--absolute-git-dir"]);
    const git = realpathSync(stdout.trim());
    return [path, join(path, ".git")].some((own) => existsSync(own) && realpathSync(own) === git);
  } catch {
    return false;
  }
}
