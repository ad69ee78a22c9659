import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { offline } from "./client/offline.svelte";
import { startLanguage } from "./i18n/language.svelte";
import { loadPage } from "./pages/load";
import { router } from "./router.svelte";

const target = document.querySelector("#app");
if (!target) throw new Error("index.html has lost its #app.");
// On its way while the texts come; App tells of what goes wrong with it.
if (router.route !== "/") loadPage(router.route).catch(() => undefined);
await startLanguage();
// What index.html shows until now.
target.replaceChildren();
mount(App, { target });
offline.start();
