import { reasonOf } from "./i18n/reason";

/** What a page does for its visitor, and what went wrong with the last of it, in words, instead of letting it pass. */
export class Attempts {
  problem = $state<string>();

  readonly run = async (action: () => Promise<void>): Promise<void> => {
    this.problem = undefined;
    try {
      await action();
    } catch (error) {
      this.problem = reasonOf(error);
    }
  };
}
