import type { PictureShape } from "../../data/own-labels";
import type { ModelName, ModelSpec, Normalization } from "../../model/model";
import type { RoundConfig } from "../protocol";

/**
 * What a task's examples are, and so how players take them: a face is acted before the camera, a drawing is drawn on a canvas, and a
 * picture is of whatever is held before the camera. Machines without a browser learn any of them from files.
 */
export const EXAMPLE_KINDS = ["face", "drawing", "picture"] as const;
export type ExampleKind = (typeof EXAMPLE_KINDS)[number];

/** A text by language, in BCP 47's tags; English is always there. */
export type Words = Readonly<Record<string, string>> & { readonly en: string };

/** Stands in a question for the label that is asked for. */
export const LABEL_PLACE = "{label}";

/** All there is to say of a task. Its name is its key in the registry, and part of addresses and of what is kept: it never changes. */
export interface TaskDescription {
  /** The network that learns it: one of the registry, fitted to input and labels (network.ts), or the layers of another. */
  model: ModelName | ModelSpec;
  examples: ExampleKind;
  /** One example, of levels from 0 to 255: grey, or red, green and blue of each pixel. */
  input: PictureShape;
  /** How the levels become the network's numbers; nothing: from 0 to 1. */
  normalization?: Normalization;
  /**
   * What is told apart, in the order of the network's classes. The words of the built-in tasks in four languages, and how to act the
   * expressions, stand in src/ui/messages; digits are their own word.
   */
  labels: readonly string[];
  /** What an added task and its labels are called, and what its players are told; the built-in ones have theirs in src/ui/messages. */
  words?: {
    title: Words;
    labels: readonly Words[];
    /** What a player is asked, with {@link LABEL_PLACE} where the label's words go; nothing: as for every task of its kind. */
    ask?: Words;
    /** How to act, draw or hold each label; null where nothing is said of it. */
    how?: readonly (Words | null)[];
  };
  /**
   * The file in `public` that its first version is, unless a deployment says otherwise (INITIAL_CHECKPOINTS); null of an added task, which
   * starts at random until it is given one.
   */
  firstCheckpoint: string | null;
  /** The file in `public` with pictures that rehearse what the base knows (src/model/dreams.ts); null where there are none. */
  dreams: string | null;
  /** In what its rounds differ from the defaults of src/federation/protocol.ts, where nobody says otherwise. */
  defaultRound: Readonly<Partial<RoundConfig>>;
}
