import type { PictureShape } from "../../src/data/own-labels";
import type { ModelSpec } from "../../src/model/model";
import type { Rung, Started } from "../tf/rungs";
import type { OwnWeights } from "../trainer/api";

/** A face that was found, in shares of the picture's width and height. */
export interface FaceBox {
  x: number;
  y: number;
  width: number;
  height: number;
  /** 0..1 */
  confidence: number;
  /** Another face is in view: this one is the clearest. */
  hasCompany: boolean;
}

export type Sighting =
  | { face: null }
  | {
      face: FaceBox;
      /** 48 x 48 grey levels, cropped as FER2013 is. */
      pixels: Uint8Array<ArrayBuffer>;
      /** Of the seven expressions; null until a checkpoint is set. */
      probabilities: number[] | null;
    };

/** A picture of whatever is held before the camera, as a task takes it. */
export interface Seen {
  pixels: Uint8Array<ArrayBuffer>;
  shape: PictureShape;
  /** Of the task's labels; null until a checkpoint is set. */
  probabilities: number[] | null;
}

/** What the page can ask of the vision worker. */
export interface VisionApi {
  /** Starts WASM on a rung or one below it. @throws what `startWasm` throws */
  prepare(highest: Rung): Promise<Started>;
  /** Loads the detector, in a worker that is to find faces: one whose name begins with `vision`. */
  start(): Promise<void>;
  /** Takes a checkpoint of a model, a safetensors file, for all later pictures. @returns whether what a strategy has kept plays */
  setCheckpoint(
    model: ModelSpec,
    checkpoint: Uint8Array<ArrayBuffer>,
    /** What of it is this device's own. */
    own?: OwnWeights,
  ): Promise<boolean>;
  /** Finds the clearest face of a picture and classifies it. The bitmap is closed. */
  look(picture: ImageBitmap): Promise<Sighting>;
  /** Lays the largest middle of a picture that has a shape's proportions out in that shape, and classifies it. The bitmap is closed. */
  see(picture: ImageBitmap, shape: PictureShape): Promise<Seen>;
  /** The probabilities of a picture that is laid out as the model's input; null until a checkpoint is set. */
  read(pixels: Uint8Array<ArrayBuffer>): Promise<number[] | null>;
}
