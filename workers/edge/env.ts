import type { TaskName } from "../../src/federation/tasks/registry";
import type { Aggregator } from "./aggregator";
import type { Catalogue } from "./catalogue";
import type { Coordinator } from "./coordinator";
import type { Hub } from "./hub";
import type { Judge } from "./judge";

/** What wrangler.jsonc and `wrangler secret` bind. */
export interface Env {
  ASSETS: Fetcher;
  COORDINATOR: DurableObjectNamespace<Coordinator>;
  AGGREGATOR: DurableObjectNamespace<Aggregator>;
  HUB: DurableObjectNamespace<Hub>;
  JUDGE: DurableObjectNamespace<Judge>;
  CATALOGUE: DurableObjectNamespace<Catalogue>;
  /** Checkpoints for good, updates until they are merged. */
  STORE: R2Bucket;
  UPDATES: Queue<UpdateMessage>;
  /** Check-ins of one client. */
  CLIENT_LIMIT: RateLimit;
  /** Signed requests of one key from one address. */
  KEY_LIMIT: RateLimit;
  /** Requests of one address: those that are signed, and all others. */
  ADDRESS_LIMIT: RateLimit;
  /** Wrong admin tokens of one address. */
  ADMIN_LIMIT: RateLimit;
  /** Addresses of proxies in front of an own server, with commas between them, whose X-Forwarded-For is believed. */
  TRUSTED_PROXIES: string;
  /** On an own server that is shared (tools/share): gives the origins at which other machines find it. */
  SHARED?: Fetcher;
  /** Secret that guards the administrator's calls. */
  ADMIN_TOKEN: string;
  /**
   * Paths, among the assets, of the checkpoints that the tasks start from, in the place of those that the tasks name: where it is given, a
   * task without one in it starts at random.
   */
  INITIAL_CHECKPOINTS?: Partial<Record<TaskName, string>>;
  /** How many of the latest checkpoints are kept, beside every tenth. */
  KEEP_CHECKPOINTS: string;
  /** How many aggregators share a round's updates. */
  AGGREGATOR_SHARDS: string;
  /** The hubs of rounds without a centre. */
  HUBS: HubRegion[];
}

export interface HubRegion {
  name: string;
  /** Where Cloudflare is asked to run it. */
  locationHint: DurableObjectLocationHint;
  /** Continents, in Cloudflare's two letters, whose updates it takes. Others go to the hub with the fewest. */
  continents: string[];
}

/** A region's hub in one round. */
export function hubOf(env: Env, task: TaskName, round: number, name: string): DurableObjectStub<Hub> {
  const locationHint = env.HUBS.find((hub) => hub.name === name)?.locationHint;
  const id = env.HUB.idFromName(`${task}/${round}/hub/${name}`);
  return env.HUB.get(id, locationHint && { locationHint });
}

/** The one judge of candidates. */
export const judgeOf = (env: Env): DurableObjectStub<Judge> => env.JUDGE.get(env.JUDGE.idFromName("judge"));

/** An accepted update that waits to be added to its round's sum. */
export interface UpdateMessage {
  task: TaskName;
  id: string;
}

export const checkpointKey = (sha256: string): string => `checkpoints/${sha256}.safetensors`;

/** A block of what a server optimizer remembers after a version: the moments of `BLOCK` numbers from `start` on. */
export const momentsKey = (task: TaskName, version: number, optimizer: string, start: number): string =>
  `moments/${task}/${version}/${optimizer}/${start}`;

/** The gzipped difference of a checkpoint to its base. */
export const differenceKey = (sha256: string): string => `differences/${sha256}.gz`;

/** What the difference to a version has lost, for the one to the next. It lies, and goes, with the version's moments. */
export const residualKey = (task: TaskName, version: number): string => `moments/${task}/${version}/residual`;

/**
 * A decoded update: the model's numbers as float32, one after the other. The digest of what was sent is part of the key, so that a
 * second upload under the same id cannot overwrite the accepted one.
 */
export const updateKey = (task: TaskName, round: number, id: string, digest: string): string =>
  `updates/${task}/${round}/${id}/${digest}.f32`;
