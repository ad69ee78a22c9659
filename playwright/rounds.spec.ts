import type { Page } from "@playwright/test";
import { DEFAULT_ROUND } from "../src/federation/default-round";
import { violationsOf } from "./accessible";
import { collectFaces, expect, openCamera, playTake, test } from "./stage";

// A colour on its way to the other theme is no colour to judge.
test.use({ contextOptions: { reducedMotion: "reduce" } });

/** Nothing that axe knows is wrong, in either theme. */
async function expectAccessible(page: Page, what: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    expect(await violationsOf(page), `${what}, ${colorScheme}`).toEqual([]);
  }
}

test("runs side by side, one client, and every page with something on it, for everybody to read", async ({
  page,
  context,
  stage,
}) => {
  await page.addInitScript(() => localStorage.setItem("best-actor-task", "expressions-compact"));
  await collectFaces(page, stage.url, 5);
  await openCamera(page, stage.url);
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
  await rounds.goto(`${stage.url}/rounds?task=expressions-compact&view=round`);
  await page.goto(`${stage.url}/train`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  for (const [run, learningRate] of [0.001, 0.002].entries()) {
    const started = await fetch(`${stage.url}/api/tasks/expressions-compact/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${stage.adminToken}` },
      body: JSON.stringify({ ...DEFAULT_ROUND, goalCount: 1, selectionSeconds: 0, rounds: 2, epochs: 1, learningRate }),
    });
    expect(started.status).toBe(201);
    await expect(rounds.getByRole("heading", { name: `Round ${2 * run + 2}`, exact: true })).toBeVisible();
    await expect(rounds.getByTestId("round-state")).toHaveText("published");
  }
  await expectAccessible(page, "training");

  const go = (name: string): Promise<void> => rounds.getByRole("link", { name, exact: true }).click();
  for (const view of ["Overview", "Round", "Clients", "Versions", "Privacy"]) {
    await go(view);
    await expect(rounds.getByRole("heading", { level: 2 }).first()).toBeVisible();
    await expectAccessible(rounds, view);
  }
  await go("Compare");
  const runs = rounds.getByRole("region", { name: "Runs" });
  await runs.getByRole("checkbox", { name: "Rounds 1 to 2" }).check();
  await runs.getByRole("checkbox", { name: "Rounds 3 to 4" }).check();
  await expect(runs.getByRole("img", { name: "Training loss by round of the run" })).toBeVisible();
  await expect(runs.getByRole("row", { name: /Rounds 3 to 4 E = 1, B = 5, rate 0.002/ })).toBeVisible();
  await expectAccessible(rounds, "the comparison");
  await go("Clients");
  await rounds.getByRole("button", { name: /^Look at client/ }).click();
  const client = rounds.getByRole("dialog", { name: /^Client/ });
  await expect(client.getByText("Its update is part of the mean.")).toBeVisible();
  await expect(client.getByRole("row", { name: /^Examples it trained on (4 4|5 5)$/ })).toBeVisible();
  await expectAccessible(rounds, "one client");
  await client.getByRole("button", { name: "Close" }).click();
  await go("Wall view");
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
  await page.getByRole("button", { name: "Start a round" }).click();
  await page.getByText("Expert: all settings").click();
  await page.getByRole("dialog").getByText("Privacy", { exact: true }).click();
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

test("task, round and view stand in the address, and a round that was started is what one sees", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/rounds`);
  await page.getByLabel("Task and model").selectOption("expressions-compact");
  await expect(page).toHaveURL(/\/rounds\?task=expressions-compact$/);
  await expect(page.getByText("No round yet")).toBeVisible();
  const drawer = page.getByRole("dialog", { name: "Start rounds" });
  const open = async (): Promise<void> => page.getByRole("button", { name: "Start a round" }).click();
  const heading = page.getByRole("heading", { level: 2 }).first();

  await open();
  await drawer.getByLabel("Begin with").selectOption({ label: "A room: twenty players, ten rounds" });
  await expect(drawer.getByLabel("Goal count")).toHaveValue("20");
  await drawer.getByText("Expert: all settings").click();
  await drawer.getByLabel("Look for a setting").fill("gradient norm");
  await expect(drawer.getByLabel("Gradient clip")).toBeVisible();
  await expect(drawer.getByLabel("Epochs E")).toHaveCount(0);
  await drawer.getByLabel("Look for a setting").fill("maxUpdateNorm");
  await expect(drawer.getByLabel("Largest update")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(drawer).toBeVisible();
  // What is wrong and folded away is shown, and not only refused.
  await drawer.getByLabel("Largest update").fill("-1");
  await drawer.getByLabel("Look for a setting").fill("epochs");
  await drawer.getByLabel("Epochs E").fill("0");
  await drawer.getByText("Expert: all settings").click();
  await drawer.getByLabel("Admin token").fill(stage.adminToken);
  await page.keyboard.press("Enter");
  await expect(drawer.getByLabel("Epochs E")).toBeVisible();
  await expect(drawer).toBeVisible();
  await drawer.getByLabel("Epochs E").fill("2");
  await drawer.getByText("Server strategy").click();
  await drawer.getByLabel("Largest update").fill("0.02");
  // What was typed is there again when the drawer was closed by mistake.
  await page.keyboard.press("Escape");
  await expect(drawer).toBeHidden();
  await open();
  await expect(drawer.getByLabel("Goal count")).toHaveValue("20");
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    expect(await violationsOf(page, "dialog[open]")).toEqual([]);
  }
  await drawer.getByLabel("Admin token").press("Enter");
  await expect(heading).toHaveText("Round 1");
  await expect(page).toHaveURL(/task=expressions-compact&view=round$/);
  await expect(page.getByTestId("round-state")).toHaveText("selecting");

  await page.getByRole("button", { name: "Stop the round" }).click();
  const stop = page.getByRole("dialog", { name: "Round 1 is under way" });
  await stop.getByRole("button", { name: "Stop the round" }).click();
  await expect(page.getByText("Round 1 was stopped.")).toBeVisible();
  await drawer.getByRole("button", { name: "Start rounds" }).click();
  await expect(heading).toHaveText("Round 2");

  await page.getByRole("link", { name: "Earlier: round 1" }).click();
  await expect(heading).toHaveText("Round 1");
  await expect(page).toHaveURL(/view=round&round=1$/);
  await page.getByRole("link", { name: "Clients", exact: true }).click();
  await expect(heading).toHaveText("The cohort of round 1");
  await page.goBack();
  await expect(heading).toHaveText("Round 1");
  await page.goBack();
  await expect(heading).toHaveText("Round 2");
  await page.goForward();
  await page.goForward();
  await expect(heading).toHaveText("The cohort of round 1");
  await page.reload();
  await expect(heading).toHaveText("The cohort of round 1");
  // The wall shows the task that was chosen, and leads back to it.
  await page.getByRole("link", { name: "Wall view" }).click();
  await expect(page.getByRole("dialog").getByText("expressions-compact")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(/task=expressions-compact$/);
});

test("without a connection the last known state stays, with its time, also when the page is loaded anew", async ({
  page,
  context,
  stage,
}) => {
  await fetch(`${stage.url}/api/tasks/expressions-compact/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${stage.adminToken}` },
    body: JSON.stringify(DEFAULT_ROUND),
  });
  await page.goto(`${stage.url}/rounds?task=expressions-compact`);
  await expect(page.getByText("Waiting for clients")).toBeVisible();
  await context.setOffline(true);
  await expect(page.getByRole("status").filter({ hasText: "Connection lost" })).toContainText(/how it was on .*\d/);
  await expect(page.getByText("Waiting for clients")).toBeVisible();
  await context.setOffline(false);
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  // The page comes from its cache then; here only the edge's interface is away.
  await context.routeWebSocket(/\/live$/, (socket) => socket.close());
  await page.reload();
  await expect(page.getByRole("status").filter({ hasText: "Connection lost" })).toContainText(/how it was on .*\d/);
  await expect(page.getByText("Waiting for clients")).toBeVisible();
});

test("what happened can be filtered and linked, notes stand with their run, and only an administrator writes", async ({
  page,
  stage,
}) => {
  const rounds = `${stage.url}/api/tasks/expressions-compact/rounds`;
  const headers = { authorization: `Bearer ${stage.adminToken}` };
  const start = (): Promise<Response> =>
    fetch(rounds, { method: "POST", headers, body: JSON.stringify({ ...DEFAULT_ROUND, goalCount: 2 }) });
  await start();
  await page.goto(`${stage.url}/rounds?task=expressions-compact&view=events`);
  const events = page.getByRole("list", { name: "What happened" }).getByRole("listitem");
  await expect(events).toHaveCount(1);
  // Live.
  await fetch(`${rounds}/current`, { method: "DELETE", headers });
  await expect(events).toHaveCount(2);
  await expect(events.first()).toContainText("Abandoned Round 1 Stopped by the administrator.");
  await start();
  await expect(events).toHaveCount(3);
  await expectAccessible(page, "the events");
  await page.getByLabel("Kind").selectOption({ label: "What went wrong" });
  await expect(events).toHaveCount(1);
  await expect(page).toHaveURL(/view=events&kind=problems$/);
  await events.getByRole("link").first().click();
  await expect(page).toHaveURL(/kind=problems&event=2$/);
  await page.reload();
  await expect(events.locator("[aria-current=true]")).toBeVisible();
  await page.goBack();
  await page.goBack();
  await expect(events).toHaveCount(3);
  await page.getByLabel("Look for").fill("administrator 1");
  await expect(events).toHaveCount(1);

  const alerts = page.getByRole("region", { name: "Alerts" });
  await alerts.getByLabel("Webhook").fill("https://127.0.0.1/hook");
  await alerts.getByLabel("Admin token").fill(stage.adminToken);
  await alerts.getByRole("button", { name: "Tell this address" }).click();
  await expect(alerts.getByRole("alert")).toContainText("not an https:// address");
  await alerts.getByLabel("Webhook").fill("https://hooks.example.org/x");
  await alerts.getByRole("button", { name: "Tell this address" }).click();
  await expect(alerts.getByRole("status")).toHaveText("It is told from now on.");
  await alerts.getByRole("button", { name: "Tell nobody" }).click();
  await expect(alerts.getByRole("status")).toHaveText("Nobody is told any more.");

  await page.getByRole("link", { name: "Round", exact: true }).click();
  const note = page.getByRole("region", { name: "Note" });
  await note.getByText("Write a note").click();
  await note.getByLabel("Words").fill("The lamp is off.");
  await note.getByLabel("Tags").fill("lamp, evening, lamp");
  await note.getByLabel("Admin token").fill("a guess");
  await note.getByRole("button", { name: "Save" }).click();
  await expect(note.getByRole("alert")).toContainText("The admin token is missing or wrong");
  await note.getByLabel("Admin token").fill(stage.adminToken);
  await note.getByRole("button", { name: "Save" }).click();
  await expect(note.getByRole("listitem")).toHaveText(["lamp", "evening"]);
  await expectAccessible(page, "a note");
  await page.getByRole("link", { name: "Compare", exact: true }).click();
  await expect(page.getByRole("row", { name: /Round 2 .*lamp, evening, The lamp is off\./ })).toBeVisible();
});
