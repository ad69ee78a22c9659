import type { Rung, Started } from "../../workers/tf/rungs";
import type { Backend } from "../../workers/tf/backend";
import type { Snapshot } from "../../workers/trainer/api";
import type { Assignment } from "../federation/protocol";
import type { TaskName } from "../federation/tasks/registry";
import type { ExampleKind } from "../federation/tasks/task";
import type { SecureClient } from "../federation/secagg/client";
import type { KeptState } from "../federation/strategies/live";
import type { PictureShape } from "../data/own-labels";
import type { Evaluation } from "../model/evaluation";
import type { Label } from "../model/expressions";

/** What is kept on this device, in IndexedDB. Nothing of it is ever uploaded as it is. */

/** A labelled picture that trains or tests. */
export interface Example<L extends number = number> {
  id: number;
  /** Levels, row by row: grey, or red, green and blue of each pixel. */
  pixels: Uint8Array<ArrayBuffer>;
  /** How these are laid out. */
  shape: PictureShape;
  /** What it shows: what the game asked for, until the player says otherwise. */
  label: L;
  /**
   * What its added task called that label when this was said: until a task's first round its labels may be put in another order, or be
   * others. Absent of built-in tasks, whose labels never change, and of what was kept before names were.
   */
  labelName?: string;
  /** What the game asked for. */
  prompted: L;
  /** The added task that it belongs to; absent of faces that show expressions and of digits. */
  task?: TaskName;
  /** The model's, when it was taken. */
  probabilities: number[];
  /** What the take scored, 0 to 100; null where it is not known, as of a task whose model has not been trained yet. */
  score: number | null;
  /** Unix time in milliseconds. */
  capturedAt: number;
  /** What is held out is never trained on; it tells how good a checkpoint is. What is excluded is only kept. */
  split: Split;
  /** Whether the player has still to say what it shows: see labels.ts. */
  needsAnswer: boolean;
  /** The rounds whose update was trained on it. */
  rounds?: { task: TaskName; round: number }[];
}

/** 48 x 48 grey levels of a face before the camera. */
export type Face = Example<Label>;

/** What was drawn, laid out as MNIST's digits are in as many grey levels as its task has: ink is 255. */
export type Drawing = Example;

/** What was held before the camera, in its task's size and colours, not mirrored. It belongs to an added task. */
export type Picture = Example;

export const SPLITS = ["train", "held-out", "excluded"] as const;
export type Split = (typeof SPLITS)[number];

/** What a player may say about an example. */
export type ExampleChange<E extends Example> = Partial<Pick<E, "label" | "split">>;
export type FaceChange = ExampleChange<Face>;

/** A take that is to be kept. Its score is null where no model could judge it: then it shows what it was to show. */
export type NewExample<E extends Example> = Pick<
  E,
  "pixels" | "shape" | "prompted" | "probabilities" | "capturedAt" | "score"
> & {
  /** What the page called the label that it asked for: the task may be described otherwise meanwhile. */
  labelName?: string | undefined;
};
export type NewFace = Omit<NewExample<Face>, "shape" | "score"> & { score: number };

/** Yes and no with the moment they were given; absent while the question was never answered. */
export interface Consent {
  given: boolean;
  at: number;
}

/** The round that this device takes part in, kept so that a reload can go on. */
export interface Participation {
  assignment: Assignment;
  /** Signs what this device sends in the round. */
  key: CryptoKeyPair;
  /** Decides the order of the examples in training. */
  seed: number;
  /** The ids of the examples that it trains on and evaluates on, fixed when it began. */
  train: number[];
  heldOut: number[];
  bytesDown: number;
  snapshot?: Snapshot;
  /** The trained batch normalization, kept once the edge has accepted the update; null where the round averages it. */
  localNorms?: Float32Array<ArrayBuffer> | null;
  /** What a strategy keeps for its next round, once the edge has accepted the update; null where the round has none. */
  kept?: KeptState | null;
  /** The finished update, gzipped or masked, until the edge has accepted it. */
  update?: Uint8Array<ArrayBuffer>;
  /** The secrets of a round with secure aggregation. */
  secure?: SecureClient;
  /** This device has no more part in its round, which is still open. */
  givenUp?: boolean;
  /** What its codec has lost, kept once the edge has accepted it. */
  residual?: Float32Array<ArrayBuffer>;
  /** What the page says about that update. */
  contribution?: Contribution;
}

/** What this device keeps of the rounds of a strategy: its own layers, or vectors as long as a whole model. One of each task. */
export interface ClientState extends KeptState {
  task: TaskName;
  /** The round that it was trained in. */
  round: number;
  /** Unix time in milliseconds. */
  at: number;
  /** Of its vectors together. */
  bytes: number;
}

/** A summary of one update that this device made. */
export interface Contribution {
  round: number;
  examples: number;
  bytes: number;
  /** Of the last epoch. */
  loss: number;
  accuracy: number;
  trainingMs: number;
  backend: Backend;
  /** The held-out faces before and after the training. */
  heldOut: Evaluation;
  heldOutAfter: Evaluation;
}

/** When this device may train, and how. */
export interface Preferences {
  whenHidden: boolean;
  onLowBattery: boolean;
  onDataSaver: boolean;
  /** Keep the screen on during a training. */
  keepAwake: boolean;
}

/** One judged take of the person whose device this is. No picture belongs to it. */
export interface Take {
  id: number;
  /** Unix time in milliseconds. */
  at: number;
  prompt: Label;
  /** 0 to 100. */
  score: number;
  /** The show that it was part of. */
  show?: string;
  /** How hard the jury was to please; normal where nothing is said, as of takes from before there were levels. */
  level?: Level;
}

/** How hard the jury is to please. */
export type Level = "easy" | "normal" | "hard";

/** What this browser has shown of how it computes. */
export interface Learned {
  /** The browser and version of which it holds: another one is asked anew. */
  agent: string;
  /** Rungs that did not answer or broke, and why, in the machinery's words. */
  failed: { rung: Rung; why: string }[];
  /** The last start. */
  started?: Started;
}

/** What this device has sent of one kind, since the log began. */
export interface SentKind {
  times: number;
  bytes: number;
  /** Unix time in milliseconds. */
  last: number;
}

export type SentName = "check-in" | "update" | "secure" | "evaluation" | "admin";
export type SentLog = Partial<Record<SentName, SentKind>>;

/** The last update that this device has sent, as it went over the wire. */
export interface LastUpdate {
  task: TaskName;
  round: number;
  /** Its id at the edge, under which it can be taken back. */
  id: string;
  /** The key that it was signed with, which alone may take it back. */
  key: CryptoKeyPair;
  at: number;
  bytes: number;
  codec: string;
  isMasked: boolean;
  /** Its first bytes, as they were sent. */
  head: Uint8Array<ArrayBuffer>;
}

/** Who this device is to the edge while one round is open. Another round gets another key, so that nothing links the two. */
export interface Identity {
  task: TaskName;
  /** Null while no round is known to be open. */
  round: number | null;
  key: CryptoKeyPair;
}

/** A drawn mask, by the names of its parts: what they look like the game knows. */
export interface Avatar {
  mask: string;
  paint: string;
}

/** How the player is called on this device, and what mask they wear: neither is ever sent. */
export interface Player {
  /** Empty where they have chosen none. */
  nickname: string;
  /** Null where they have chosen none. */
  avatar: Avatar | null;
}

export interface Settings {
  /** To keep faces, drawings, and pictures: each is asked for by itself. */
  consent: Consent;
  drawingConsent: Consent;
  pictureConsent: Consent;
  /** The key that signs this device's requests while one round is open, and that round. */
  identity: Identity;
  participation: Participation;
  /** True while the player takes part in rounds. */
  takingPart: boolean;
  preferences: Preferences;
  /** This device's own batch normalization, by task, where its last round kept it local. */
  localNorms: Partial<Record<TaskName, Float32Array<ArrayBuffer>>>;
  /** What the codecs of this device's updates have lost so far, by task: sent with a later one. */
  residuals: Partial<Record<TaskName, Float32Array<ArrayBuffer>>>;
  /** What this device has sent, and its last update. */
  sent: SentLog;
  lastUpdate: LastUpdate;
  /** What the player wants to train on; absent for what the probe says. */
  backend: Backend;
  /** The faster backend that is right, once probed. */
  probedBackend: { agent: string; backend: Backend };
  /** What this browser has shown of how it computes. */
  ladder: Learned;
  player: Player;
}

/** The consent to keep each kind. */
export const CONSENT_KEYS = {
  face: "consent",
  drawing: "drawingConsent",
  picture: "pictureConsent",
} as const satisfies Record<ExampleKind, keyof Settings>;

/** Settings that trainings have left and that are made of examples, by task, beside client states and an update under way. */
export const MADE_OF_EXAMPLES = ["residuals", "localNorms"] as const;
