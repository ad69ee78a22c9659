import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";

/**
 * What axe finds wrong with a page: of each broken rule its name and the elements.
 * @param within selects the part that is looked at
 */
export async function violationsOf(page: Page, within?: string): Promise<string[]> {
  // Without a page of its own in which axe would gather what it finds in frames of other origins: there are none, and it takes half the time.
  const axe = new AxeBuilder({ page }).setLegacyMode(true);
  const { violations } = await (within ? axe.include(within) : axe).analyze();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
}
