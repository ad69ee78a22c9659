import type { Avatar } from "../faces/kept";

/** The masks that a player may wear, by the names of their texts, each drawn by `avatarParts`. */
export const MASKS = ["comedy", "tragedy", "jester", "pierrot", "columbine", "fox", "sun", "demon"] as const;
export type MaskName = (typeof MASKS)[number];

/** What they may be painted in: the paint, and what it is set off with. */
export const PAINTS = {
  gold: ["#ffc93c", "#d8344f"],
  crimson: ["#e2405b", "#ffc93c"],
  rose: ["#ff9dc6", "#7b3fb5"],
  violet: ["#a98bf0", "#ffd166"],
  blue: ["#5ea8f2", "#ff8c61"],
  teal: ["#3fc1ae", "#ffb347"],
  green: ["#9ccc57", "#e2405b"],
  ivory: ["#f6ead8", "#c9364f"],
} as const satisfies Record<string, readonly [string, string]>;
export type Paint = keyof typeof PAINTS;
export const PAINT_NAMES = Object.keys(PAINTS) as Paint[];

/** An avatar whose names are known to be some. */
export interface KnownAvatar {
  mask: MaskName;
  paint: Paint;
}

/** What is kept as an avatar, where it is one that can be drawn: another version may have known other masks. */
export function knownAvatar(kept: Avatar): KnownAvatar | undefined {
  const mask = MASKS.find((one) => one === kept.mask);
  const paint = PAINT_NAMES.find((one) => one === kept.paint);
  return mask && paint && { mask, paint };
}

/** The avatar of whoever has chosen none: it follows from a text, and is the same for the same text on every device. */
export function avatarOf(seed: string): KnownAvatar {
  // FNV-1a over the text's code units, and a last mix (of MurmurHash3), for similar names to have different masks.
  let hash = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = (hash ^ (hash >>> 13)) >>> 0;
  const mask = MASKS[hash % MASKS.length] ?? "comedy";
  return { mask, paint: PAINT_NAMES[Math.floor(hash / MASKS.length) % PAINT_NAMES.length] ?? "gold" };
}

/** A piece of a mask on a square of 200: SVG path data, filled or stroked or both. */
export interface Part {
  d: string;
  fill?: string;
  stroke?: string;
  width?: number;
}

const INK = "#21101a";
const IVORY = "#fff6e9";
const IVORY_SHADE = "#e8d8c4";

/** The path and its image in the mirror x = 100; of absolute commands with pairs of coordinates only. */
const both = (d: string): string =>
  `${d} ${d.replace(/(-?[\d.]+) (-?[\d.]+)/g, (_, x: string, y: string) => `${200 - Number(x)} ${y}`)}`;

const ellipse = (x: number, y: number, rx: number, ry = rx): string =>
  `M${x - rx} ${y} a${rx} ${ry} 0 1 0 ${2 * rx} 0 a${rx} ${ry} 0 1 0 ${-2 * rx} 0Z`;

/** The right side of an ellipse. */
const crescent = (x: number, y: number, rx: number, ry = rx): string =>
  `M${x} ${y - ry} A${rx} ${ry} 0 0 1 ${x} ${y + ry} A${rx * 0.62} ${ry} 0 0 0 ${x} ${y - ry}Z`;

/** A star's outline about the middle of the square. */
function star(points: number, outer: number, inner: number): string {
  const corners = Array.from({ length: 2 * points }, (_, i) => {
    const [angle, radius] = [(Math.PI * i) / points, i % 2 === 0 ? outer : inner];
    return `${(100 + radius * Math.sin(angle)).toFixed(1)} ${(100 - radius * Math.cos(angle)).toFixed(1)}`;
  });
  return `M${corners.join("L")}Z`;
}

/** A colour between two, each written #rrggbb. @param share of the second */
function mix(a: string, b: string, share: number): string {
  const channel = (at: number): string => {
    const [x, y] = [Number.parseInt(a.slice(at, at + 2), 16), Number.parseInt(b.slice(at, at + 2), 16)];
    return Math.round(x + (y - x) * share)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}

interface Colors {
  paint: string;
  shade: string;
  light: string;
  accent: string;
}

const line = (d: string, width = 7): Part => ({ d, stroke: INK, width });
const ink = (d: string): Part => ({ d, fill: INK });
/** A piece with an outline. */
const piece = (d: string, fill: string, width = 5): Part => ({ d, fill, stroke: INK, width });

/** A piece with one side in the shade, under its outline. */
const shaded = (d: string, fill: string, side: string, shade: string): Part[] => [
  { d, fill },
  { d: side, fill: shade },
  { d, stroke: INK, width: 5 },
];

const SHIELD = "M22 42 C48 20 76 32 100 32 C124 32 152 20 178 42 C188 104 166 162 100 192 C34 162 12 104 22 42Z";
const SHIELD_SIDE =
  "M100 32 C124 32 152 20 178 42 C188 104 166 162 100 192 C142 152 148 84 128 34 C118 33 109 32 100 32Z";

/** The mask of the Greek stage. */
const shield = ({ paint, shade }: Colors): Part[] => shaded(SHIELD, paint, SHIELD_SIDE, shade);

const DRAWN: Record<MaskName, (colors: Colors) => Part[]> = {
  comedy: (colors) => [
    ...shield(colors),
    line(both("M40 76 Q60 54 84 70")),
    ink(both("M40 104 Q60 70 86 104 Q62 88 40 104Z")),
    { d: `${ellipse(50, 120, 11, 8)} ${ellipse(150, 120, 11, 8)}`, fill: colors.accent },
    line("M90 112 Q100 122 110 112", 5),
    ink("M46 128 Q100 146 154 128 Q146 178 100 178 Q54 178 46 128Z"),
    { d: "M55 134 Q100 149 145 134 L141 146 Q100 159 59 146Z", fill: IVORY },
    { d: "M72 168 Q100 150 128 168 Q114 178 100 178 Q86 178 72 168Z", fill: colors.accent },
  ],
  tragedy: (colors) => [
    ...shield(colors),
    line(both("M38 88 Q58 78 82 56")),
    ink(both("M36 106 Q58 84 86 92 Q84 114 62 116 Q46 116 36 106Z")),
    line("M88 124 Q100 132 112 124", 5),
    ink("M62 168 Q66 136 100 136 Q134 136 138 168 Q120 150 100 150 Q80 150 62 168Z"),
    piece("M56 116 Q72 138 58 148 Q42 142 56 116Z", "#8fd8ff", 3.5),
  ],
  jester: ({ paint, shade, accent, light }) => [
    piece("M100 84 C86 44 54 40 40 100 C10 90 8 34 52 28 C84 24 98 52 100 84Z", paint),
    piece("M100 84 C114 44 146 40 160 100 C190 90 192 34 148 28 C116 24 102 52 100 84Z", accent),
    piece("M66 80 C64 46 90 30 100 14 C110 30 136 46 134 80Z", light),
    ...[
      [36, 102],
      [164, 102],
      [100, 15],
    ].map(([x = 0, y = 0]) => piece(ellipse(x, y, 11), "#ffd54f", 4)),
    ...shaded(ellipse(100, 130, 56, 60), IVORY, crescent(100, 130, 56, 60), IVORY_SHADE),
    piece("M42 100 Q100 56 158 100 L153 116 Q100 76 47 116Z", shade),
    { d: both("M74 100 L86 124 L74 148 L62 124Z"), fill: accent },
    ink(`${ellipse(74, 124, 8, 10)} ${ellipse(126, 124, 8, 10)}`),
    piece(ellipse(100, 142, 8), accent, 4),
    line("M64 152 Q100 190 136 152", 6),
  ],
  pierrot: ({ paint, shade, accent }) => [
    ...shaded(ellipse(100, 104, 68, 80), IVORY, crescent(100, 104, 68, 80), IVORY_SHADE),
    piece("M31 100 C28 2 172 2 169 100 C142 58 58 58 31 100Z", paint),
    { d: "M100 30 C118 30 134 36 146 50", stroke: shade, width: 7 },
    line(both("M54 88 Q68 72 88 82"), 5),
    line(both("M70 94 L70 130"), 4),
    ink(`${ellipse(70, 111, 10, 12)} ${ellipse(130, 111, 10, 12)}`),
    piece("M62 130 Q76 150 62 160 Q48 152 62 130Z", accent, 3.5),
    ink("M84 146 Q92 138 100 144 Q108 138 116 146 Q100 164 84 146Z"),
    piece(
      "M22 176 Q40 146 61 170 Q80 146 100 172 Q120 146 139 170 Q160 146 178 176 Q156 198 100 198 Q44 198 22 176Z",
      paint,
    ),
    line("M61 172 L64 190 M100 174 L100 196 M139 172 L136 190", 4),
  ],
  columbine: ({ paint, shade, accent, light }) => [
    piece(both("M86 92 C58 74 34 54 30 14 C66 26 88 56 96 88Z"), light),
    piece("M100 92 C70 62 72 26 100 2 C128 26 130 62 100 92Z", accent),
    line("M100 20 L100 70", 4),
    line(both("M46 32 Q66 54 82 78"), 4),
    {
      d: "M8 92 C40 72 78 76 100 94 C122 76 160 72 192 92 C190 136 162 164 128 152 C114 146 110 130 100 130 C90 130 86 146 72 152 C38 164 10 136 8 92Z",
      fill: paint,
    },
    {
      d: "M192 92 C190 136 162 164 128 152 C122 150 118 144 114 138 C150 148 176 124 178 88 C183 89 188 90 192 92Z",
      fill: shade,
    },
    line(
      "M8 92 C40 72 78 76 100 94 C122 76 160 72 192 92 C190 136 162 164 128 152 C114 146 110 130 100 130 C90 130 86 146 72 152 C38 164 10 136 8 92Z",
      6,
    ),
    ink(both("M28 110 Q58 84 86 116 Q58 142 28 110Z")),
    ...[26, 46, 66, 134, 154, 174].map((x) => ({ d: ellipse(x, 92 + Math.abs(x - 100) * -0.06, 3.5), fill: IVORY })),
    piece("M100 92 L112 108 L100 124 L88 108Z", accent, 4),
    piece("M72 176 Q88 162 100 170 Q112 162 128 176 Q100 200 72 176Z", accent, 4),
    line("M74 176 Q100 180 126 176", 3),
  ],
  fox: ({ paint, shade, accent }) => [
    piece(both("M22 12 C52 20 80 44 90 72 L32 104 C20 72 16 40 22 12Z"), paint),
    { d: both("M34 32 C52 42 66 56 74 72 L44 90 C36 70 32 50 34 32Z"), fill: accent },
    ...shaded(
      "M16 102 C44 52 156 52 184 102 C176 138 140 160 100 194 C60 160 24 138 16 102Z",
      paint,
      "M134 69 C158 76 176 90 184 102 C176 138 140 160 100 194 C140 152 154 110 134 69Z",
      shade,
    ),
    piece(both("M24 118 C56 116 84 138 100 192 C62 162 36 144 24 118Z"), IVORY, 4),
    ink(both("M40 98 Q68 88 90 116 Q60 124 40 98Z")),
    { d: "M100 64 Q114 84 100 106 Q86 84 100 64Z", fill: accent },
    line(both("M62 78 Q74 74 84 84"), 5),
    ink("M86 164 Q100 152 114 164 Q108 182 100 184 Q92 182 86 164Z"),
    line(both("M52 142 L22 146"), 4),
    line(both("M58 154 L32 166"), 4),
  ],
  sun: ({ paint, shade, accent, light }) => [
    piece(star(12, 97, 66), accent),
    ...shaded(ellipse(100, 100, 66), paint, crescent(100, 100, 66), shade),
    { d: ellipse(68, 68, 13, 7), fill: light },
    line(both("M56 82 Q70 70 86 80"), 6),
    ink(both("M54 100 Q70 84 88 100 Q72 112 54 100Z")),
    line("M102 88 Q90 114 100 120 L108 120", 5),
    { d: `${ellipse(58, 122, 9, 6)} ${ellipse(142, 122, 9, 6)}`, fill: accent },
    line("M70 132 Q100 160 130 132", 7),
  ],
  demon: ({ paint, shade, accent }) => [
    piece(both("M50 70 C24 52 16 24 30 2 C40 28 62 36 88 46Z"), IVORY),
    ...shaded(
      "M20 92 C20 36 180 36 180 92 C190 138 160 194 100 196 C40 194 10 138 20 92Z",
      paint,
      "M148 58 C170 66 180 78 180 92 C190 138 160 194 100 196 C152 176 172 110 148 58Z",
      shade,
    ),
    line(both("M84 62 Q92 72 94 84"), 5),
    ink(both("M28 76 Q62 66 94 104 Q64 96 34 98Z")),
    piece(both("M40 106 Q62 94 88 112 Q64 132 40 106Z"), "#ffe9a8", 4),
    ink(`${ellipse(66, 111, 7)} ${ellipse(134, 111, 7)}`),
    piece("M76 134 Q88 116 100 120 Q112 116 124 134 Q112 144 100 138 Q88 144 76 134Z", accent, 4),
    ink("M42 150 Q100 140 158 150 Q150 186 100 188 Q50 186 42 150Z"),
    { d: "M74 148 L126 148 L122 158 Q100 162 78 158Z", fill: IVORY },
    piece(both("M54 180 L60 138 L74 178Z"), IVORY, 4),
  ],
};

/** What a mask is drawn of, from the back to the front. */
export function avatarParts({ mask, paint }: KnownAvatar): Part[] {
  const [color, accent] = PAINTS[paint];
  return DRAWN[mask]({ paint: color, accent, shade: mix(color, INK, 0.2), light: mix(color, IVORY, 0.55) });
}
