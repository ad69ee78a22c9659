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
