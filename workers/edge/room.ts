/** Bytes of updates that an isolate keeps in memory from their upload until they are added to their sum. */
const MOST_BYTES = 16_000_000;
/** An update of more bytes is never kept: it is read from the store again, a megabyte at a time. */
const MOST_EACH = 4_000_000;

let taken = 0;

/** Room for an update's numbers. @returns what gives it back; undefined where there is none left, or the update is too large */
export function takeRoom(bytes: number): (() => void) | undefined {
  if (bytes > MOST_EACH || taken + bytes > MOST_BYTES) return undefined;
  taken += bytes;
  let given = false;
  return () => {
    if (!given) taken -= bytes;
    given = true;
  };
}
