import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "../tools/serve.mjs";
import { FRONT } from "../tools/share/trust.mjs";
import { violationsOf } from "./accessible";
import { expect, test } from "./stage";

// A colour on its way to the other theme is no colour to judge.
test.use({ contextOptions: { reducedMotion: "reduce" } });

const ORIGINS = ["https://192.168.1.20:8443", "https://[2001:db8::5]:8443"];

test("a director on the server's own machine invites by keyboard, on a phone's width, and everybody can read it", async ({
  page,
  context,
}) => {
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-invite-"));
  const edge = await serve({ port: 0, stateFolder, shared: () => ORIGINS });
  try {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(`${edge.url}/rounds?task=expressions-compact`);
    await page.getByRole("button", { name: "Invite players" }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Invite players" });
    const link = dialog.getByLabel("Link", { exact: true });
    await expect(link).toHaveValue(`${ORIGINS[0]}/play?task=expressions-compact#invited`);
    await dialog.getByLabel("Address").selectOption(ORIGINS[1] ?? "");
    await link.focus();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await expect(dialog.getByText("Copied.")).toBeVisible();
    const open = `${ORIGINS[1]}/play?task=expressions-compact#invited`;
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(open);
    await dialog.getByText("Invited devices only", { exact: true }).click();
    await dialog.getByLabel("Admin token").fill("a guess");
    await dialog.getByRole("button", { name: "Make an invitation" }).click();
    await expect(dialog.getByRole("alert")).toContainText("The admin token is missing or wrong");
    await dialog.getByLabel("Admin token").fill(edge.adminToken);
    await dialog.getByRole("textbox", { name: /^For/ }).fill("front row");
    await page.keyboard.press("Enter");
    await expect(link).toHaveValue(/#invited=[\w-]{22}$/);
    await expect(dialog.getByText("Copied.")).toBeHidden();
    await expect(dialog.getByRole("row", { name: "front row" })).toContainText("30 of 30");
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await violationsOf(page, "dialog[open]")).toEqual([]);
    }
    expect(await dialog.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)).toBe(0);
    await dialog.getByRole("button", { name: "Revoke: front row" }).click();
    await expect(dialog.getByText("No invitation is valid.")).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(dialog).toBeHidden();

    // Players whose link was damaged on its way.
    const alert = page.getByRole("alert");
    for (const [link, words] of [
      ["/play?task=expressions#invited=half-a-tok", "The link that you opened is not whole"],
      ["/play?task=expres#invited", "there is no such game here"],
    ] as const) {
      await page.goto("about:blank");
      await page.goto(edge.url + link);
      await expect(alert).toContainText(words);
    }

    // Everybody else has come by one of these origins, and need not know the others.
    const share = async (headers: Record<string, string>): Promise<unknown> =>
      (await fetch(`${edge.url}/api/share`, { headers })).json();
    const address = { "cf-connecting-ip": "192.168.1.77" };
    expect(await share({ ...address, [FRONT.header]: FRONT.value })).toEqual({ origins: [] });
    // Only the front is believed, and no other program of this machine.
    for (const claim of [{ ...address, [FRONT.header]: "a guess" }, address, { "x-forwarded-for": "192.168.1.77" }])
      expect(await share(claim)).toEqual({ origins: ORIGINS });
  } finally {
    await edge.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  }
});

test("a server that nobody else can reach says how it is shared", async ({ page, stage }) => {
  await page.goto(`${stage.url}/rounds`);
  await page.getByRole("button", { name: "Invite players" }).click();
  await expect(page.getByRole("dialog")).toContainText("npm start -- --share");
  await expect(page.getByRole("dialog").getByRole("img")).toHaveCount(0);
});
