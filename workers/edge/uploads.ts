/** The uploads that are under way. A phone whose connection broke off sends again while the first try still hangs: two, then. */
const MOST_AT_ONCE = 2;

/** Counts the bodies that are being read of each update, so that nobody holds more than a few of them open. */
export class Uploads {
  /** By update: until when each of its uploads may last, by its own name. */
  readonly #open = new Map<string, Map<string, number>>();

  /** @returns the upload's name; undefined where as many of this update are under way as may be */
  begin(update: string, until: number, now: number): string | undefined {
    const uploads = this.#open.get(update) ?? new Map<string, number>();
    for (const [name, end] of uploads) if (end < now) uploads.delete(name);
    if (uploads.size >= MOST_AT_ONCE) return undefined;
    const name = crypto.randomUUID();
    this.#open.set(update, uploads.set(name, until));
    return name;
  }

  end(update: string, name: string): void {
    const uploads = this.#open.get(update);
    uploads?.delete(name);
    if (uploads?.size === 0) this.#open.delete(update);
  }

  /** Forgets all of a task, when none of them can count any more. */
  clear(): void {
    this.#open.clear();
  }
}
