import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { chosenTask } from "../client/task.svelte";
import { nextTask } from "../ui/idle";
import { offline } from "./offline.svelte";
import { startLanguage } from "../ui/i18n/language.svelte";
import { loadPage } from "./load";
import { router } from "./router.svelte";

async function start(): Promise<void> {
  const target = document.querySelector("#app");
  if (!target) throw new Error("index.html has lost its #app.");
  const ready = Promise.all([startLanguage(), chosenTask.settle()]);
  // On its way while the texts come; App tells of what goes wrong with it.
  if (router.route !== "/") loadPage(router.route).catch(() => undefined);
  await ready;
  // A slow phone draws the page in pieces, and listens in between.
  await nextTask();
  // What index.html shows until now.
  target.replaceChildren();
  mount(App, { target });
  offline.start();
}

void start();
