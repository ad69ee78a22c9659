/** The known word that is closest to a mistyped one, or null where none is near. */
export function nearestOf(typed: string, known: readonly string[]): string | null {
  const [best] = known
    .map((key) => ({ key, distance: editDistance(typed.toLowerCase(), key.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.max(2, best.key.length / 3) ? best.key : null;
}

/** Levenshtein's: the fewest letters to put in, take out or change (Wagner and Fischer 1974). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
