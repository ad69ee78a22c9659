import { DEFAULT_TASK, findTask, showsExpressions, taskNamed, type TaskName } from "../federation/tasks/registry";
import { tasks } from "./tasks.svelte";

/** The player's choice in localStorage. */
const CHOICE = "best-actor-task";

/** What a phone begins with: a quarter of the filters, 1.3 MB of updates instead of 20.4, and a third of the memory. */
const PHONE_TASK: TaskName = "expressions-compact";

/**
 * Phones are narrower than this in CSS pixels whichever way they are held, tablets are not: Android draws its line here too
 * (its resource qualifier sw600dp). The narrowest iPad has 744, the widest iPhone 440.
 */
const NARROWEST_TABLET = 600;

/**
 * Whether this is a phone: what the browser itself says where it says so (Chromium's userAgentData), else, in Firefox and Safari, a
 * finger for a pointer on a screen of a phone's size. Memory does not tell: only Chromium says how much there is.
 */
function isPhone(): boolean {
  const { userAgentData } = navigator as { userAgentData?: { mobile: boolean } };
  if (userAgentData) return userAgentData.mobile;
  return matchMedia("(pointer: coarse)").matches && Math.min(screen.width, screen.height) < NARROWEST_TABLET;
}

const byDevice = (): TaskName => (isPhone() ? PHONE_TASK : DEFAULT_TASK);

/** Which task, and so which model, this device plays and trains: `?task=` in the address, else the player's choice, else by device. */
class ChosenTask {
  name = $state<TaskName>(ChosenTask.#wanted());
  /** The last one of the expressions. */
  #ofFaces: TaskName = showsExpressions(taskNamed(this.name)) ? this.name : byDevice();

  static #asked(): string | null {
    return new URLSearchParams(location.search).get("task") ?? localStorage.getItem(CHOICE);
  }

  static #wanted(): TaskName {
    const wanted = ChosenTask.#asked();
    return wanted !== null && findTask(wanted) ? wanted : byDevice();
  }

  /**
   * Asks the edge, where a task is wanted that this device has not heard of: an added one, by a link or before its list was lost. Where
   * nobody knows it, or nobody answers, it is as if none had been wanted.
   */
  async settle(): Promise<void> {
    const wanted = ChosenTask.#asked();
    if (wanted === null || findTask(wanted)) return;
    await tasks.load().catch(() => undefined);
    if (!findTask(wanted)) return;
    this.name = wanted;
    if (showsExpressions(taskNamed(wanted))) this.#ofFaces = wanted;
  }

  /** @throws UnknownTaskError */
  choose(name: TaskName): void {
    const task = taskNamed(name);
    localStorage.setItem(CHOICE, name);
    this.name = name;
    if (showsExpressions(task)) this.#ofFaces = name;
  }

  /** Leaves other games for the expressions, of the model that was played last. */
  chooseFaces(): void {
    this.choose(this.#ofFaces);
  }
}

export const chosenTask = new ChosenTask();
