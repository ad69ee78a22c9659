/** Numbers as people read them. */

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Bytes as a number of a decimal unit (0: bytes, 1: thousands, up to 4), and how many digits it is worth behind the point. */
export function scaled(count: number): { value: number; unit: number; digits: 0 | 1 } {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return { value, unit, digits: unit === 0 || value >= 99.5 ? 0 : 1 };
}

/** Bytes on a page in English: `20.4 MB`. */
export function bytes(count: number): string {
  const { value, unit, digits } = scaled(count);
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds as `45 s`, `3 min 05 s` or `2 h 10 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (n: number): string => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** A share of one as whole per cent. */
export const percent = (share: number): string => `${Math.round(share * 100)} %`;
