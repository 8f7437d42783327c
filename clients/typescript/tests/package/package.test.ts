/** The package as it will be installed: what is in dist/, by its own name. `npm run build` comes first. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { beforeAll, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MANIFEST = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8"));
const CORE_GZIP_BYTES_MAX = 6 * 1024;
const REACT_GZIP_BYTES_MAX = 3 * 1024;

beforeAll(() => {
  if (!existsSync(`${ROOT}/dist/index.js`)) throw new Error("there is no dist/; npm run build makes it");
});

const node = (...args: string[]) => execFileSync("node", args, { cwd: ROOT, encoding: "utf8" }).trim();

test.each([
  ["index.js", CORE_GZIP_BYTES_MAX],
  ["index.cjs", CORE_GZIP_BYTES_MAX],
  ["react.js", REACT_GZIP_BYTES_MAX],
  ["react.cjs", REACT_GZIP_BYTES_MAX],
])("%s has at most %i bytes when compressed", (file, bytesMax) => {
  const bytes = gzipSync(readFileSync(`${ROOT}/dist/${file}`), { level: 9 }).length;
  console.log(`${file}: ${bytes} bytes gzipped`);

  expect(bytes).toBeLessThanOrEqual(bytesMax);
});

test("nothing is needed at run time, and React only by its hooks", () => {
  expect(MANIFEST.dependencies).toBeUndefined();
  expect(MANIFEST.peerDependenciesMeta).toEqual({ react: { optional: true } });
  expect(readFileSync(`${ROOT}/dist/index.js`, "utf8")).not.toMatch(/\bfrom\s*["']|\brequire\(/);
});

test("versions of what it is made with are exact", () => {
  for (const version of Object.values(MANIFEST.devDependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});

test("both kinds of modules load, and the hooks use the connection of the core entry", () => {
  const esm = `
    import { Bridge } from "@cloudphone/bridge-client";
    import { useBridge } from "@cloudphone/bridge-client/react";
    console.log(typeof Bridge, typeof useBridge);`;
  const cjs = `
    const { Bridge } = require("@cloudphone/bridge-client");
    const { useBridge } = require("@cloudphone/bridge-client/react");
    console.log(typeof Bridge, typeof useBridge);`;

  expect(node("--input-type=module", "--eval", esm)).toBe("function function");
  expect(node("--input-type=commonjs", "--eval", cjs)).toBe("function function");
  expect(readFileSync(`${ROOT}/dist/react.js`, "utf8")).toMatch(/from\s*"@cloudphone\/bridge-client"/);
});

test("the hooks are marked as the browser's, for servers that draw React components", () => {
  for (const file of ["react.js", "react.cjs"]) {
    expect(readFileSync(`${ROOT}/dist/${file}`, "utf8").startsWith('"use client";')).toBe(true);
  }
});

test("both kinds of modules find their types, and may add events of their own", () => {
  expect(node("node_modules/typescript/bin/tsc", "-p", "tests/package/consumers")).toBe("");
});

test("the package is put together as registries and bundlers expect", async () => {
  const { messages } = await publint({ pkgDir: ROOT, strict: true });

  expect(messages.map((message) => formatMessage(message, MANIFEST))).toEqual([]);
});

test("the lock file names no registry, and the programs for every kind of machine", () => {
  const text = readFileSync(`${ROOT}/package-lock.json`, "utf8");
  const packages: Record<string, { optionalDependencies?: object }> = JSON.parse(text).packages;
  const locked = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, "")));
  const wanted = Object.values(packages).flatMap((each) => Object.keys(each.optionalDependencies ?? {}));

  expect(text).not.toMatch(/"resolved"/);
  expect(wanted.filter((name) => !locked.has(name))).toEqual([]);
});
