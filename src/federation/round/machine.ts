import { objectionTo, type DreamVerdict, type Evidence } from "../guard";
import { changeableOf, conflictOf, type RoundConfig } from "../protocol";
import { drawOf, plentyOf, type Draw } from "./draw";
import { endsAtGoal, hidesCohort } from "./rule";
import {
  aggregatesUntil,
  isOver,
  NO_MEMBERS,
  quorumOf,
  waitsUntil,
  wantedClients,
  wantedEvaluations,
  type MemberState,
  type RoundLife,
  type RoundMember,
} from "./life";

/**
 * A round's life: `selecting → training → aggregating → evaluating → published | rejected | abandoned`. It is decided here alone, for
 * the edge, which keeps it in SQLite between requests and alarms, and for the lab, which keeps it in memory. Nothing here reads a
 * clock, draws a number or touches a store: whoever drives a round does that, and tells what came of it by the next event.
 */
export type RoundEvent =
  /** Time has passed. */
  | { type: "time" }
  /** So many clients wait now. */
  | { type: "waiting"; clients: number }
  /** The draw that was asked for gave so many members. */
  | { type: "drawn"; members: number }
  /** In an async round a client has begun to train. */
  | { type: "joined" }
  /** A member's update is there, and will count whatever fails from now on. */
  | { type: "uploaded"; member: RoundMember }
  /** It is in the sum, or where a rule that compares updates finds it. */
  | { type: "counted"; member: RoundMember }
  /** It was taken back by its client. */
  | { type: "withdrawn"; member: RoundMember }
  /** The member is out: by what it said, nobody can go on with it. */
  | { type: "excluded"; member: RoundMember }
  /** It could not be added, however often that was tried. */
  | { type: "dead"; member: RoundMember }
  /** It is to be tried again. */
  | { type: "revived"; member: RoundMember }
  /** A sum was lost, and so many counted updates have to be added again. */
  | { type: "uncounted"; members: number }
  /** The average could not be made: for now, or whatever comes. */
  | { type: "failed"; reason: string; lasting: boolean }
  /** There is a candidate, and what is known of it before anybody was asked. */
  | { type: "merged"; version: number; dreams: DreamVerdict | null; evidence: readonly Evidence[] }
  /** All that evaluators have said of it so far. */
  | { type: "evaluated"; evidence: readonly Evidence[] }
  /** The administrator wants other settings, or no round. */
  | { type: "changed"; change: Partial<RoundConfig> }
  | { type: "stopped" }
  /** The clock was set back: what is due lies in a future that was never meant. */
  | { type: "rewound" };

/** What whoever drives a round has to do, in this order and together with keeping the round. */
export type RoundEffect =
  /** Draw the cohort, make its members, and tell how many: see `drawCohort`. */
  | { effect: "draw"; draw: Draw }
  /** One member is in another state. */
  | { effect: "member"; id: string; to: MemberState }
  /** Every member of the round that still trains has dropped out. */
  | { effect: "drop-missing" }
  /** All updates are counted: average them. Comes again with every event until that has come to something. */
  | { effect: "merge" }
  /**
   * The candidate is what everybody gets from now on, with the optimizer's moments that belong to it; or both are nothing. What clients
   * keep for themselves, what their codec has lost and their own layers, they keep once their update was accepted: nobody tells them
   * what has become of the round, but for the next one's assignment where its server remembers something, too.
   */
  | { effect: "publish"; version: number }
  | { effect: "reject"; version: number }
  /** The round is over, and its series may go on: see `afterRound`. */
  | { effect: "continue" }
  /** A change was refused: these fields were promised, or this does not go together. */
  | { effect: "refuse"; fixed: string[] }
  | { effect: "refuse"; conflict: string };

export interface Transition {
  state: RoundLife;
  effects: RoundEffect[];
}

/** What becomes of a round by an event at a time. An event that its state knows nothing of changes nothing. */
export function transition(life: RoundLife, event: RoundEvent, now: number): Transition {
  if (isOver(life)) return "member" in event ? afterTheEnd(life, event) : { state: life, effects: [] };
  const { state, effects } = take(life, event, now);
  const settled = settle(state, now);
  return { state: settled.state, effects: [...effects, ...settled.effects] };
}

/** What an event does by itself. */
function take(life: RoundLife, event: RoundEvent, now: number): Transition {
  const same: Transition = { state: life, effects: [] };
  switch (event.type) {
    case "time":
      return same;
    case "waiting":
      return { state: { ...life, waiting: event.clients }, effects: [] };
    case "drawn": {
      if (life.state !== "selecting") return same;
      const { config, waiting } = life;
      const state: RoundLife = {
        ...life,
        state: "training",
        trainingAt: now,
        deadline: now + config.deadlineSeconds * 1000,
        waiting: 0,
        drawnFrom: waiting,
        tally: { ...NO_MEMBERS, training: event.members },
      };
      // Nobody may learn how many were drawn: the round is run, and be it with nobody.
      const needed = hidesCohort(config) ? 0 : quorumOf(config);
      if (event.members >= needed) return { state, effects: [] };
      return abandon(state, `The draw gave ${event.members} of ${waiting} clients; ${needed} are needed.`, now);
    }
    case "joined":
      if (life.state !== "training") return same;
      return { state: { ...life, tally: { ...life.tally, training: life.tally.training + 1 } }, effects: [] };
    case "uploaded":
      return life.state === "training" ? move(life, event.member, ["training"], "uploaded") : same;
    case "counted":
      return move(life, event.member, ["uploaded"], "counted");
    case "dead":
      return move(life, event.member, ["uploaded"], "dead");
    case "revived":
      return life.state === "training" ? move(life, event.member, ["dead"], "uploaded") : same;
    case "withdrawn":
    case "excluded":
      // Once the sum is made of it, it stays: what is taken out then would leave its mask, or its weight, in the sum.
      return move(life, event.member, life.state === "training" ? TAKEN_OUT : ["training"], "dropped");
    case "uncounted": {
      const { tally } = life;
      const members = Math.min(event.members, tally.counted);
      const moved = { ...tally, counted: tally.counted - members, uploaded: tally.uploaded + members };
      return { state: { ...life, tally: moved }, effects: [] };
    }
    case "failed":
      if (!event.lasting && !(life.state === "aggregating" && now >= aggregatesUntil(life))) return same;
      return abandon(life, event.reason, now);
    case "merged": {
      if (life.state !== "aggregating") return same;
      const evaluateUntil = now + life.config.evaluationSeconds * 1000;
      const { version: candidate, dreams, evidence } = event;
      return { state: { ...life, state: "evaluating", candidate, dreams, evaluateUntil, evidence }, effects: [] };
    }
    case "evaluated":
      return life.state === "evaluating" ? { state: { ...life, evidence: event.evidence }, effects: [] } : same;
    case "changed":
      return change(life, event.change);
    case "stopped":
      return abandon(life, "Stopped by the administrator.", now, false);
    case "rewound":
      return { state: rewind(life, now), effects: [] };
  }
}

const TAKEN_OUT: readonly MemberState[] = ["training", "uploaded", "counted", "dead"];

/** Takes one member from one of these states into another; one that is in none of them stays. */
function move(life: RoundLife, member: RoundMember, from: readonly MemberState[], to: MemberState): Transition {
  const same: Transition = { state: life, effects: [] };
  if (!from.includes(member.state)) return same;
  const isOwn = member.round === life.number;
  // In an async series it may still train for an earlier round, and counts in this one once its update is there.
  if (!isOwn && (member.state !== "training" || (to === "uploaded" && life.config.mode === "sync"))) return same;
  const tally = { ...life.tally };
  if (isOwn) tally[member.state] -= 1;
  if (isOwn || to === "uploaded") tally[to] += 1;
  return { state: { ...life, tally }, effects: [{ effect: "member", id: member.id, to }] };
}

/** Of a round that is over nothing can be taken back but what has never come. */
function afterTheEnd(life: RoundLife, event: RoundEvent & { member: RoundMember }): Transition {
  const gone = event.type === "withdrawn" || event.type === "excluded";
  return gone ? move(life, event.member, ["training"], "dropped") : { state: life, effects: [] };
}

/** What is due in a state, whatever brought it there. */
function settle(life: RoundLife, now: number): Transition {
  switch (life.state) {
    case "selecting":
      return select(life, now);
    case "training":
      return close(life, now);
    case "aggregating":
      return aggregate(life, now);
    case "evaluating":
      return conclude(life, now);
    default:
      return { state: life, effects: [] };
  }
}

/**
 * Draws the cohort once enough clients wait for the goal, and a little later where more of them would make it larger. A round that
 * waits for too long is given up.
 */
function select(life: RoundLife, now: number): Transition {
  const { config, waiting } = life;
  const wanted = wantedClients(config);
  const giveUp = (state: RoundLife): Transition =>
    now >= waitsUntil(life)
      ? abandon(
          state,
          `In ${config.waitSeconds} s ${waiting} of the ${wanted} clients that it needs had checked in.`,
          now,
        )
      : { state, effects: [] };
  // Some have left again, or the goal is another: the draw waits for more.
  if (waiting < wanted) return giveUp({ ...life, selectAt: null });
  if (waiting < plentyOf(config) && config.selectionSeconds > 0) {
    const selectAt = life.selectAt ?? now + config.selectionSeconds * 1000;
    if (life.selectAt === null || now < selectAt) return giveUp({ ...life, selectAt });
  }
  return { state: life, effects: [{ effect: "draw", draw: drawOf(config, waiting) }] };
}

/**
 * Ends the training: once the goal is reached, in a synchronous round once nobody is left to wait for, and at the deadline with what
 * has come, if that is at least half of the goal. A round that hides its cohort ends at its deadline alone, with whatever has come: when
 * and how it ends would tell how many were drawn. With noise the goal ends nothing.
 */
function close(life: RoundLife, now: number): Transition {
  const { config, tally, deadline } = life;
  const isDue = deadline !== null && now >= deadline;
  if (hidesCohort(config)) return isDue ? startAggregating(life, now) : { state: life, effects: [] };
  const { goalCount, mode } = config;
  const isAlone = mode === "sync" && tally.training + tally.uploaded === 0;
  const isEnough = endsAtGoal(config) && tally.counted >= goalCount;
  if (isEnough || (isAlone && tally.counted > 0)) return startAggregating(life, now);
  if (isAlone) return abandon(life, "Every client of the round has left.", now);
  if (!isDue) return { state: life, effects: [] };
  const came = tally.counted + tally.uploaded;
  const needed = quorumOf(config);
  if (came >= needed) return startAggregating(life, now);
  return abandon(life, `At the deadline ${came} of ${goalCount} updates had arrived; ${needed} were needed.`, now);
}

/** Takes no more updates: in a synchronous round, who has not uploaded by now has dropped out. */
function startAggregating(life: RoundLife, now: number): Transition {
  const { tally, config } = life;
  const state: RoundLife = { ...life, state: "aggregating", aggregatingAt: now };
  if (config.mode === "async") return aggregate(state, now);
  const left = { ...tally, training: 0, dropped: tally.dropped + tally.training };
  const next = aggregate({ ...state, tally: left }, now);
  return { state: next.state, effects: [{ effect: "drop-missing" }, ...next.effects] };
}

function aggregate(life: RoundLife, now: number): Transition {
  const { config, tally } = life;
  if (now >= aggregatesUntil(life)) return abandon(life, "The updates could not be averaged in time.", now);
  if (tally.uploaded > 0) return { state: life, effects: [] };
  if (tally.counted === 0 && !hidesCohort(config)) {
    return abandon(life, "Every update of the round is a dead letter.", now);
  }
  return { state: life, effects: [{ effect: "merge" }] };
}

/** Publishes or rejects the candidate once its evaluators have spoken, or their time is over, by what there is to be said of it. */
function conclude(life: RoundLife, now: number): Transition {
  const { config, candidate: version, evidence, dreams, evaluateUntil } = life;
  if (version === null) return abandon(life, "It has no candidate.", now);
  const clients = evidence.filter(({ kind }) => kind !== "operator").length;
  const isOverdue = evaluateUntil === null || now >= evaluateUntil;
  const isComplete =
    clients >= wantedEvaluations(life) && (!config.awaitOperator || evidence.some(({ kind }) => kind === "operator"));
  if (!isComplete && !isOverdue) return { state: life, effects: [] };
  const reason = objectionTo(evidence, dreams, config);
  const state = { ...life, reason, endedAt: now };
  return reason === null
    ? { state: { ...state, state: "published" }, effects: [{ effect: "publish", version }, { effect: "continue" }] }
    : { state: { ...state, state: "rejected" }, effects: [{ effect: "reject", version }, { effect: "continue" }] };
}

/** Ends a round without a checkpoint. */
function abandon(life: RoundLife, reason: string, now: number, goesOn = true): Transition {
  const { tally } = life;
  const left = { ...tally, training: 0, dropped: tally.dropped + tally.training };
  const state: RoundLife = { ...life, state: "abandoned", reason, endedAt: now, waiting: 0, tally: left };
  const effects: RoundEffect[] = [{ effect: "drop-missing" }];
  if (life.candidate !== null) effects.push({ effect: "reject", version: life.candidate });
  if (goesOn) effects.push({ effect: "continue" });
  return { state, effects };
}

/** Another configuration, as far as its fields let it: what the clients were told stays. */
function change(life: RoundLife, changes: Partial<RoundConfig>): Transition {
  const config = { ...life.config, ...changes };
  const conflict = conflictOf(config);
  if (conflict !== undefined) return { state: life, effects: [{ effect: "refuse", conflict }] };
  const allowed = life.state === "selecting" ? ["selecting", "open"] : ["open"];
  const fixed = (Object.keys(changes) as (keyof RoundConfig)[])
    .filter((key) => config[key] !== life.config[key])
    .filter((key) => !allowed.includes(changeableOf(key)));
  if (fixed.length > 0) return { state: life, effects: [{ effect: "refuse", fixed }] };
  return { state: { ...life, config }, effects: [] };
}

/** Brings what is due into the time that it has at most from now on. */
function rewind(life: RoundLife, now: number): RoundLife {
  const { deadlineSeconds, selectionSeconds, evaluationSeconds } = life.config;
  const least = (time: number | null, seconds: number): number | null =>
    time === null ? null : Math.min(time, now + seconds * 1000);
  return {
    ...life,
    openedAt: Math.min(life.openedAt, now),
    aggregatingAt: least(life.aggregatingAt, 0),
    deadline: least(life.deadline, deadlineSeconds),
    selectAt: least(life.selectAt, selectionSeconds),
    evaluateUntil: least(life.evaluateUntil, evaluationSeconds),
  };
}
