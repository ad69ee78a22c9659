import { expect, playTake, openCamera, storedFaces, test } from "./stage";
import { photoPath } from "./webcam";

test("a stranger plays a take with the camera and keeps nothing without consent", async ({ page, stage }) => {
  await page.goto(stage.url);
  await page.getByRole("link", { name: "Play", exact: true }).first().click();
  await openCamera(page, stage.url);
  await playTake(page);
  await page.getByRole("button", { name: "No, just play" }).click();
  await page.getByRole("button", { name: "Next role" }).click();
  await playTake(page);
  expect(await storedFaces(page)).toHaveLength(0);
});

test("a photo stands in for a camera that is denied", async ({ page, stage, context }) => {
  await context.clearPermissions();
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("denied", "NotAllowedError"));
  });
  await page.goto(`${stage.url}/play`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  await expect(page.getByRole("alert")).toContainText("The camera is not allowed");
  await page.getByLabel("No camera? Act in a photo:").setInputFiles(photoPath("sample6.jpg"));
  await expect(page.getByTestId("score")).toBeVisible();
});

test("the page runs its own files only, and talks to its own origin only", async ({ page, stage }) => {
  await page.goto(stage.url);
  const outcome = await page.evaluate(async () => {
    const violations: string[] = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) =>
      violations.push(effectiveDirective),
    );
    const inline = document.createElement("script");
    inline.textContent = "globalThis.intruded = true";
    document.head.append(inline);
    const blob = URL.createObjectURL(new Blob(["globalThis.intruded = true"], { type: "text/javascript" }));
    const script = document.createElement("script");
    script.src = blob;
    document.head.append(script);
    try {
      new Worker(blob);
    } catch {
      // Some browsers throw, some tell it by the event alone.
    }
    const sent = await fetch("https://example.org/", { method: "POST", body: "a face" }).catch(() => undefined);
    const compiled = await WebAssembly.compile(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0])).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    return {
      violations: [...new Set(violations)].sort(),
      intruded: "intruded" in globalThis,
      sent: sent !== undefined,
      compiled: compiled !== undefined,
      isolated: crossOriginIsolated,
    };
  });
  expect(outcome).toEqual({
    violations: ["connect-src", "script-src", "script-src-elem", "worker-src"],
    ...{ intruded: false, sent: false, compiled: false, isolated: true },
  });
});
