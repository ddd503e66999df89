// The tree of an application, before and after: nothing may have changed but .livegate/
// and what the application's own tools leave behind in places that it ignores itself.
import { createHash } from "node:crypto";
import { lstat, readFile, readdir, readlink } from "node:fs/promises";
import { dirname, join } from "node:path";

const ignored = new Set([".livegate", ".git"]);

/**
 * Describes every entry below dir as "path mode kind sha256", sorted by path.
 * Symbolic links are not followed: their target text counts.
 * @param {string} dir
 * @param {string[]} [products] directories that are left out, by their path below dir
 * @returns {Promise<string[]>}
 */
export async function listing(dir, products = []) {
  const lines = [];
  await walk(dir, "", lines, new Set(products));
  return lines.sort();
}

async function walk(dir, under, lines, products) {
  for (const name of await readdir(dir)) {
    if (ignored.has(name)) continue;
    const path = join(dir, name);
    const shown = under ? `${under}/${name}` : name;
    if (products.has(shown)) continue;
    const info = await lstat(path);
    if (info.isDirectory()) {
      lines.push(`${shown} dir`);
      await walk(path, shown, lines, products);
    } else {
      const content = info.isSymbolicLink() ? await readlink(path) : await readFile(path);
      const sum = createHash("sha256").update(content).digest("hex");
      lines.push(`${shown} ${(info.mode & 0o777).toString(8)} ${sum}`);
    }
  }
}

/**
 * The products that no .gitignore of the application names: leaving those out would hide
 * a change. Only plain names are understood, which is what tools write for their output.
 * @param {string} dir
 * @param {string[]} products
 * @returns {Promise<string[]>}
 */
export async function unexcused(dir, products) {
  const out = [];
  for (const product of products) {
    const name = product.split("/").at(-1);
    let found = false;
    for (let at = dirname(product); ; at = dirname(at)) {
      const text = await readFile(join(dir, at, ".gitignore"), "utf8").catch(() => "");
      found ||= text.split(/\r?\n/).some((line) => line.trim().replace(/^\//, "").replace(/\/$/, "") === name);
      if (found || at === ".") break;
    }
    if (!found) out.push(product);
  }
  return out;
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
