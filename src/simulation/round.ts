import { DEFAULT_ROUND, NOTEBOOK_ROUND } from "../federation/default-round";
import type { RoundConfig } from "../federation/protocol";
import type { LabInput } from "./config";

/** What a round says of its clients' training and of its average, as the lab takes it. */
const inLab = (round: Pick<RoundConfig, keyof typeof NOTEBOOK_ROUND>) => ({
  epochs: round.epochs,
  batchSize: round.batchSize,
  learningRate: round.learningRate,
  clipNorm: round.clipNorm,
  batchNorm: round.batchNorm,
  distill: round.distill,
  rehearse: round.rehearse,
  prior: round.prior,
  maxExamplesRatio: round.maxExamplesRatio,
  maxUpdateNorm: round.maxUpdateNorm,
});

/** A round as it is by default, for a model that has been trained. */
export const CAREFUL: Partial<LabInput> = inLab(DEFAULT_ROUND);

/** A round as the seed's notebook has it. */
export const PLAIN: Partial<LabInput> = inLab(NOTEBOOK_ROUND);
