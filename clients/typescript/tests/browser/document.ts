/** The page of docs/client.md, served by Vite as a developer would. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = `import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./App";
createRoot(document.getElementById("root")!).render(<StrictMode><App /></StrictMode>);`;

const PAGE = `<!doctype html><title>Page</title><link rel="icon" href="data:,">
<body><div id="root"></div><script type="module" src="/main.tsx"></script></body>`;

/** Serve the first page of the document; `/ws` leads to the bridge, `/token` is the token. */
export async function serveDocument(bridge: string, token: string) {
  const folder = mkdtempSync(`${tmpdir()}/bridge-page-`);
  symlinkSync(`${ROOT}/node_modules`, `${folder}/node_modules`);
  const document = readFileSync(`${ROOT}/../../docs/client.md`, "utf8");
  mkdirSync(`${folder}/public`);
  writeFileSync(`${folder}/public/token`, `${token}\n`);
  writeFileSync(`${folder}/index.html`, PAGE);
  writeFileSync(`${folder}/main.tsx`, MAIN);
  writeFileSync(`${folder}/App.tsx`, /^```tsx\n(.*?)^```$/ms.exec(document)?.[1] ?? "");
  const { hostname, port } = new URL(bridge);
  const server = await createServer({
    configFile: false,
    root: folder,
    cacheDir: `${folder}/.vite`,
    logLevel: "error",
    esbuild: { jsx: "automatic" },
    resolve: {
      alias: [
        { find: /^@cloudphone\/bridge-client$/, replacement: `${ROOT}/dist/index.js` },
        { find: /^@cloudphone\/bridge-client\/react$/, replacement: `${ROOT}/dist/react.js` },
      ],
      dedupe: ["react"],
    },
    server: {
      host: "127.0.0.1",
      port: 0,
      fs: { strict: false },
      proxy: { "/ws": { target: `ws://${hostname}:${port}`, ws: true } },
    },
  });
  await server.listen();
  return {
    url: server.resolvedUrls?.local[0] ?? "",
    async close() {
      await server.close();
      rmSync(folder, { recursive: true });
    },
  };
}
