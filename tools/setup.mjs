import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** What has to be there before anything of the project can run. Nothing here needs an installed package. */

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a command in the project's folder with its output on this terminal; returns its exit status. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) console.error(`${command}: ${result.error.message}`);
  return result.status ?? 1;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Best Actor needs Node 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org`);
  }
}

/** Whether node_modules holds just what the lock file asks for. */
function installed() {
  const hidden = `${root}node_modules/.package-lock.json`;
  if (!existsSync(hidden)) return false;
  const wanted = JSON.parse(readFileSync(`${root}package-lock.json`, "utf8")).packages;
  const present = JSON.parse(readFileSync(hidden, "utf8")).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === "" || optional || present[path]?.version === version,
  );
}

const SYSTEM_BROWSERS = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/**
 * Path of a Chromium that the tests can use: $CHROMIUM, Playwright's own, or the system's; undefined without one.
 * @returns {string | undefined}
 */
export function findBrowser() {
  // Packages may not be there before this is called.
  const { chromium } = createRequire(import.meta.url)("@playwright/test");
  return [process.env.CHROMIUM, chromium.executablePath(), ...SYSTEM_BROWSERS].find((path) => path && existsSync(path));
}

/** Finds a Chromium or installs one: with Playwright's installer, else from Debian. */
export async function installBrowser() {
  if (findBrowser()) return;
  console.log("Installing Chromium for the browser tests (once)...");
  const playwright = `${root}node_modules/@playwright/test/cli.js`;
  run(process.execPath, [playwright, "install", "--with-deps", "chromium"], { timeout: 600_000 });
  if (!findBrowser() && existsSync("/usr/bin/apt-get")) {
    const sudo = process.getuid?.() === 0 ? [] : ["sudo"];
    for (const args of [["update"], ["install", "-y", "--no-install-recommends", "chromium"]]) {
      const [command, ...rest] = [...sudo, "apt-get", "-qq", ...args];
      run(command, rest, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
    }
  }
  if (!findBrowser()) {
    fail("No Chromium could be installed. Install one and name it: CHROMIUM=/path/to/chromium npm test");
  }
}

/** Installs the packages of the lock file when they are missing or others. No package's install script is run. */
export function install() {
  checkNode();
  if (installed()) return;
  console.log("Installing packages (once; about a minute)...");
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  if (run(npm, args, { shell: process.platform === "win32" }) !== 0) {
    fail("npm could not install the packages; its message is above.");
  }
}
