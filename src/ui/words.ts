/** Numbers as people read them. */

const formats = new Map<string, Intl.NumberFormat>();

/** A way to write numbers: made once, for making one takes longer than using it many times. */
export function numberFormat(language: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify([language, options]);
  const format = formats.get(key) ?? new Intl.NumberFormat(language, options);
  formats.set(key, format);
  return format;
}

/** Thousands of thousands of thousands of thousands: terabytes. */
const LARGEST = 4;

/** Bytes as a number of a decimal unit (0: bytes, 1: thousands, up to 4), and how many digits it is worth behind the point. */
export function scaled(count: number): { value: number; unit: number; digits: 0 | 1 } {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < LARGEST) {
    value /= 1000;
    unit += 1;
  }
  return { value, unit, digits: unit === 0 || value >= 99.5 ? 0 : 1 };
}

export type TimeUnit = "hour" | "minute" | "second";

/** Seconds as whole numbers of the one or two units that people would say: 185 is 3 minutes and 5 seconds. */
export function timeParts(seconds: number): [value: number, unit: TimeUnit][] {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return [[whole, "second"]];
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) {
    return [
      [minutes, "minute"],
      [whole % 60, "second"],
    ];
  }
  return [
    [Math.floor(minutes / 60), "hour"],
    [minutes % 60, "minute"],
  ];
}
