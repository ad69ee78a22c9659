/**
 * `npm run client -- --url URL [--task NAME] [--random] [--clients 5] [--rounds 1]`: headless clients take part in rounds with random
 * deltas: a federation to look at without browsers. An administrator starts the rounds. NAME may be a task that was added to the edge.
 *
 * `npm run client -- --url URL [--task NAME] --data DATA [--labels 1=happy,...] [--clients 5] [--rounds 1]`: machines without browsers that
 * train: labelled examples, a CSV, a zip or a folder as the lab takes them, are shared out among clients, or are theirs to whom the data say
 * they belong. Each trains on its own on WebAssembly, holds a fifth out, keeps back what makes its own harder to recognize, and
 * evaluates candidates. Of a task that is not about faces the data are pictures by its labels, brought to its size and its colours; drawings
 * white on black, as MNIST's are. --labels 1=cat,2=dog says which word of the data is which label; --column which of a CSV holds them;
 * --client which of a CSV says whose each example is, where it is not called client, user, writer_id or the like.
 *
 * `npm run client -- --url URL [--task NAME] --evaluate DATA --token TOKEN`: the operator's evaluator. It waits for candidates and says
 * how each does on labelled examples of the operator's own, a CSV or a folder as the lab takes them; it goes on until it is stopped.
 */
import { fail } from "./faces.mjs";
import { load } from "./load.mjs";
import { optionsOf } from "./options.mjs";

/** Who has no answer by then is told so. */
const ANSWER_MS = 10_000;

const values = optionsOf(import.meta.url, {
  url: { type: "string", default: "http://127.0.0.1:8787" },
  task: { type: "string", default: "expressions-compact" },
  clients: { type: "count", default: "5" },
  rounds: { type: "count", default: "1" },
  data: { type: "string" },
  random: { type: "boolean", default: false },
  labels: { type: "string" },
  column: { type: "string" },
  client: { type: "string" },
  evaluate: { type: "string" },
  token: { type: "string" },
});
values.url = values.url.replace(/\/+$/, "");
const module = await load("tools/headless.ts");
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
if (values.random && (values.data || values.evaluate))
  fail("--random sends what no data have taught: leave it out beside --data and --evaluate.");
if (!/^https?:/.test(values.url) || !URL.canParse(values.url)) {
  fail(`--url ${values.url}: write it as http://127.0.0.1:8787, which npm start prints.`);
}
const tasks = await fetch(new URL("/api/tasks", values.url), {
  signal: AbortSignal.any([stop.signal, AbortSignal.timeout(ANSWER_MS)]),
}).catch(() => null);
if (!tasks) console.error(`${values.url} does not answer. It is asked until it does; Ctrl+C ends that.`);
else if (!tasks.headers.get("content-type")?.includes("json"))
  fail(`--url ${values.url}: this is no server of the app.`);
if (values.evaluate) {
  const { evaluateCandidates } = await import("./evaluate.mjs");
  await evaluateCandidates(values, stop.signal);
  process.exit();
}
if (values.data) {
  const { trainClients } = await import("./train-clients.mjs");
  await trainClients(values, stop.signal);
  process.exit();
}
await module.learnTask(values.url, values.task, stop.signal).catch((error) => fail(`--task: ${error.message}`));
await Promise.all(
  Array.from({ length: values.clients }, async (_, i) => {
    const client = new module.HeadlessClient(() => values.url, values.task, stop.signal);
    for (let done = 0; done < values.rounds; done++) {
      try {
        const examples = 5 + i;
        const assignment = await client.assignment(examples);
        const delta = module.randomDelta(client.model, i * 1000 + done);
        console.log(`client ${i}, round ${assignment.round}: ${await client.send(assignment, delta, examples)}`);
      } catch (error) {
        if (stop.signal.aborted) return;
        console.log(`client ${i}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }),
);
