import { ditto } from "./ditto";
import { fedavg } from "./fedavg";
import { feddyn } from "./feddyn";
import { fedper } from "./fedper";
import { fedrep } from "./fedrep";
import { moon } from "./moon";
import { powerOfChoice } from "./power-of-choice";
import { scaffold } from "./scaffold";
import type { Strategy } from "./strategy";

/** A strategy whose options are checked before it is given any. */
export type AnyStrategy = Strategy<never>;

/** The strategies of the lab with a state of their own, by name. */
export const STRATEGIES: ReadonlyMap<string, AnyStrategy> = new Map(
  ([fedavg, scaffold, feddyn, ditto, fedper, fedrep, moon, powerOfChoice] as AnyStrategy[]).map((one) => [
    one.name,
    one,
  ]),
);
