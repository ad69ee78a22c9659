import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { offline } from "./client/offline.svelte";
import { startLanguage } from "./i18n/language.svelte";

const target = document.querySelector("#app");
if (!target) throw new Error("index.html has lost its #app.");
await startLanguage();
mount(App, { target });
offline.start();
