/** Clients that train in Node as a browser's Web Worker does, on labelled examples that lie on this machine. */
import { setTimeout as pause } from "node:timers/promises";
import { fail } from "./faces.mjs";
import { dreams, lab, startPool } from "./lab/node.mjs";
import { examplesOf } from "./task-data.mjs";

/** Of its examples each client holds out every fifth, as a device does. */
const HELD_OUT = 0.2;
/** How often it looks whether a round that it has left is over. */
const LEFT_MS = 3000;

/** A training that has made a client's own examples harder to recognize: it is not sent. */
class KeptBackError extends Error {
  constructor({ round }) {
    super(`round ${round}: kept back: its own held-out examples are recognized worse after training`);
  }
}

/** Examples that the data keep for a test stay out of training. */
async function examplesToTrainOn(task, { data: path, labels: words, column, client }) {
  const pictures = [];
  const labels = [];
  const owners = [];
  for (const [label, pixels, usage, owner] of await examplesOf(task, path, { labels: words, column, client })) {
    if (usage === "test") continue;
    labels.push(label);
    pictures.push(pixels);
    owners.push(owner);
  }
  if (labels.length === 0) fail(`--data: ${path} holds no ${task.examples} to train on.`);
  const clients = lab.clientNumbers(owners);
  return {
    pixels: new Uint8Array(Buffer.concat(pictures)),
    labels: Uint8Array.from(labels),
    classes: task.labels.length,
    ...(clients && { clients }),
  };
}

/**
 * Takes part in rounds with as many clients, until each has trained in as many rounds and they are over.
 * @param {{ url: string, task: string, data: string, labels?: string, column?: string, client?: string, clients: number, rounds: number }} options
 * @param {AbortSignal} signal
 */
export async function trainClients({ url, task, clients, rounds, ...said }, signal) {
  const known = await lab.learnTask(url, task, signal).catch((error) => fail(`--task: ${error.message}`));
  const train = await examplesToTrainOn(known, said);
  const owners = train.clients ?? new Uint32Array();
  // One folder around all of them is nobody's name.
  const isNatural = new Set(owners.filter((owner) => owner > 0)).size > 1;
  const nobodys = owners.filter((owner) => owner === 0).length;
  if (isNatural && nobodys > 0) {
    console.error(`--data: ${nobodys} ${known.examples}s do not say whose they are: no client trains on them.`);
  }
  const config = lab.parseLabConfig({
    dataset: "fer2013",
    // Examples are shared out alike whatever network learns from them.
    model: "compact",
    clients,
    rounds,
    ...lab.CAREFUL,
    heldOut: HELD_OUT,
    partition: isNatural ? "natural" : "iid",
  });
  let shares;
  try {
    shares = lab.shareOut(config, train);
  } catch (error) {
    fail(`--clients: ${error.message}`);
  }
  const rehearsal = known.dreams === null ? null : await dreams();
  const examples = lab.prepare({ train, test: train, ...(rehearsal && { rehearsal }) }, lab.PLAIN_CAMERA);
  const { pool, stop } = await startPool({ model: lab.networkOf(task) }, examples);
  const sizes = shares.train.map(({ length }) => length);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const each = least === most ? most : `${least} to ${most}`;
  console.log(`${clients} clients train on ${each} ${known.examples}s each. Ctrl+C stops them.`);
  try {
    const room = { url, task, rounds, pool, signal };
    await Promise.all(
      shares.train.map((own, i) => new Trainer(`client ${i}`, room, own, shares.heldOut[i]).takePart()),
    );
  } finally {
    await stop();
  }
}

/** One client. */
export class Trainer {
  /** What it keeps between rounds: what its codec has lost, its own batch normalization, and what a strategy remembers. */
  #residual;
  #norms = null;
  #kept;
  /** The secure round that it has left without a word: its peers go on without it, and it takes no other part. */
  #left;

  constructor(name, { url, task, rounds, pool, signal }, train, heldOut) {
    this.name = name;
    this.rounds = rounds;
    this.pool = pool;
    this.signal = signal;
    this.train = train;
    this.heldOut = heldOut;
    this.client = new lab.HeadlessClient(() => url, task, signal);
  }

  say(words) {
    console.log(`${this.name}, ${words}`);
  }

  async takePart() {
    let waitsFor;
    for (let done = 0; !this.signal.aborted;) {
      try {
        const answer = await this.client.checkIn(this.train.length, this.heldOut.length);
        if (answer.decision === "evaluate") await this.#evaluate(answer.evaluation);
        else if (answer.decision === "train" && answer.assignment.id === this.#left) await pause(LEFT_MS);
        else if (answer.decision === "train") {
          this.#left = answer.assignment.secure && answer.assignment.id;
          this.say(`round ${answer.assignment.round}: ${await this.#contribute(answer.assignment)}`);
          this.#left = undefined;
          done += 1;
        } else if (done >= this.rounds && answer.reason !== "already-sent") return;
        else {
          if (answer.reason === "no-round" && waitsFor !== answer.reason) this.say("waits: no round is open.");
          waitsFor = answer.reason;
          await pause(answer.retryAfterSeconds * 1000, undefined, { signal: this.signal });
        }
      } catch (error) {
        if (this.signal.aborted) return;
        this.say(error instanceof Error ? error.message : String(error));
        // The round ended before it was through: there will be another.
        if (error instanceof KeptBackError) done += 1;
        else if (error.code !== "round-closed") return;
      }
    }
  }

  async #weights(checkpoint) {
    return lab.decodeCheckpoint(await this.client.checkpoint(checkpoint), this.client.model);
  }

  async #judge(weights) {
    if (this.heldOut.length === 0) return NOTHING;
    return this.pool.evaluate({ weights, of: "train", examples: this.heldOut });
  }

  /** A checkpoint with whatever of it is this client's own. */
  async #ownWeights(checkpoint, personalLayers) {
    return lab.judgedWeights(this.#kept, personalLayers, this.client.model, await this.#weights(checkpoint));
  }

  async #evaluate(evaluation) {
    const before = await this.#judge(await this.#ownWeights(evaluation.base, evaluation.personalLayers));
    const after = await this.#judge(await this.#ownWeights(evaluation.candidate, evaluation.personalLayers));
    await this.client.sendEvaluation(evaluation, {
      examples: after.examples,
      loss: after.loss,
      accuracy: after.accuracy,
      baseLoss: before.loss,
      baseAccuracy: before.accuracy,
      ...(evaluation.byClass && { confusion: after.confusion }),
    });
    this.say(
      `round ${evaluation.round}: ${told(before)} before and ${told(after)} after, of ${after.examples} held out`,
    );
  }

  /** Trains, and sends what comes of it. @returns what has become of it, in words */
  async #contribute(assignment) {
    const { client } = this;
    if (assignment.secure) return this.#contributeSecurely(assignment);
    const { trained, isWorse, norms, kept, seed } = await this.#trained(assignment);
    if (isWorse) {
      await client.withdraw(assignment);
      throw new KeptBackError(assignment);
    }
    const { bytes: bytesDown } = assignment.checkpoint;
    const { file, residual } = await client.packTrained(assignment, trained, { left: this.#residual, seed, bytesDown });
    const status = await client.upload(assignment, file);
    // Kept only now: what was refused has lost nothing.
    this.#residual = residual;
    this.#norms = norms;
    this.#kept = kept;
    return `${status}, loss ${trained.train.loss.toFixed(3)}${await this.#toldOfOwn()}`;
  }

  /** What it has for itself, in words. */
  async #toldOfOwn() {
    const kept = this.#kept;
    if (!kept) return "";
    const bytes = Object.values(kept.vectors).reduce((sum, { byteLength }) => sum + byteLength, 0);
    const told = `, keeps ${(bytes / 1024).toFixed(1)} kB of its own`;
    if (kept.choice.strategy !== "ditto" || !kept.vectors.own || this.heldOut.length === 0) return told;
    const { accuracy, examples } = await this.#judge(kept.vectors.own);
    return `${told}, its own model: ${toldShare(accuracy)} of ${examples} held out`;
  }

  async #contributeSecurely(assignment) {
    const { deviation, clip } = assignment.secure;
    const published = await this.client.sendSecure(assignment, async () => {
      const { trained, isWorse, norms, kept } = await this.#trained(assignment);
      if (isWorse && deviation === 0) throw new KeptBackError(assignment);
      // Everybody sees who leaves a secure round: what its faces say of a training is told with noise, or not at all.
      if (isWorse) trained.delta.fill(0);
      // A round that is over before it has the update has lost nothing: what was kept before stays.
      const onAccepted = () => {
        this.#norms = norms;
        if (!isWorse) this.#kept = kept;
      };
      return { ...lab.clipTrained(trained, clip), onAccepted };
    });
    return published ? "in the sum, published" : "not published";
  }

  async #trained(assignment) {
    const { checkpoint, plan, round, remembered } = assignment;
    const weights = await this.#weights(checkpoint);
    const run = lab.liveRunOf(plan, this.client.model);
    const memory = await this.client.memory(assignment);
    const strategy = lab.toldOf(run, this.#kept, remembered?.rounds, memory);
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const before = await this.#judge(await this.#ownWeights(checkpoint, lab.personalLayersOf(plan)));
    const begun = performance.now();
    const { train, heldOut } = this;
    const result = await this.pool.train({ weights, train, heldOut, plan, seed, norms: this.#norms, strategy });
    const trainingMs = performance.now() - begun;
    this.say(`round ${round}: trained in ${(trainingMs / 1000).toFixed(1)} s`);
    return {
      seed,
      norms: result.norms,
      kept:
        run && lab.keptAfter({ choice: plan, vectors: result.strategy.state, round }, this.#kept, remembered?.rounds),
      // With a batch normalization of its own the base alone is not the model that it had.
      isWorse: !plan.sendWorse && this.#norms === null && lab.isWorse(before, result.heldOut),
      trained: {
        delta: result.delta,
        examples: train.length,
        train: { loss: result.loss, accuracy: result.accuracy },
        heldOut: before,
        initialLoss: result.initialLoss,
        trainingMs,
        backend: "wasm",
      },
    };
  }
}

const NOTHING = { examples: 0, loss: 0, accuracy: 0, confusion: [] };

const toldShare = (share) => `${(share * 100).toFixed(0)} %`;
const told = ({ accuracy }) => toldShare(accuracy);
