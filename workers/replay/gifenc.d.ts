/** What we use of gifenc, which has no types of its own. */
declare module "gifenc" {
  type Palette = [red: number, green: number, blue: number][];
  interface FrameOptions {
    palette: Palette;
    /** Milliseconds. */
    delay: number;
  }
  interface Encoder {
    writeFrame(index: Uint8Array, width: number, height: number, options: FrameOptions): void;
    finish(): void;
    bytes(): Uint8Array<ArrayBuffer>;
  }
  export function GIFEncoder(): Encoder;
  /** @param rgba its buffer begins with the picture */
  export function quantize(rgba: Uint8ClampedArray, maxColors: number): Palette;
  export function applyPalette(rgba: Uint8ClampedArray, palette: Palette): Uint8Array;
}
