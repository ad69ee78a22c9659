import { expect, test } from "vitest";
import { settingsOf } from "./kept-settings";

test.each([
  [null, true, "seven"],
  ['{"sound":false,"showLength":"three"}', false, "three"],
  ['{"sound":"no","showLength":"forty","toString":true,"__proto__":{"sound":false}}', true, "seven"],
  ["null", true, "seven"],
  ["[1,2]", true, "seven"],
  ["{", true, "seven"],
])("of what is kept only what a setting may be is taken: %s", (kept, sound, showLength) => {
  const settings = settingsOf(kept);
  expect(settings).toMatchObject({ sound, showLength });
  expect(Object.keys(settings).sort()).toEqual(Object.keys(settingsOf(null)).sort());
});
