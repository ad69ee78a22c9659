import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";
import { openApi } from "./openapi";

/** In Node, for the validator reads its schemas from disk. */
test("the description is valid OpenAPI 3.1", async () => {
  const { valid, errors } = await new Validator().validate(openApi());
  expect(errors ?? []).toEqual([]);
  expect(valid).toBe(true);
});
