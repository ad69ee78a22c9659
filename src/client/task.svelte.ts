import { DEFAULT_TASK, TASK_NAMES, type TaskName } from "../core/protocol";

/** The player's choice in localStorage. */
const CHOICE = "best-actor-task";

/** Which task, and so which model, this device plays and trains: `?task=` in the address, else the player's choice. */
class ChosenTask {
  name = $state<TaskName>(ChosenTask.#wanted());

  static #wanted(): TaskName {
    const wanted = new URLSearchParams(location.search).get("task") ?? localStorage.getItem(CHOICE);
    return TASK_NAMES.find((name) => name === wanted) ?? DEFAULT_TASK;
  }

  choose(name: TaskName): void {
    localStorage.setItem(CHOICE, name);
    this.name = name;
  }
}

export const chosenTask = new ChosenTask();
