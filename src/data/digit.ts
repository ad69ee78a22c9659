/**
 * Drawn digits as MNIST lays them out (LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist): "size normalized to fit in a 20x20 pixel
 * box while preserving their aspect ratio", with grey levels from the anti-aliasing of that, then centred "by computing the center of
 * mass of the pixels, and translating the image so as to position this point at the center of the 28x28 field".
 */
const [MNIST_SIDE, MNIST_BOX] = [28, 20];
/** Where the centre of mass comes to lie, in pixels from the first: that of MNIST's digits is there to within half a pixel. */
const MNIST_MIDDLE = 14;
/** Ink that is fainter is none. */
const FAINT = 32;
/** Ink of a picture that is weaker than this share of its strongest is paper, or a shadow. */
const SHADOW = 0.35;
/** A picture whose strongest ink is no more than this away from its paper shows nothing. */
const FLAT = 40;

/** Levels from 0 to 255, row by row. */
export interface Levels {
  levels: Uint8Array;
  width: number;
  height: number;
}

/**
 * A digit, or whatever else was drawn, of any size, anywhere, as 28 x 28 levels, or as a larger or smaller square with the same margins.
 * @param ink 255 where there is ink, 0 where there is none
 * @returns null where there is no ink
 */
export function asDigit(ink: Levels, side = MNIST_SIDE): Uint8Array<ArrayBuffer> | null {
  const box = boxOf(ink);
  if (!box) return null;
  const middle = (MNIST_MIDDLE * side) / MNIST_SIDE;
  const scale = Math.round((MNIST_BOX * side) / MNIST_SIDE) / Math.max(box.width, box.height);
  const width = Math.max(1, Math.round(box.width * scale));
  const height = Math.max(1, Math.round(box.height * scale));
  const small = resized(ink, box, width, height);
  let [mass, across, down] = [0, 0, 0];
  small.forEach((level, i) => {
    mass += level;
    across += level * (i % width);
    down += level * Math.floor(i / width);
  });
  // A digit with nearly all of its ink at one end still lies within the picture.
  const place = (centre: number, size: number): number =>
    Math.max(0, Math.min(side - size, Math.round(middle - centre / mass)));
  const [left, top] = [place(across, width), place(down, height)];
  const digit = new Uint8Array(side * side);
  small.forEach((level, i) => {
    digit[(top + Math.floor(i / width)) * side + left + (i % width)] = Math.round(level);
  });
  return digit;
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The smallest box around all ink. */
function boxOf({ levels, width }: Levels): Box | null {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  levels.forEach((level, i) => {
    if (level < FAINT) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  });
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** What lies in a box in another size: each pixel is the mean of what it covers. */
function resized({ levels, width: across }: Levels, box: Box, width: number, height: number): Float64Array {
  const out = new Float64Array(width * height);
  const columns = coverage(box.width, width);
  coverage(box.height, height).forEach((rows, y) => {
    columns.forEach((cells, x) => {
      let sum = 0;
      for (const [row, tall] of rows) {
        for (const [column, wide] of cells) {
          sum += tall * wide * (levels[(box.y + row) * across + box.x + column] ?? 0);
        }
      }
      out[y * width + x] = sum;
    });
  });
  return out;
}

/** Of `from` pixels in a row, those that each of `to` covers, with the share of it that each makes up. */
function coverage(from: number, to: number): [number, number][][] {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [start, end] = [i * step, (i + 1) * step];
    const cells: [number, number][] = [];
    for (let at = Math.floor(start); at < Math.min(from, Math.ceil(end)); at++) {
      const share = (Math.min(end, at + 1) - Math.max(start, at)) / step;
      if (share > 0) cells.push([at, share]);
    }
    return cells;
  });
}

/**
 * What is ink in a picture: whatever differs from its paper, which is the middle one of the levels along its border. Dark on light and
 * light on dark are the same.
 * @returns null where nothing stands out
 */
export function inkOf({ levels, width, height }: Levels): Levels | null {
  const border = levels.filter((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  const paper = border.sort()[border.length >> 1] ?? 0;
  const apart = Float64Array.from(levels, (level) => Math.abs(level - paper));
  const most = apart.reduce((a, b) => Math.max(a, b), 0);
  if (most < FLAT) return null;
  const ink = Uint8Array.from(apart, (one) => Math.max(0, Math.round((255 * (one / most - SHADOW)) / (1 - SHADOW))));
  return { levels: ink, width, height };
}
