import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
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

/** Path of a Firefox that the tests can use: $FIREFOX, the system's, or Playwright's own; undefined without one. */
export function findFirefox() {
  const { firefox } = createRequire(import.meta.url)("@playwright/test");
  const places = [process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox", firefox.executablePath()];
  return places.find((path) => path && existsSync(path));
}

/** Path of WebKitGTK's MiniBrowser, where its driver is there too; undefined otherwise. */
export function findMiniBrowser() {
  if (!["WebKitWebDriver", "xvfb-run"].every((name) => existsSync(`/usr/bin/${name}`))) return undefined;
  const places = readdirSync("/usr/lib").map((folder) => `/usr/lib/${folder}/webkit2gtk-4.1/MiniBrowser`);
  return places.find((path) => existsSync(path));
}

/** Whether there is a WebKit that the tests can use: WebKitGTK, or Playwright's own. */
export function webkitIsInstalled() {
  const { webkit } = createRequire(import.meta.url)("@playwright/test");
  return findMiniBrowser() !== undefined || existsSync(webkit.executablePath());
}

function installFromDebian(...packages) {
  if (!existsSync("/usr/bin/apt-get")) return;
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    const [command, ...rest] = [...sudo, "apt-get", "-qq", ...args];
    run(command, rest, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  }
}

function installFromPlaywright(browser) {
  const playwright = `${root}node_modules/@playwright/test/cli.js`;
  run(process.execPath, [playwright, "install", "--with-deps", browser], { timeout: 600_000 });
}

/** Finds a Chromium or installs one: with Playwright's installer, else from Debian. */
export async function installBrowser() {
  if (findBrowser()) return;
  console.log("Installing Chromium for the browser tests (once)...");
  installFromPlaywright("chromium");
  if (!findBrowser()) installFromDebian("chromium");
  if (!findBrowser()) {
    fail("No Chromium could be installed. Install one and name it: CHROMIUM=/path/to/chromium npm test");
  }
}

/** Installs Firefox and WebKit for the tests of engines: from Debian, else Playwright's own. Without them those tests skip. */
export async function installEngines() {
  for (const [name, isThere, packages] of [
    ["Firefox", () => findFirefox() !== undefined, ["firefox-esr"]],
    ["WebKit", webkitIsInstalled, ["webkit2gtk-driver", "xvfb", "xauth"]],
  ]) {
    if (isThere()) continue;
    console.log(`Installing ${name} for the browser tests (once)...`);
    installFromDebian(...packages);
    if (!isThere()) installFromPlaywright(name.toLowerCase());
    if (isThere()) continue;
    const message = `No ${name} could be installed: its tests are skipped.`;
    if (process.env.CI) fail(message);
    console.log(message);
  }
}

/**
 * Installs what the test across a network needs where root runs it: `ip` makes the network, `certutil` tells a browser whom to trust.
 * Without them it skips.
 */
export function installNetworkTools() {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return;
  const missing = Object.entries({ ip: "iproute2", certutil: "libnss3-tools" }).filter(
    ([command]) => spawnSync(command, ["--version"]).error !== undefined,
  );
  if (missing.length > 0) installFromDebian(...missing.map(([, name]) => name));
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
