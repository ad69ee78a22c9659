import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, type Locator, type Page } from "@playwright/test";
import { X509Certificate } from "node:crypto";
import decodeQr from "qr/decode.js";
import type { History } from "../src/federation/protocol";
import { root } from "../tools/setup.mjs";
import { Network, whyNoNamespaces } from "./namespaces";
import { collectFaces, openCamera } from "./stage";

const why = whyNoNamespaces();
if (why !== undefined) {
  if (process.env["CI"]) throw new Error(`CI tests across a network, and cannot: ${why}.`);
  console.log(`The test across a network is skipped: ${why}.`);
}
test.skip(why !== undefined, why ?? "");

const TASK = "expressions-compact";

/** `npm start -- --share` on the server's machine, with everything it says. */
class Started {
  said = "";
  readonly #child: ChildProcess;

  constructor(network: Network, state: string) {
    const [command, args] = network.on(
      "server",
      process.execPath,
      join(root, "tools/start.mjs"),
      "--no-build",
      "--share",
    );
    const { PORT: _, SHARE_PORT: __, ...env } = process.env;
    this.#child = spawn(command, args, { cwd: root, env: { ...env, STATE: state }, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (text: Buffer) => (this.said += text.toString()));
  }

  async says(text: string | RegExp): Promise<void> {
    await expect.poll(() => this.said, { timeout: 120_000 }).toMatch(text);
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
  }
}

/** What a phone's camera reads in a picture on a page. */
async function readCode(picture: Locator): Promise<string> {
  const png = (await picture.screenshot()).toString("base64");
  const blank = await picture.page().context().newPage();
  const { width, height, data } = await blank.evaluate(async (source) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${source}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    if (!context) throw new Error("no canvas");
    context.drawImage(bitmap, 0, 0);
    const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return { width: image.width, height: image.height, data: [...image.data] };
  }, png);
  await blank.close();
  return decodeQr({ width, height, data: Uint8Array.from(data) });
}

const historyOf = (page: Page): Promise<History> =>
  page.evaluate(async (task) => (await fetch(`/api/tasks/${task}/rounds`)).json() as Promise<History>, TASK);

test("a phone in the same network is invited by a QR code, plays, trains and sends over HTTPS, and is not asked again", async () => {
  test.setTimeout(600_000);
  const network = new Network();
  const state = mkdtempSync(join(tmpdir(), "best-actor-room-"));
  let server = new Started(network, state);
  try {
    await server.says("In this network");
    const [address] = network.addresses.server;
    expect(server.said).toContain(`https://${address}:8443`);
    expect(server.said).toContain("https://[fd77::1]:8443");
    const token = readFileSync(join(state, "admin-token"), "utf8").trim();

    // The director, at the server's own machine.
    const director = await (await (await network.browser("server")).newContext()).newPage();
    director.setDefaultTimeout(60_000);
    await director.goto("http://127.0.0.1:8787/rounds");
    await director.getByLabel("Task and model").selectOption(TASK);
    await director.getByRole("button", { name: "Start a round" }).click();
    await director.getByLabel("Goal count").fill("1");
    await director.getByText("Expert: all settings").click();
    await director.getByLabel("Look for a setting").fill("invited");
    await director.getByLabel("Invited devices only").check();
    // Five photographs of as many people, in roles that were drawn, need not teach it anything.
    await director.getByLabel("Look for a setting").fill("tolerance");
    await director.getByLabel("Tolerance").fill("");
    await director.getByLabel("Admin token").fill(token);
    await director.getByRole("button", { name: "Start rounds" }).click();
    await expect(director.getByTestId("round-state")).toHaveText("selecting");
    await director.getByRole("button", { name: "Invite players" }).click();
    const dialog = director.getByRole("dialog", { name: "Invite players" });
    await expect(dialog.getByRole("alert")).toContainText("for invited devices");
    const link = dialog.getByLabel("Link", { exact: true });
    const open = `https://${address}:8443/play?task=${TASK}#invited`;
    await expect(link).toHaveValue(open);
    await dialog.getByLabel("Uses").fill("1");
    await dialog.getByRole("button", { name: "Make an invitation" }).click();
    await expect(dialog.getByText("1 of 1")).toBeVisible();
    await expect(dialog.getByRole("alert")).toHaveCount(0);
    const invited = await link.inputValue();
    expect(invited).toMatch(/#invited=[\w-]{22}$/);
    expect(invited).not.toContain(token);
    expect(await readCode(dialog.getByRole("img", { name: "QR code of the link" }))).toBe(invited);

    // A phone that has not been told whom to trust.
    const wary = await (await network.browser("phone")).newPage();
    await expect(wary.goto(open)).rejects.toThrow("ERR_CERT_AUTHORITY_INVALID");

    // The file that phones get is taken from the server itself, and is what the terminal says.
    const careless = await (await network.browser("phone")).newContext({ ignoreHTTPSErrors: true });
    const asking = await careless.newPage();
    await asking.goto(`https://${address}:8443/privacy`);
    const der = await asking.evaluate(async () => [
      ...new Uint8Array(await (await fetch("/authority.crt")).arrayBuffer()),
    ]);
    expect(server.said).toContain(new X509Certificate(Uint8Array.from(der)).fingerprint256.replaceAll(":", " "));
    const file = join(state, "downloaded.crt");
    writeFileSync(file, Uint8Array.from(der));

    const phone = await (
      await network.browser("phone", file)
    ).newContext({
      viewport: { width: 390, height: 844 },
      // Which a browser keeps for pages that it trusts.
      serviceWorkers: "allow",
    });
    const player = await phone.newPage();
    player.setDefaultTimeout(60_000);
    const strict: string[] = [];
    player.on("response", (response) => {
      if (response.headers()["strict-transport-security"]) strict.push(response.url());
    });
    await player.goto(open);
    await expect(player.getByRole("note")).toContainText("your faces stay on this device");
    expect(await player.evaluate(() => [isSecureContext, crossOriginIsolated])).toEqual([true, true]);
    await player.evaluate(async () => (await navigator.serviceWorker.ready).scope);
    // The camera, which only a trusted page may open.
    await openCamera(player, `https://${address}:8443`);
    await collectFaces(player, `https://${address}:8443`, 5);
    await player.goto(`https://${address}:8443/train`);
    await player.getByRole("button", { name: "Take part in rounds" }).click();
    await expect(player.getByText("This round is for invited players.")).toBeVisible();

    await player.goto(invited);
    // People show and send what stands there.
    await expect.poll(() => player.url()).toBe(open);
    await player.goto(`https://${address}:8443/train`);
    await expect(player.getByText("accepted", { exact: true })).toBeVisible({ timeout: 300_000 });
    const ended = async () => (await historyOf(director)).rounds[0];
    await expect.poll(async () => (await ended())?.endedAt, { timeout: 120_000 }).not.toBeNull();
    expect(await ended()).toMatchObject({ state: "published", reason: null, tally: { counted: 1 } });
    expect(strict, "nobody is locked out of an address").toEqual([]);

    // The server starts again, and gets another address: the phone trusts it still.
    await server.stop();
    server = new Started(network, state);
    await server.says("In this network");
    const version = (): Promise<number | undefined> =>
      player.evaluate(async (task) => {
        const health = (await (await fetch("/api/health")).json()) as { checkpoints: Record<string, number> };
        return health.checkpoints[task];
      }, TASK);
    await player.goto(`https://${address}:8443/play`);
    expect(await version()).toBe(1);
    network.addAddress("server", "192.168.77.9");
    await server.says("https://192.168.77.9:8443");
    for (const other of ["192.168.77.9", "[fd77::1]"]) {
      await player.goto(`https://${other}:8443/play`);
      expect(await version(), other).toBe(1);
    }
  } finally {
    await server.stop();
    await network.close();
    rmSync(state, { recursive: true, force: true });
  }
});
