import { expect, test } from "./stage";
import { writeFileSync } from "node:fs";
test("shots", async ({ page, stage }) => {
  const face = Array(2304).fill(7).join(" ");
  const rows = [1, 2, 3, 4, 5, 6, 7].map((l) => `${l},${face}`).join("\n");
  writeFileSync("/tmp/raf.csv", `emotion,pixels\n${rows}\n${rows}\n`);
  for (const [theme, width] of [["light", 1280], ["dark", 390]] as const) {
    await page.emulateMedia({ colorScheme: theme });
    await page.setViewportSize({ width, height: 900 });
    await page.goto(`${stage.url}/lab`);
    await page.getByTestId("lab-files").setInputFiles("/tmp/raf.csv");
    await expect(page.getByRole("form", { name: "What do its labels mean?" })).toBeVisible();
    await page.getByText("Clients and their shares").click();
    await page.getByText("Server, codec and noise").click();
    await page.waitForTimeout(800);
    await page.screenshot({ path: `/tmp/lab-${theme}-${width}.png`, fullPage: true });
  }
});
