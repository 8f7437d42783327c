import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const source = {
  alias: [
    { find: /^@cloudphone\/bridge-client$/, replacement: at("src/index.ts") },
    { find: /^@cloudphone\/bridge-client\/react$/, replacement: at("src/react/index.ts") },
  ],
};

export default defineConfig({
  test: {
    projects: [
      { resolve: source, test: { name: "unit", include: ["tests/unit/**/*.test.{ts,tsx}"] } },
      // What is in dist/, as it will be installed: `npm run build` first.
      { test: { name: "package", include: ["tests/package/**/*.test.ts"], testTimeout: 60_000 } },
      // Both with a real RabbitMQ and real bridges.
      {
        test: {
          name: "live",
          include: ["tests/live/**/*.test.ts"],
          testTimeout: 90_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: "browser",
          include: ["tests/browser/**/*.test.ts"],
          testTimeout: 90_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
