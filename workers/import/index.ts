import * as Comlink from "comlink";
import { showLife } from "../life";
import type { ImportApi } from "./api";
import { run } from "./importing";

showLife();
Comlink.expose({ run } satisfies ImportApi);
