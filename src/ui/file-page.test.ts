import { expect, test } from "vitest";
import { filePage } from "./file-page";
import { svgChart, ticksOf } from "./svg-chart";

const EVIL = `"'><script>alert(1)</script>&amp;`;
const CHART = {
  label: EVIL,
  rounds: [1, 2, 3],
  axis: EVIL,
  series: [{ name: EVIL, color: EVIL, isDashed: false, values: [0.5, null, 1] }],
  range: [0, 1] as const,
  format: () => EVIL,
};

test("whatever stands in a page is text, in tags and between them, and nothing is loaded", () => {
  const page = filePage({
    language: EVIL,
    direction: "ltr",
    title: EVIL,
    parts: [
      { kind: "text", text: EVIL },
      { kind: "chart", title: EVIL, chart: CHART },
      { kind: "table", caption: EVIL, head: [EVIL, EVIL], rows: [[EVIL, EVIL]] },
      { kind: "code", caption: EVIL, text: EVIL },
    ],
  });
  expect(page).not.toContain("<script");
  // Were one left out, its quote would end the attribute or its bracket the text.
  const written = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;";
  expect(page.replaceAll(written, "")).not.toContain("alert");
  expect(page.split(written).length).toBeGreaterThan(15);
  expect(page).toContain("default-src 'none'");
  expect(page).not.toMatch(/\b(src|href|srcdoc)=|url\(|@import/);
});

test("a chart's lines go through its values, pass over what is missing, and stay within it", () => {
  const line = (values: (number | null)[]) => [{ name: "a", color: "red", isDashed: false, values }];
  const plain = { label: "accuracy", rounds: [1, 2, 3], axis: "round", format: String };
  const svg = svgChart({ ...plain, range: [0, 1], series: line([0.5, null, 1]) });
  const [, points = ""] = /<polyline points="([^"]+)"/.exec(svg) ?? [];
  // 640 x 280 with its margins: the first round at 64, the last at 626; 0 at 228, 1 at 12.
  expect(points).toBe("64.0,120.0 626.0,12.0");
  const flat = svgChart({ ...plain, series: line([2, 2, 2]) });
  expect(flat).toContain('points="64.0,120.0 345.0,120.0 626.0,120.0"');
  expect(flat).not.toContain("NaN");
});

test.each([
  [0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0.93, 2.31, [1, 1.5, 2]],
  [1, 12, [5, 10]],
  [1, 2, [1, 1.2, 1.4, 1.6, 1.8, 2]],
  [1, 300, [100, 200, 300]],
])("ticks from %d to %d are round numbers", (least, most, expected) => {
  expect(ticksOf(least, most)).toEqual(expected);
});
