import * as v from "valibot";
import { roundConfigSchema, type RoundConfig } from "./protocol";

/**
 * A round as the schema says it is where nobody says otherwise. It is apart from the schema because what it says takes a phone a while
 * to find out, and players need it not.
 */
export const DEFAULT_ROUND: RoundConfig = v.parse(roundConfigSchema, {});
