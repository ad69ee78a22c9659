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
export function launch(args = []) {
  const executablePath = findBrowser();
  return chromium.launch({ ...(executablePath ? { executablePath } : {}), args });
}

/** @param {string[]} [args] flags of Chromium */
export async function openPage(args = []) {
  const served = await servePage();
  const browser = await launch(args);
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(served.url);
  await page.waitForFunction(() => "harness" in window);
  return {
    page,
    ...watchMemory(),
    close: async () => {
      await browser.close();
      await served.close();
    },
  };
}

/** Process ids of the renderers that this process has started; none where /proc does not tell. */
function renderers() {
  if (!existsSync("/proc")) return [];
  const statusOf = (pid) => readFileSync(`/proc/${pid}/status`, "utf8");
  const isOurs = (pid) => {
    for (let at = pid; at > 1; at = Number(/PPid:\s+(\d+)/.exec(statusOf(at))?.[1]))
      if (at === process.pid) return true;
    return false;
  };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer") && isOurs(Number(pid));
      } catch {
        // The process has ended meanwhile.
        return false;
      }
    });
}

/** So many kilobytes of a process as its status says, in MB; the largest of the renderers'. */
function largest(...fields) {
  let most = null;
  for (const pid of renderers()) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const kilobytes = fields.map((field) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]));
      most = Math.max(most ?? 0, Math.round(kilobytes.reduce((sum, value) => sum + value, 0) / 1000));
    } catch {
      // The process has ended meanwhile.
    }
  }
  return most;
}

/** Peak resident memory of the largest renderer process so far, in MB; null where /proc does not tell. */
export const peakMB = () => largest("VmHWM");

/**
 * Looks at the memory of this process's renderers from now on. `peakMB` counts all that is resident, with the browser's own program,
 * which its processes share; `ownMB` gives the most that was the largest one's own at any look: what a phone counts.
 */
export function watchMemory() {
  let own = null;
  const look = () => {
    const now = largest("RssAnon", "RssShmem");
    if (now !== null) own = Math.max(own ?? 0, now);
    return own;
  };
  setInterval(look, 50).unref();
  return { peakMB, ownMB: look };
}
