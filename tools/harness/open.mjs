/** A real Chromium with the page of this folder, built for production and cross-origin isolated. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "@playwright/test";
import { build, loadConfigFromFile, preview } from "vite";
import { findBrowser, root } from "../setup.mjs";

/** The page as it was built, once in each process. */
let built;

async function buildPage(config, options) {
  const outDir = mkdtempSync(join(tmpdir(), "best-actor-harness-"));
  process.once("exit", () => rmSync(outDir, { recursive: true, force: true }));
  await build({ ...config, build: { ...options, outDir, emptyOutDir: true } });
  return outDir;
}

/** Serves the page. */
export async function servePage() {
  const loaded = await loadConfigFromFile({ command: "build", mode: "production" }, join(root, "vite.config.ts"));
  const { worker, build: how, server: { headers } = {} } = loaded?.config ?? {};
  const folders = { root: join(root, "tools/harness"), publicDir: join(root, "public") };
  const config = { configFile: false, ...folders, logLevel: "error", worker };
  built ??= buildPage(config, how);
  const outDir = await built;
  // Vite's answers of "not modified" lack the headers of isolation, without which WebKit loads no worker.
  const isolated = { ...headers, "cache-control": "no-store" };
  const options = { port: 0, host: "127.0.0.1", headers: isolated };
  const server = await preview({ ...config, build: { outDir }, preview: options });
  return { url: server.resolvedUrls?.local[0] ?? "", close: () => server.close() };
}

/** @param {string[]} [args] flags of Chromium */
export async function openPage(args = []) {
  const served = await servePage();
  const executablePath = await findBrowser();
  const browser = await chromium.launch({ ...(executablePath ? { executablePath } : {}), args });
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(served.url);
  await page.waitForFunction(() => "harness" in window);
  return {
    page,
    /** Peak resident memory of the largest renderer process so far, in MB; null where /proc does not tell. */
    peakMB,
    close: async () => {
      await browser.close();
      await served.close();
    },
  };
}

export function peakMB() {
  if (!existsSync("/proc")) return null;
  let peak = null;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")) continue;
      const kilobytes = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      peak = Math.max(peak ?? 0, Math.round(kilobytes / 1000));
    } catch {
      // The process has ended meanwhile.
    }
  }
  return peak;
}
