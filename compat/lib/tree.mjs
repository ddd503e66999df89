// The tree of an application, before and after: nothing may have changed but .livegate/.
import { createHash } from "node:crypto";
import { lstat, readFile, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";

const ignored = new Set([".livegate", ".git"]);

/**
 * Describes every entry below dir as "path mode kind sha256", sorted by path.
 * Symbolic links are not followed: their target text counts.
 * @param {string} dir
 * @returns {Promise<string[]>}
 */
export async function listing(dir) {
  const lines = [];
  await walk(dir, "", lines);
  return lines.sort();
}

async function walk(dir, under, lines) {
  for (const name of await readdir(dir)) {
    if (ignored.has(name)) continue;
    const path = join(dir, name);
    const shown = under ? `${under}/${name}` : name;
    const info = await lstat(path);
    if (info.isDirectory()) {
      lines.push(`${shown} dir`);
      await walk(path, shown, lines);
    } else {
      const content = info.isSymbolicLink() ? await readlink(path) : await readFile(path);
      const sum = createHash("sha256").update(content).digest("hex");
      lines.push(`${shown} ${(info.mode & 0o777).toString(8)} ${sum}`);
    }
  }
}

/**
 * What differs between two listings, one line per entry ("+ new", "- gone or changed").
 * Empty when they are equal.
 */
export function difference(before, after) {
  const had = new Set(before);
  const has = new Set(after);
  return [
    ...before.filter((line) => !has.has(line)).map((line) => `- ${line.split(" ")[0]}`),
    ...after.filter((line) => !had.has(line)).map((line) => `+ ${line.split(" ")[0]}`),
  ];
}
