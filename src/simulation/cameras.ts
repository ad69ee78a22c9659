import { seededRandom } from "../base/random";
import { throughCamera, type Camera } from "../data/camera";
import { summarize } from "../model/model";
import { shareOut } from "./cohort";
import type { LabConfig } from "./config";
import { shared } from "./data";
import { networkFor } from "./network";
import type { LabData } from "./pool";

/** Feature skew (Kairouz et al. 2021, arXiv 1912.04977, section 3.1, "covariate shift"): every client sees through a camera of its own. */

/** With a spread of 1 the light is between a fourth and four times as much, and a head tilts by up to 45 degrees. */
const MOST = { stops: 2, angle: 45 } as const;

/** The camera of a client: as much light, as straight, and as often mirrored as the spread lets it differ. */
export function cameraOf({ seed, cameraSpread }: Pick<LabConfig, "seed" | "cameraSpread">, client: number): Camera {
  const random = seededRandom((seed ^ 0xca3e7a) + Math.imul(client + 1, 0x9e3779b9));
  const around = (range: number): number => (random() * 2 - 1) * range * cameraSpread;
  return { gain: 2 ** around(MOST.stops), angle: around(MOST.angle), mirror: random() < cameraSpread / 2 };
}

/** A run's examples as its clients' own cameras take them; what nobody has, and the test, stay as they are. */
export function throughCameras(data: LabData, config: LabConfig): LabData {
  if (config.cameraSpread === 0) return data;
  const { inputs } = summarize(networkFor(config, data.kind));
  const pixels = shared(data.train.pixels.slice());
  const { train, heldOut } = shareOut(config, data.train);
  for (const client of train.keys()) {
    const camera = cameraOf(config, client);
    for (const example of [...(train[client] ?? []), ...(heldOut[client] ?? [])]) {
      const own = pixels.subarray(example * inputs, (example + 1) * inputs);
      own.set(throughCamera(own.slice(), camera, data.kind?.input));
    }
  }
  return { ...data, train: { ...data.train, pixels } };
}
