import { defineConfig, type Options } from "tsup";

const common: Options = {
  format: ["esm", "cjs"],
  target: "es2022",
  dts: true,
  minify: true,
  sourcemap: true,
};

export default defineConfig([
  { ...common, entry: { index: "src/index.ts" } },
  {
    ...common,
    entry: { react: "src/react/index.ts" },
    // The hooks use the connection of the core entry, and must not bring a second one.
    external: ["@cloudphone/bridge-client", "react"],
    // Servers that draw React components leave these to the browser.
    banner: { js: '"use client";' },
  },
]);
