/** The code in the documents compiles against the package as it will be installed. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const HERE = fileURLToPath(new URL(".", import.meta.url));

test.each([
  ["README.md", `${ROOT}/../../README.md`],
  ["clients/typescript/README.md", `${ROOT}/README.md`],
  ["docs/client.md", `${ROOT}/../../docs/client.md`],
  ["docs/migrating.md", `${ROOT}/../../docs/migrating.md`],
])("the code in %s compiles", (_name, path) => {
  const blocks = [...readFileSync(path, "utf8").matchAll(/^```tsx?\n(.*?)^```$/gms)].map(
    ([, code]) => code ?? "",
  );
  expect(blocks.length).toBeGreaterThan(0);
  // Each block is a module of its own.
  const files = new Map(blocks.map((code, index) => [`${HERE}block-${index}.tsx`, `${code}\nexport {};\n`]));

  expect(problems(files)).toEqual([]);
});

function problems(files: ReadonlyMap<string, string>): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    jsx: ts.JsxEmit.ReactJSX,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const code = files.get(path);
    return code === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, code, rest[0]);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return ts.getPreEmitDiagnostics(program).map((each) => {
    const line = each.file?.getLineAndCharacterOfPosition(each.start ?? 0).line ?? 0;
    const code = each.file?.text.split("\n")[line] ?? "";
    return `${ts.flattenDiagnosticMessageText(each.messageText, " ")} | ${code.trim()}`;
  });
}
