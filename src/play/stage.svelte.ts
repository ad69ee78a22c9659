import {
  CameraError,
  closeCamera,
  hasTwoCameras,
  isMirror,
  onCameraGone,
  openCamera,
  type CameraProblem,
  type Facing,
} from "./camera";
import { model } from "../client/model.svelte";
import { ENDING_MS, type Seen } from "./moment";
import { play } from "./sounds";
import { reasonOf } from "../ui/i18n/reason";

/** From where the next picture comes: no camera yet, one that runs, or one before which somebody counts down. */
export type Scene = "closed" | "opening" | "open" | "countdown";

const COUNT = 3;
/**
 * Of a webcam's 30 pictures a second every second one is looked at, where the device is that quick: more would warm it and help nobody.
 * A picture and a half, after which the next one is waited for.
 */
const LOOK_MS = 50;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Until a camera has another picture; not for long, since one that stands still, or whose page is hidden, has none. */
const newPicture = (video: HTMLVideoElement): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 100);
    // Firefox has it since version 132.
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(() => resolve());
    else requestAnimationFrame(() => resolve());
  });

/** The camera and what the model sees through it, which is an `S`. */
export class Stage<S> {
  scene = $state<Scene>("closed");
  problem = $state<CameraProblem>();
  /** What was seen last; null while the camera is closed. */
  sighting = $state.raw<S | null>(null);
  seconds = $state(COUNT);
  /** Something went wrong while looking, in words. */
  trouble = $state<string>();
  facing = $state<Facing>("user");
  /** Whether its picture is shown as a mirror shows it. */
  isMirror = $state(true);
  /** Whether the player may choose between cameras. */
  hasTwo = $state(false);
  /** True while nobody has to look: the camera stays open. */
  rests = false;
  #video: HTMLVideoElement | undefined;
  #stream: MediaStream | undefined;
  #cut: (() => void) | undefined;
  #left = false;
  /** What was seen within the last {@link ENDING_MS}, the oldest first. */
  #seen: Seen<S>[] = [];

  /**
   * @param see what the model sees in a picture, which is used up
   * @param facing which of a phone's cameras is opened first
   */
  constructor(
    private readonly see: (picture: ImageBitmap) => Promise<S>,
    facing: Facing = "user",
  ) {
    this.facing = facing;
  }

  /** Opens the camera and begins to look through it. What goes wrong is in {@link problem}. */
  async open(): Promise<void> {
    this.problem = undefined;
    this.scene = "opening";
    try {
      const stream = await openCamera(this.facing);
      if (this.#left) {
        closeCamera(stream);
        return;
      }
      this.#stream = stream;
      this.isMirror = isMirror(stream);
      void hasTwoCameras().then((two) => (this.hasTwo = two));
      onCameraGone(stream, () => this.#fail("taken-away"));
      await this.show(this.#video);
      this.scene = "open";
      void this.#watch(stream);
    } catch (error) {
      if (!this.#left) this.#fail(error instanceof CameraError ? error.problem : "failed");
    }
  }

  /** Opens the camera that looks the other way. */
  async turn(): Promise<void> {
    closeCamera(this.#stream);
    this.#stream = undefined;
    this.sighting = null;
    this.facing = this.facing === "user" ? "environment" : "user";
    await this.open();
  }

  /** Shows the camera's picture here from now on. */
  async show(video: HTMLVideoElement | undefined): Promise<void> {
    this.#video = video;
    if (!video || !this.#stream) return;
    video.srcObject = this.#stream;
    await video.play();
  }

  /** Leaves for good. */
  leave(): void {
    this.#left = true;
    this.#cut?.();
    closeCamera(this.#stream);
    this.#stream = undefined;
  }

  #fail(problem: CameraProblem): void {
    this.#cut?.();
    closeCamera(this.#stream);
    this.#stream = undefined;
    this.sighting = null;
    this.problem = problem;
    this.scene = "closed";
  }

  /** Looks again and again for as long as the camera runs: frames that come meanwhile are skipped. */
  async #watch(stream: MediaStream): Promise<void> {
    while (this.#stream === stream) {
      const began = performance.now();
      try {
        if (model.ready && !document.hidden && !this.rests) {
          const sighting = await this.look();
          if (this.#stream === stream && sighting) this.sighting = sighting;
        }
      } catch (error) {
        this.trouble = reasonOf(error);
        await pause(1000);
      }
      const isIdle = document.hidden || this.rests;
      // The page draws first.
      await pause(isIdle ? 250 : Math.max(0, began + LOOK_MS - performance.now()));
      if (!isIdle && this.#video) await newPicture(this.#video);
    }
  }

  /** Looks once through the camera; null while it has no picture. */
  async look(): Promise<S | null> {
    const video = this.#video;
    if (!video || video.readyState < video.HAVE_CURRENT_DATA) return null;
    const at = performance.now();
    const sighting = await this.see(await createImageBitmap(video));
    this.#seen = [...this.#seen.filter((one) => at - one.at <= ENDING_MS), { at, sighting }];
    return sighting;
  }

  /**
   * Counts down and looks.
   * @param count from how many seconds; 0 looks at once
   * @returns what was seen at its end, the last look included; null after {@link cut}, or when the camera went away
   */
  async take(count = COUNT): Promise<Seen<S>[] | null> {
    this.trouble = undefined;
    if (count > 0) this.scene = "countdown";
    for (this.seconds = count; this.seconds > 0; this.seconds--) {
      play("tick");
      const goesOn = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), 1000);
        this.#cut = () => {
          clearTimeout(timer);
          resolve(false);
        };
      });
      this.#cut = undefined;
      if (!goesOn) {
        if (this.#stream) this.scene = "open";
        return null;
      }
    }
    play("action");
    try {
      return (await this.look()) && this.#seen;
    } catch (error) {
      this.trouble = reasonOf(error);
      return null;
    } finally {
      if (this.#stream) this.scene = "open";
    }
  }

  /** Ends the countdown. */
  cut(): void {
    this.#cut?.();
  }
}
