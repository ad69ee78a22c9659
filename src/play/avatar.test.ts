import { expect, test } from "vitest";
import { avatarOf, avatarParts, knownAvatar, MASKS, PAINT_NAMES } from "./avatar";
import { nameIn } from "./player.svelte";

const ALL = MASKS.flatMap((mask) => PAINT_NAMES.map((paint) => ({ mask, paint })));

test("every mask is drawn within its square, and none like another", () => {
  for (const parts of ALL.map(avatarParts)) {
    for (const { d, fill, stroke, width } of parts) {
      expect(d).toMatch(/^M[-\d.MLCQAaZ ]+$/);
      expect(d).not.toContain("NaN");
      // Arcs apart, whose numbers are no places.
      for (const place of d.replace(/[Aa][^MLCQZ]*/g, "").match(/-?[\d.]+/g) ?? []) {
        expect(Number(place)).toBeGreaterThanOrEqual(0);
        expect(Number(place)).toBeLessThanOrEqual(200);
      }
      for (const color of [fill, stroke]) if (color !== undefined) expect(color).toMatch(/^#[\da-f]{6}$/);
      expect(fill ?? (stroke && width)).toBeTruthy();
    }
  }
  expect(new Set(ALL.map((avatar) => JSON.stringify(avatarParts(avatar)))).size).toBe(64);
});

test("a name has one mask, and names have all of them", () => {
  const names = Array.from({ length: 1000 }, (_, i) => `Player ${i}`);
  expect(names.map(avatarOf)).toEqual(names.map(avatarOf));
  const found = new Map<string, number>();
  for (const name of names)
    found.set(JSON.stringify(avatarOf(name)), (found.get(JSON.stringify(avatarOf(name))) ?? 0) + 1);
  // Of 1000 a sixty-fourth part is 15.6, with a deviation of 3.9.
  expect(found.size).toBe(64);
  expect(Math.max(...found.values())).toBeLessThan(15.6 + 6 * 3.9);
});

test("what is kept is drawn only where it can be, and a nickname is a short line", () => {
  expect(knownAvatar({ mask: "fox", paint: "teal" })).toEqual({ mask: "fox", paint: "teal" });
  expect(knownAvatar({ mask: "toString", paint: "teal" })).toBeUndefined();
  expect(knownAvatar({ mask: "fox", paint: "__proto__" })).toBeUndefined();
  expect(nameIn("  Sarah\n\t Bernhardt\u202e \u0007")).toBe("Sarah Bernhardt");
  expect(nameIn("🎭".repeat(30))).toBe("🎭".repeat(20));
});
