import type { AnyStrategy } from "./registry";
import type { GradientHook, StrategyContext, Vectors } from "./strategy";

/** What a strategy of somebody's own does is not what its interface wants; the message names the part of it and says what. */
export class StrategyError extends Error {
  override readonly name = "StrategyError";
}

function made<T>(whose: string, value: T): T {
  if (typeof value !== "object" || value === null) {
    throw new StrategyError(`${whose} makes ${String(value)}, which is no object.`);
  }
  if ("then" in value) throw new StrategyError(`${whose} makes a promise: it has to answer at once.`);
  return value;
}

/** @param kinds of arrays that are taken: levels of a byte are no weights */
function checkVector(
  whose: string,
  vector: unknown,
  { model }: StrategyContext<never>,
  kinds: readonly (Float32ArrayConstructor | Float64ArrayConstructor)[] = [Float32Array],
): void {
  const kind = kinds.find((one) => vector instanceof one);
  if (!kind) throw new StrategyError(`${whose} makes no ${kinds.map(({ name }) => name).join(" or ")}.`);
  const { length } = vector as Float32Array;
  if (length !== model.parameters) {
    throw new StrategyError(`${whose} makes ${length} numbers; the model has ${model.parameters}.`);
  }
}

/** Weights that a network is set to. */
function weightsOf<V extends Float32Array>(whose: string, weights: V, context: StrategyContext<never>): V {
  checkVector(whose, weights, context);
  return weights;
}

/** Vectors that are remembered, of any length. */
function stateOf(whose: string, state: Vectors): Vectors {
  for (const [name, vector] of Object.entries(made(whose, state))) {
    if (!(vector instanceof Float32Array)) throw new StrategyError(`${whose} makes ${name}, which is no Float32Array.`);
  }
  return state;
}

function hookOf(whose: string, hook: GradientHook): GradientHook {
  if (typeof hook !== "function") throw new StrategyError(`${whose} makes no function.`);
  return hook;
}

function countOf(whose: string, count: number): number {
  if (Number.isSafeInteger(count) && count >= 1) return count;
  throw new StrategyError(`${whose} makes ${String(count)}: it has to be a whole number of 1 or more.`);
}

function chosenOf(whose: string, chosen: number[], candidates: readonly number[]): number[] {
  if (!Array.isArray(chosen)) throw new StrategyError(`${whose} makes no list of clients.`);
  if (chosen.length === 0) throw new StrategyError(`${whose} chooses nobody.`);
  const stranger = chosen.find((client) => !candidates.includes(client));
  if (stranger !== undefined) throw new StrategyError(`${whose} chooses ${stranger}, which is no candidate.`);
  const twice = chosen.find((client, place) => chosen.indexOf(client) !== place);
  if (twice !== undefined) throw new StrategyError(`${whose} chooses ${twice} more than once.`);
  return chosen;
}

/** An object that has some parts otherwise, and is otherwise the same. */
const withParts = <T extends object>(whole: T, parts: Partial<T>): T => Object.assign(Object.create(whole) as T, parts);

/**
 * A strategy that is held to its interface: of what each of its parts makes, lengths and kinds are checked where it is made.
 * @returns one whose parts throw StrategyError
 */
export function held(strategy: AnyStrategy): AnyStrategy {
  const { client, server, wire } = strategy;
  const { personal } = client;
  const init = client.init?.bind(client);
  const epochs = client.epochs?.bind(client);
  const beforeTraining = client.beforeTraining?.bind(client);
  const gradientHook = client.gradientHook?.bind(client);
  const contrast = client.contrast?.bind(client);
  const select = server.select?.bind(server);
  const candidates = server.candidates?.bind(server);
  const step = server.step?.bind(server);
  const checkDown = (part: string, state: Vectors, context: StrategyContext<never>): void => {
    for (const name of wire.down) checkVector(`wire.down names ${name}, of which ${part}`, state[name], context);
  };
  return withParts(strategy, {
    client: withParts(client, {
      ...(init && { init: (context) => stateOf("client.init", init(context)) }),
      ...(epochs && {
        epochs: (context, planned) => countOf("client.epochs", epochs(context, planned)),
      }),
      ...(beforeTraining && {
        beforeTraining: (context) => weightsOf("client.beforeTraining", beforeTraining(context), context),
      }),
      ...(gradientHook && {
        gradientHook: (context) => hookOf("client.gradientHook", gradientHook(context)),
      }),
      ...(contrast && {
        contrast(context) {
          const against = made("client.contrast", contrast(context));
          weightsOf("previous: client.contrast", against.previous, context);
          return against;
        },
      }),
      afterTraining(context, trained) {
        const part = "client.afterTraining";
        const after = made(part, client.afterTraining?.(context, trained) ?? {});
        const { sent = {}, delta, state } = after;
        if (delta) checkVector(`delta: ${part}`, delta, context);
        if (state) stateOf(`state: ${part}`, state);
        for (const name of wire.up) checkVector(`wire.up names ${name}, of which ${part}`, sent[name], context);
        const more = Object.keys(sent).find((name) => !wire.up.includes(name));
        if (more !== undefined) throw new StrategyError(`${part} sends ${more}, which wire.up does not name.`);
        return after;
      },
      ...(personal && {
        personal: withParts(personal, {
          start: (context) => weightsOf("client.personal.start", personal.start(context), context),
          gradientHook: (context) => hookOf("client.personal.gradientHook", personal.gradientHook(context)),
        }),
      }),
    }),
    server: withParts(server, {
      init(context) {
        const state = stateOf("server.init", server.init?.(context) ?? {});
        checkDown("server.init", state, context);
        return state;
      },
      ...(select && {
        select: (context, among, losses) => chosenOf("server.select", select(context, among, losses), among),
      }),
      ...(candidates && {
        candidates: (context, size) => countOf("server.candidates", candidates(context, size)),
      }),
      aggregate(context, updates, before) {
        const part = "server.aggregate";
        const { delta, state } = made(part, server.aggregate(context, updates, before));
        checkVector(`delta: ${part}`, delta, context, [Float64Array, Float32Array]);
        if (state) stateOf(`state: ${part}`, state);
        checkDown(part, state ?? before, context);
        return { delta, ...(state && { state }) };
      },
      ...(step && {
        step(context, weights, delta, state) {
          const next = step(context, weights, delta, state);
          checkVector("weights: server.step", next, context);
          return next;
        },
      }),
    }),
  });
}
