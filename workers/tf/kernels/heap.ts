const PAGE = 65_536;
/** What the kernels' vectors lie best at. */
const STEP = 16;
/** Pages that lld gives the module at least. */
const INITIAL_PAGES = 16;

interface Block {
  start: number;
  end: number;
}

/**
 * Buffers in a memory of their own for the kernels: the first gap that is large enough is taken, and the memory grows where there
 * is none. Nothing lies at 0, which is null to the kernels.
 */
export class Heap {
  readonly memory = new WebAssembly.Memory({ initial: INITIAL_PAGES });
  /** In their order, with something between each two. */
  readonly #gaps: Block[] = [{ start: STEP, end: INITIAL_PAGES * PAGE }];
  readonly #taken = new Map<number, number>();

  /** Bytes of the whole memory, which never shrinks. */
  get size(): number {
    return this.memory.buffer.byteLength;
  }

  /** Takes so many bytes, of any content. @throws RangeError when the memory can grow no further */
  allocate(bytes: number): number {
    const length = Math.max(STEP, Math.ceil(bytes / STEP) * STEP);
    const gap = this.#gaps.find(({ start, end }) => end - start >= length) ?? this.#grow(length);
    const { start } = gap;
    gap.start += length;
    if (gap.start === gap.end) this.#gaps.splice(this.#gaps.indexOf(gap), 1);
    this.#taken.set(start, start + length);
    return start;
  }

  /** Gives a buffer back. @throws RangeError when nothing was taken at this place */
  free(start: number): void {
    const end = this.#taken.get(start);
    if (end === undefined) throw new RangeError(`Nothing was taken at ${start}.`);
    this.#taken.delete(start);
    const at = this.#gaps.findIndex((gap) => gap.start > start);
    const place = at < 0 ? this.#gaps.length : at;
    const [before, after] = [this.#gaps[place - 1], this.#gaps[place]];
    const joined: Block = {
      start: before?.end === start ? before.start : start,
      end: after?.start === end ? after.end : end,
    };
    const from = before?.end === start ? place - 1 : place;
    const to = after?.start === end ? place + 1 : place;
    this.#gaps.splice(from, to - from, joined);
  }

  /** A view of the numbers at a place, good until something is taken. */
  floats(start: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.memory.buffer, start, length);
  }

  /** Makes the last gap at least so long. */
  #grow(length: number): Block {
    const end = this.size;
    const last = this.#gaps.at(-1);
    const gap = last?.end === end ? last : { start: end, end };
    if (gap !== last) this.#gaps.push(gap);
    this.memory.grow(Math.ceil((length - (gap.end - gap.start)) / PAGE));
    gap.end = this.size;
    return gap;
  }
}
