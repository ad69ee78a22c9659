import { beforeEach, expect, test, vi } from "vitest";
import { lacking } from "./support";

/** What Node has not, and every browser here has. */
beforeEach(() => {
  vi.stubGlobal(
    "Element",
    class {
      checkVisibility(): boolean {
        return true;
      }
    },
  );
  vi.stubGlobal("CanvasRenderingContext2D", { prototype: { roundRect: () => undefined } });
  vi.stubGlobal("isSecureContext", true);
});

test("a browser without one newer part of the platform, or at an address that is not secure, is told what it lacks", () => {
  expect(lacking()).not.toContain("modern");
  expect(lacking()).not.toContain("secureContext");
  vi.stubGlobal("isSecureContext", false);
  expect(lacking()).toContain("secureContext");
  // As in Safari 17.3.
  vi.stubGlobal(
    "AbortSignal",
    Object.assign(() => undefined, { timeout: 0, abort: 0, prototype: AbortSignal.prototype }),
  );
  expect(lacking()).toContain("modern");
});
