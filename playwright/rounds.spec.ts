import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { DEFAULT_ROUND } from "../src/federation/default-round";
import { collectFaces, expect, playTake, test } from "./stage";

// A colour on its way to the other theme is no colour to judge.
test.use({ contextOptions: { reducedMotion: "reduce" } });

/** Nothing that axe knows is wrong, in either theme. */
async function expectAccessible(page: Page, what: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(
      violations.map(({ id, nodes }) => `${what}, ${colorScheme}: ${id}: ${nodes.map(({ html }) => html).join(" | ")}`),
    ).toEqual([]);
  }
}

test("runs side by side, one client, and every page with something on it, for everybody to read", async ({
  page,
  context,
  stage,
}) => {
  await page.addInitScript(() => localStorage.setItem("best-actor-task", "expressions-compact"));
  await collectFaces(page, stage.url, 5);
  await playTake(page);
  await page.getByRole("button", { name: "Share…" }).click();
  await expectAccessible(page, "sharing");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "How to play" }).click();
  await expectAccessible(page, "the tutorial");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Settings" }).click();
  await expectAccessible(page, "the settings");
  await page.keyboard.press("Escape");
  await page.goto(`${stage.url}/faces`);
  await expect(page.getByRole("listitem").first()).toBeVisible();
  await expectAccessible(page, "the gallery");

  const rounds = await context.newPage();
  await rounds.goto(`${stage.url}/rounds?task=expressions-compact`);
  await page.goto(`${stage.url}/train`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  for (const [run, learningRate] of [0.001, 0.002].entries()) {
    const started = await fetch(`${stage.url}/api/tasks/expressions-compact/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${stage.adminToken}` },
      body: JSON.stringify({ ...DEFAULT_ROUND, goalCount: 1, selectionSeconds: 0, rounds: 2, learningRate }),
    });
    expect(started.status).toBe(201);
    await expect(rounds.getByRole("heading", { name: `Round ${2 * run + 2}`, exact: true })).toBeVisible();
    await expect(rounds.getByTestId("round-state")).toHaveText("published");
  }
  await expectAccessible(page, "training");

  const runs = rounds.getByRole("region", { name: "Runs" });
  await runs.getByRole("checkbox", { name: "Rounds 1 to 2" }).check();
  await runs.getByRole("checkbox", { name: "Rounds 3 to 4" }).check();
  await expect(runs.getByRole("img", { name: "Training loss by round of the run" })).toBeVisible();
  await expect(runs.getByRole("row", { name: /Rounds 3 to 4 E = 3, B = 5, rate 0.002/ })).toBeVisible();
  await expectAccessible(rounds, "the rounds");
  await rounds.getByRole("button", { name: /^Look at client/ }).click();
  const client = rounds.getByRole("dialog", { name: /^Client/ });
  await expect(client.getByText("Its update is part of the mean.")).toBeVisible();
  await expect(client.getByRole("row", { name: /^Faces it trained on (4 4|5 5)$/ })).toBeVisible();
  await expectAccessible(rounds, "one client");
  await client.getByRole("button", { name: "Close" }).click();
  await rounds.getByRole("button", { name: "Wall view" }).click();
  await expect(rounds.getByRole("heading", { name: "Round 4" }).first()).toBeVisible();
  await expectAccessible(rounds, "the wall");
  await rounds.keyboard.press("Escape");
  await rounds.goto(`${stage.url}/privacy`);
  await expect(rounds.getByRole("heading", { name: "Your last update" })).toBeVisible();
  await expectAccessible(rounds, "what was sent");
  await rounds.goto(`${stage.url}/progress`);
  await expectAccessible(rounds, "the progress");
});

test("the round form says how much noise an epsilon takes, and takes it", async ({ page, stage }) => {
  await page.goto(`${stage.url}/rounds`);
  await page.getByText("Privacy", { exact: true }).click();
  const planner = page.getByRole("region", { name: "How much noise?" });
  const answer = planner.getByRole("status");
  await expect(answer).toContainText("With 3 clients and 1 round, for epsilon at most 8 at delta 0.00001");
  // dp-accounting says 4.38 of one round of everybody with z = 1.
  await planner.getByLabel("Epsilon at most").fill("4.38");
  await expect(answer).toContainText("z = 1");
  await planner.getByLabel("Clients N").fill("500000");
  await expect(answer).toContainText("With 500,000 clients and 1 round, for epsilon at most 4.38 at delta 1e-7");
  await planner.getByLabel("Epsilon at most").fill("0.001");
  await expect(answer).toContainText("No noise up to 100");
  await planner.getByLabel("Epsilon at most").fill("");
  await expect(answer).toContainText("Say how large epsilon may become.");
  await planner.getByLabel("Epsilon at most").fill("2");
  await planner.getByRole("button", { name: "Take this noise" }).click();
  await expect(page.getByLabel("Noise z")).not.toHaveValue("0");
  await expect(page.getByText(/1 round as set here would bring it to/)).toContainText("epsilon 1.");
  await expect(page.getByRole("alert")).toContainText("Noise is scaled by the update clip");
  await expectAccessible(page, "the planner");
});
