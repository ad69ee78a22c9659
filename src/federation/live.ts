import type { History, LiveEvent, Member, Round, RoundDifference } from "./protocol";

/** What watchers of rounds are told: differences, which the edge makes and the dashboard puts together again. */

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What has to be told of a round to somebody who knows it as it was; undefined where that is nothing. */
export function differenceOf(before: Round, after: Round): RoundDifference | undefined {
  const { number, cohort, ...rest } = after;
  const old = before as Record<string, unknown>;
  const fields = Object.fromEntries(Object.entries(rest).filter(([key, value]) => !isSame(value, old[key])));
  const members = cohort.flatMap((member, i): [number, Member][] =>
    isSame(member, before.cohort[i]) ? [] : [[i, member]],
  );
  if (Object.keys(fields).length === 0 && members.length === 0) return undefined;
  return { number, fields, cohort: members };
}

/** A round after a difference. Applied to what is newer already, it changes nothing. */
export function applied(round: Round, { fields, cohort: changed }: RoundDifference): Round {
  const cohort = [...round.cohort];
  for (const [i, member] of changed) cohort[i] = member;
  // A field that is there has a value: what has not changed is left out.
  return { ...round, ...(fields as Partial<Round>), cohort };
}

/** What a watcher knows after an event; a change of a round that it does not know is no news to it. */
export function afterEvent(
  { task, rounds }: Partial<History> & Pick<History, "rounds">,
  event: LiveEvent,
): History | undefined {
  if (event.type === "history") return event.history;
  // Neither is about rounds.
  if (event.type === "event" || event.type === "presence") return task && { task, rounds };
  const now = event.task ?? task;
  if (!now) return undefined;
  if (event.type === "change") {
    const { number } = event.change;
    return {
      task: now,
      rounds: rounds.map((round) => (round.number === number ? applied(round, event.change) : round)),
    };
  }
  const others = rounds.filter(({ number }) => number !== event.round.number);
  return { task: now, rounds: [...others, event.round].sort((a, b) => a.number - b.number) };
}
