import { dayBefore } from "./daily";

/** The days (yyyy-mm-dd) of a month (yyyy-mm) in weeks that begin on a weekday; null before the first and after the last. */
export function weeksOf(month: string, firstWeekday: number): (string | null)[][] {
  const [year = 0, number = 1] = month.split("-").map(Number);
  const days = new Date(year, number, 0).getDate();
  const before = (new Date(year, number - 1, 1).getDay() - firstWeekday + 7) % 7;
  const cells = Array.from({ length: Math.ceil((before + days) / 7) * 7 }, (_, i) => {
    const day = i - before + 1;
    return day < 1 || day > days ? null : `${month}-${String(day).padStart(2, "0")}`;
  });
  return Array.from({ length: cells.length / 7 }, (_, week) => cells.slice(week * 7, week * 7 + 7));
}

/** The month (yyyy-mm) that is so many after another. */
export function monthAfter(month: string, months: number): string {
  const [year = 0, number = 1] = month.split("-").map(Number);
  const first = new Date(year, number - 1 + months, 1);
  return `${first.getFullYear()}-${String(first.getMonth() + 1).padStart(2, "0")}`;
}

/** On which weekday a week begins where a language is spoken, 0 for Sunday; Monday where the browser does not know. */
export function firstWeekdayOf(language: string): number {
  const locale = new Intl.Locale(language) as Intl.Locale & { getWeekInfo?: () => { firstDay: number } };
  return (locale.getWeekInfo?.().firstDay ?? 1) % 7;
}

/** The most days in a row among some days (yyyy-mm-dd). */
export function longestRun(days: readonly string[]): number {
  const all = new Set(days);
  let longest = 0;
  for (const last of all) {
    let run = 0;
    for (let day = last; all.has(day); day = dayBefore(day)) run += 1;
    longest = Math.max(longest, run);
  }
  return longest;
}
