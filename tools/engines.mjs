/**
 * The three browser engines, driven alike: Chromium by Playwright, a stock Firefox by puppeteer-core over WebDriver BiDi, and WebKitGTK
 * (the engine of Safari and of every browser on an iPhone) by selenium-webdriver. Where Debian's are not there,
 * Playwright's own builds of Firefox and WebKit serve.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { firefox, chromium, webkit } from "@playwright/test";
import puppeteer from "puppeteer-core";
import { Builder, By, Capabilities } from "selenium-webdriver";
import { findBrowser, findFirefox, findMiniBrowser, webkitIsInstalled } from "./setup.mjs";

/** @typedef {"chromium" | "firefox" | "webkit"} EngineName */
/** @type {EngineName[]} */
export const ENGINES = ["chromium", "firefox", "webkit"];

/**
 * @typedef {object} Engine
 * @property {EngineName} name
 * @property {string} version
 * @property {boolean} hasCamera whether it has a fake one
 * @property {(url: string) => Promise<void>} goto
 * @property {<A extends unknown[], R>(work: (...given: A) => R | Promise<R>, ...given: A) => Promise<R>} evaluate runs a function
 *   in the page; what it is given and gives must be JSON
 * @property {(selector: string, file: string) => Promise<void>} upload gives a file to an input
 * @property {() => Promise<string[]>} errors what the console has told of errors since the last call; in WebKit since the last {@link goto}
 * @property {() => Promise<void>} close
 */

/**
 * Opens a window with a fresh profile.
 * @param {EngineName} name
 * @param {{ webcam?: string, sharedMemory?: boolean }} [options] a film for Chromium's fake camera; false for a WebKit or Firefox
 *   without shared memory, true for WebKitGTK with it, which has it switched off
 * @returns {Promise<Engine>}
 */
export async function openEngine(name, options = {}) {
  if (name === "chromium") return openChromium(options);
  if (name === "firefox") return openFirefox(options);
  return openWebKit(options);
}

/** Whether an engine is there; setup.mjs installs what is not. */
export function hasEngine(name) {
  if (name === "chromium") return findBrowser() !== undefined;
  return name === "firefox" ? findFirefox() !== undefined : webkitIsInstalled();
}

/** The text of a function's call, whose result comes as JSON: what drivers make of objects differs. */
const callOf = (work, given) =>
  `(async () => JSON.stringify((await (${work})(...${JSON.stringify(given)})) ?? null))()`;

/** Not what a browser says of itself, nor its note that a box was measured again in the next frame, which WebKit calls an error. */
const isOurs = (text) => !/favicon|Cross-Origin-Opener-Policy|ResizeObserver loop/.test(text);

async function openChromium({ webcam }) {
  const executablePath = findBrowser();
  const camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
  const browser = await chromium.launch({
    ...(executablePath ? { executablePath } : {}),
    args: webcam ? [...camera, `--use-file-for-fake-video-capture=${webcam}`] : camera,
  });
  return ofPlaywright("chromium", browser, true);
}

/** An engine of Playwright's own making. */
async function ofPlaywright(name, browser, hasCamera) {
  const page = await browser.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  return {
    name,
    version: browser.version(),
    hasCamera,
    goto: async (url) => void (await page.goto(url)),
    evaluate: async (work, ...given) => JSON.parse(await page.evaluate(callOf(work, given))),
    upload: (selector, file) => page.locator(selector).setInputFiles(file),
    errors: async () => errors.splice(0).filter(isOurs),
    close: () => browser.close(),
  };
}

async function openFirefox({ sharedMemory }) {
  const preferences = {
    "media.navigator.streams.fake": true,
    "media.navigator.permission.disabled": true,
    // Else a page that waits is asked about at the end, and its scripts are stopped.
    "dom.max_script_run_time": 0,
    ...(sharedMemory === false ? { "javascript.options.shared_memory": false } : {}),
  };
  const executablePath = findFirefox();
  if (executablePath === firefox.executablePath()) {
    const browser = await firefox.launch({ firefoxUserPrefs: preferences });
    return ofPlaywright("firefox", browser, true);
  }
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    headless: true,
    protocolTimeout: 600_000,
    extraPrefsFirefox: preferences,
    args: ["--remote-allow-system-access"],
  });
  await leaveWorkersAlone(browser);
  const page = await browser.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  return {
    name: "firefox",
    version: (await browser.version()).replace(/^\D*/, ""),
    hasCamera: true,
    goto: async (url) => void (await page.goto(url)),
    evaluate: async (work, ...given) => JSON.parse(await page.evaluate(callOf(work, given))),
    upload: async (selector, file) => {
      const input = await page.$(selector);
      if (!input) throw new Error(`There is no ${selector}.`);
      await input.uploadFile(file);
    },
    errors: async () => withoutLeft(errors.splice(0)).filter(isOurs),
    close: () => browser.close(),
  };
}

/** All but what Firefox says of sockets that were still being opened when their page was left. */
function withoutLeft(texts) {
  const left = /connection to (\S+) was interrupted while the page was loading/;
  const addresses = texts.flatMap((text) => left.exec(text)?.[1] ?? []);
  return texts.filter((text) => !addresses.some((address) => text.includes(address)));
}

/**
 * Lets Firefox start workers of workers as it does for a player. For every WebDriver session it listens to them (as its developer
 * tools do), and the worker that starts another one then waits for the page's thread on the same condition variable on which the new
 * one waits for events: WorkerPrivate::SetIsDebuggerRegistered wakes only one of them. When it is the wrong one, about once in a hundred
 * starts on a busy machine, both wait for ever.
 */
async function leaveWorkersAlone({ connection }) {
  const { result } = await connection.send("browsingContext.getTree", { "moz:scope": "chrome" });
  const actor = "chrome://remote/content/shared/js-process-actors/WebDriverWorkerListenerActor.sys.mjs";
  const answer = await connection.send("script.evaluate", {
    expression: `ChromeUtils.importESModule("${actor}").unregisterWebDriverWorkerListenerActor()`,
    target: { context: result.contexts[0].context },
    awaitPromise: false,
  });
  // An older one has no such listener.
  if (answer.result.type !== "success") console.warn("Firefox goes on listening to workers:", answer.result);
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function openWebKit({ sharedMemory }) {
  const binary = findMiniBrowser();
  if (!binary) return ofPlaywright("webkit", await webkit.launch(), false);
  const port = await freePort();
  const home = mkdtempSync(join(tmpdir(), "best-actor-webkit-"));
  // Its port has shared memory switched off; Safari has it.
  const env = { ...process.env, HOME: home, XDG_DATA_HOME: home, XDG_CACHE_HOME: home };
  if (sharedMemory) env.JSC_useSharedArrayBuffer = "true";
  // A group of its own, so that its end takes display and browser along.
  const driver = spawn("xvfb-run", ["-a", "WebKitWebDriver", `--port=${port}`], {
    env,
    detached: true,
    stdio: "ignore",
  });
  const end = () => {
    try {
      process.kill(-driver.pid, "SIGTERM");
    } catch {
      // It has ended by itself.
    }
  };
  process.once("exit", end);
  const capabilities = new Capabilities();
  capabilities.set("browserName", "MiniBrowser");
  capabilities.set("webkitgtk:browserOptions", { binary, args: ["--automation"] });
  const address = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (
      await fetch(`${address}/status`).then(
        () => true,
        () => false,
      )
    )
      break;
    if (tries > 300) throw new Error("WebKitWebDriver does not start.");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const session = await new Builder().usingServer(address).withCapabilities(capabilities).build();
  await session.manage().setTimeouts({ script: 600_000, pageLoad: 120_000 });
  const run = async (script, ...given) => {
    const [problem, result] = await session.executeAsyncScript(
      `const done = arguments[arguments.length - 1];
       Promise.resolve().then(() => (${script})(...Array.prototype.slice.call(arguments, 0, -1)))
         .then((result) => done([null, result ?? null]), (error) => done([String(error), null]));`,
      ...given,
    );
    if (problem !== null) throw new Error(problem);
    return result;
  };
  return {
    name: "webkit",
    version: (await session.getCapabilities()).getBrowserVersion() ?? "",
    hasCamera: false,
    goto: async (url) => {
      await session.get(url);
      // WebKit's driver tells nothing of the console: the page notes what goes wrong from now on.
      await run(`() => {
        const noted = (window.notedErrors = []);
        const note = (...values) => noted.push(values.map(String).join(" "));
        const { error } = console;
        console.error = (...values) => (note(...values), error.apply(console, values));
        const told = (error) => (error instanceof Error ? error + "\\n" + error.stack : String(error));
        addEventListener("error", (event) => note(event.error ? told(event.error) : event.message));
        addEventListener("unhandledrejection", (event) => note(told(event.reason)));
      }`);
    },
    evaluate: (work, ...given) => run(String(work), ...given),
    upload: (selector, file) => session.findElement(By.css(selector)).sendKeys(file),
    errors: async () => (await run("() => (window.notedErrors ?? []).splice(0)")).filter(isOurs),
    close: async () => {
      await session.quit().catch(() => undefined);
      end();
      process.off("exit", end);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
