import { FACE } from "../data/own-labels";
import type { Label } from "../model/expressions";
import { consent } from "../faces/consent.svelte";
import type { Face, NewFace } from "../faces/kept";
import { faceStore, NoConsentError } from "../faces/store";
import { reasonOf } from "../ui/i18n/reason";

/** What becomes of judged takes on this device, once the player lets us keep them. */
export class Keeping {
  #state = $state.raw<"keeping" | Face | "failed">();
  /** Why a take could not be kept or changed, in words. */
  problem = $state<string>();
  /** Those that are kept, or were tried to be. */
  readonly #tried = new WeakSet<NewFace>();

  /** The take under consideration, where it is kept. */
  get face(): Face | undefined {
    return typeof this.#state === "object" ? this.#state : undefined;
  }

  /** Whether the take under consideration has not been tried yet. */
  get isOpen(): boolean {
    return this.#state === undefined;
  }

  /** Another take comes under consideration. */
  next(): void {
    this.#state = this.problem = undefined;
  }

  /** Keeps the take under consideration. Where another tab has taken the consent back, the page asks for it again. */
  async keep(take: NewFace): Promise<void> {
    this.#state = "keeping";
    this.#tried.add(take);
    try {
      const { pixels, prompted, probabilities, capturedAt, score } = take;
      this.#state = await faceStore.add({ pixels, shape: FACE, prompted, probabilities, capturedAt, score });
    } catch (error) {
      if (error instanceof NoConsentError) {
        // Who says yes now keeps it after all.
        consent.askAgain();
        this.#tried.delete(take);
        this.#state = undefined;
        return;
      }
      this.#state = "failed";
      this.problem = reasonOf(error);
    }
  }

  /** Keeps those of a show that were not tried yet, one after the other. */
  async keepRest(takes: readonly NewFace[]): Promise<void> {
    for (const take of takes.filter((one) => !this.#tried.has(one))) await this.keep(take);
  }

  /** Takes the player's word for what the take under consideration shows, which did not convince. */
  async answer(label: Label): Promise<void> {
    const { face } = this;
    if (!face) return;
    try {
      this.#state = await faceStore.change(face.id, { label });
    } catch (error) {
      this.problem = reasonOf(error);
    }
  }
}
