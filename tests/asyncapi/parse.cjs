// Parses the AsyncAPI document on standard input, and writes what the official parser has to say as JSON.
const { Parser } = require("@asyncapi/parser");
const { readFileSync } = require("node:fs");

new Parser().parse(readFileSync(0, "utf8")).then(({ document, diagnostics }) => {
  const said = diagnostics.map(({ code, severity, path, message }) => ({ code, severity, path, message }));
  const operations = document?.operations().all().map((each) => each.id()) ?? [];
  process.stdout.write(JSON.stringify({ diagnostics: said, operations }));
});
