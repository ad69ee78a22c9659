import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Browser } from "@playwright/test";
import { findBrowser } from "../tools/setup.mjs";
import { WEBCAM } from "./webcam";

/** Two machines in one: network namespaces of the kernel, with a cable between them and nothing else. */

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

const isThere = (command: string): boolean => spawnSync(command, ["--version"]).error === undefined;

/** Why this machine cannot have namespaces, in words; undefined where it can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces are made by root only";
  if (!isThere("ip")) return "there is no ip (Debian: iproute2)";
  if (!isThere("certutil")) return "there is no certutil, which tells Chromium whom to trust (Debian: libnss3-tools)";
  const name = `ba-try-${process.pid}`;
  try {
    run("ip", "netns", "add", name);
    run("ip", "netns", "delete", name);
  } catch (error) {
    return `this machine lets nobody make a network namespace (${String(error)})`;
  }
  return undefined;
}

const ADDRESSES = { server: ["192.168.77.1", "fd77::1"], phone: ["192.168.77.2", "fd77::2"] } as const;
export type End = keyof typeof ADDRESSES;

/** A server's machine and a phone on one network. */
export class Network {
  readonly addresses = ADDRESSES;
  readonly #folder = mkdtempSync(join(tmpdir(), "best-actor-network-"));
  readonly #browsers: Browser[] = [];

  readonly #nameOf = (end: End): string => `ba-${end}-${process.pid}`;

  constructor() {
    for (const end of ["server", "phone"] as const) run("ip", "netns", "add", this.#nameOf(end));
    run("ip", "link", "add", `bas${process.pid}`, "type", "veth", "peer", "name", `bap${process.pid}`);
    for (const [end, link] of [
      ["server", `bas${process.pid}`],
      ["phone", `bap${process.pid}`],
    ] as const) {
      run("ip", "link", "set", link, "netns", this.#nameOf(end));
      for (const address of ADDRESSES[end]) this.addAddress(end, address, link);
      run("ip", "-n", this.#nameOf(end), "link", "set", "lo", "up");
      run("ip", "-n", this.#nameOf(end), "link", "set", link, "up");
    }
  }

  addAddress(end: End, address: string, link = `ba${end === "server" ? "s" : "p"}${process.pid}`): void {
    const isNew = address.includes(":");
    // Without waiting whether somebody else has it.
    const prefix = isNew ? [`${address}/64`, "nodad"] : [`${address}/24`];
    run("ip", "-n", this.#nameOf(end), "address", "add", prefix[0] ?? "", "dev", link, ...prefix.slice(1));
  }

  /** A command as it is run on one of the machines. */
  on(end: End, command: string, ...args: string[]): [string, string[]] {
    return ["ip", ["netns", "exec", this.#nameOf(end), command, ...args]];
  }

  /**
   * A browser on one of the machines.
   * @param authority a file with the certificate of whom it trusts beside those that everybody does
   */
  async browser(end: End, authority?: string): Promise<Browser> {
    const home = mkdtempSync(join(this.#folder, "home-"));
    const store = join(home, ".pki/nssdb");
    mkdirSync(store, { recursive: true });
    run("certutil", "-d", `sql:${store}`, "-N", "--empty-password");
    if (authority !== undefined)
      run("certutil", "-d", `sql:${store}`, "-A", "-n", "room", "-t", "C,,", "-i", authority);
    const executablePath = join(home, "browser");
    const [command, args] = this.on(end, findBrowser() ?? "");
    writeFileSync(executablePath, `#!/bin/sh\nexec ${[command, ...args].join(" ")} "$@"\n`);
    chmodSync(executablePath, 0o755);
    const browser = await chromium.launch({
      executablePath,
      env: { ...(process.env as Record<string, string>), HOME: home },
      args: [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-video-capture=${WEBCAM}`,
      ],
    });
    this.#browsers.push(browser);
    return browser;
  }

  async close(): Promise<void> {
    for (const browser of this.#browsers) await browser.close();
    for (const end of ["server", "phone"] as const) run("ip", "netns", "delete", this.#nameOf(end));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
