import { EXPRESSIONS, type Label } from "../model/expressions";
import { model } from "../client/model.svelte";
import { consent } from "../faces/consent.svelte";
import type { Level, NewFace, Take } from "../faces/kept";
import { addTake, allTakes } from "../faces/takes";
import { t } from "../ui/i18n/language.svelte";
import { reasonOf } from "../ui/i18n/reason";
import type { FaceBox } from "../../workers/vision/api";
import { challengeOf, challengeTurns, type Challenge } from "./challenge";
import { dailyTurns, tryOf } from "./daily";
import { Keeping } from "./keeping.svelte";
import { SHOW_LENGTHS } from "./kept-settings";
import { verdictOf } from "./level";
import { bestMoment, type Moment } from "./moment";
import { progressOf } from "./progress";
import { scoreOf } from "./scoring";
import { settings } from "./settings.svelte";
import { MODES, nextPrompt, turnsOf, type Mode, type Turn } from "./show";
import { play } from "./sounds";
import { Stage } from "./stage.svelte";

/** Where a game is: who plays is asked, the device goes to the next player, someone acts, a take is judged, all are. */
type Phase = "setup" | "pass" | "acting" | "judged" | "final";
export interface Judged extends NewFace {
  isBest: boolean;
}

/** The role of whoever comes for the first time. */
const EASY = EXPRESSIONS.indexOf("happy") as Label;

/** A show or a party that somebody left in the middle: it goes on when they come back, for as long as the page stays open. */
let unfinished:
  | {
      mode: Mode;
      turns: Turn[];
      players: string[];
      judged: Judged[];
      show: string;
      day: string | undefined;
      level: Level;
    }
  | undefined;

/** The game from the first role to the reviews: what is played, by whom, and how it went. Made while its page's component is. */
export class Game {
  readonly stage = new Stage((picture) => model.look(picture));
  readonly keeping = new Keeping();
  /** Somebody's roles and score, where a link brought them. */
  challenge = $state.raw<Challenge>();
  /** The day whose show is played. */
  day = $state<string>();
  mode = $state<Mode>("take");
  phase = $state<Phase>("acting");
  /** The takes of a show or a party; empty where one goes on as long as one likes. */
  turns = $state.raw<Turn[]>([]);
  players = $state.raw<string[]>([]);
  judged = $state.raw<Judged[]>([]);
  prompt = $state<Label>(nextPrompt(undefined));
  /**
   * Whoever comes for the first time plays one easy role before anything is asked of them: not who was called by somebody, to a
   * show, or asks for a way to play.
   */
  isFirst = $state(false);
  /** What went wrong with the last take, in words. */
  problem = $state<string>();
  /** The photo under consideration, where the take was one. */
  photo = $state.raw<{ picture: ImageBitmap; face: FaceBox }>();
  history = $state.raw<Take[]>([]);
  /** How hard the jury is to please in a show: as when it began. */
  #showLevel = $state<Level>("normal");
  #show = "";

  /** How hard the jury is to please. */
  readonly level = $derived(this.turns.length > 0 ? this.#showLevel : settings.level);
  readonly turn = $derived(this.turns[this.judged.length - (this.phase === "judged" ? 1 : 0)]);
  /** The name of whoever acts, in a party. */
  readonly player = $derived(this.mode === "party" && this.turn ? this.players[this.turn.player] : undefined);
  /** The take under consideration. */
  readonly take = $derived(this.phase === "judged" ? this.judged.at(-1) : undefined);
  /** Whether the take under consideration is the last one. */
  readonly isOver = $derived(this.turns.length > 0 && this.judged.length === this.turns.length);
  readonly streak = $derived(this.mode === "party" ? 0 : progressOf(this.history).streak);
  readonly trouble = $derived(this.problem ?? this.keeping.problem ?? this.stage.trouble);

  /** @param asked what the address asks for; @param today yyyy-mm-dd */
  constructor(asked: URLSearchParams, today: string) {
    const isDaily = asked.get("mode") === "daily";
    this.challenge = challengeOf(asked);
    this.day = isDaily ? today : undefined;
    this.isFirst = !settings.hasPlayed && !this.challenge && !asked.has("mode") && location.hash === "";
    const mode = MODES.find((one) => one === asked.get("mode")) ?? "take";
    this.#open(isDaily || this.challenge ? "show" : mode);

    // A show is not stopped for a question: who agrees after it keeps all of its takes.
    $effect(() => {
      if (this.phase === "final" && this.mode === "show" && consent.given) void this.keeping.keepRest(this.judged);
    });
    // The first consent comes when a take is already judged: that take is kept too. It is one person's consent: in a party no
    // face is kept.
    $effect(() => {
      const { take } = this;
      if (take && this.mode !== "party" && consent.given && this.keeping.isOpen) void this.keeping.keep(take);
    });
  }

  /** Reads what was played before on this device; a browser that keeps nothing has no history. */
  async remember(): Promise<void> {
    const takes = await allTakes().catch(() => undefined);
    if (!takes) return;
    this.history = takes;
    if (takes.length > 0) this.leaveFirst();
  }

  /** Leaves the page. What is not over goes on when the player comes back. */
  leave(): void {
    this.stage.leave();
    const { mode, turns, players, judged, day, level } = this;
    if (turns.length === 0) return;
    const isUnfinished = judged.length > 0 && this.phase !== "final";
    unfinished = isUnfinished ? { mode, turns, players, judged, show: this.#show, day, level } : undefined;
  }

  /** The player has seen what the game is, or wants to see it all at once. */
  leaveFirst(): void {
    this.isFirst = false;
    settings.set("hasPlayed", true);
  }

  /** Begins a game from its first take. */
  begin(mode: Mode): void {
    const { day, challenge } = this;
    this.stage.cut();
    unfinished = undefined;
    this.mode = mode;
    this.#clear();
    this.judged = [];
    this.#showLevel = day ? "normal" : (challenge?.level ?? settings.level);
    if (mode === "party") {
      this.turns = [];
      this.phase = "setup";
      return;
    }
    const special = day ? dailyTurns(day) : challenge && challengeTurns(challenge);
    this.turns = mode === "show" ? (special ?? turnsOf(1, SHOW_LENGTHS[settings.showLength])) : [];
    this.#show = day ? tryOf(day) : crypto.randomUUID();
    this.prompt = this.turns[0]?.prompt ?? (this.isFirst ? EASY : nextPrompt(this.prompt));
    this.phase = "acting";
  }

  /** Takes up a way to play that the player has chosen, and says so in the address. */
  choose(mode: Mode): void {
    this.isFirst = false;
    this.day = this.challenge = undefined;
    history.replaceState(null, "", `${location.pathname}?mode=${mode}`);
    this.#open(mode);
  }

  /** Rehearses one role with the coach. */
  practise(role: Label): void {
    this.choose("practice");
    this.prompt = role;
  }

  beginParty(names: string[], takes: number): void {
    this.players = names;
    this.judged = [];
    this.turns = turnsOf(names.length, takes);
    this.prompt = this.turns[0]?.prompt ?? this.prompt;
    this.phase = "pass";
  }

  /** Plays the same again; a day's show counts once, and another one follows it. */
  again(): void {
    if (this.mode === "party") this.beginParty(this.players, this.turns.length / this.players.length);
    else if (this.day) this.choose("show");
    else this.begin(this.mode);
  }

  /** Counts down and has what the camera saw judged. */
  async action(): Promise<void> {
    this.problem = undefined;
    const seen = await this.stage.take();
    if (seen && !this.#judge(bestMoment(seen, this.prompt))) this.problem = t("play.noFaceJudged");
  }

  /** Has a photo judged in the camera's place. */
  async usePhoto(file: File): Promise<void> {
    this.problem = undefined;
    try {
      await model.update();
      if (!model.ready) return;
      let picture: ImageBitmap;
      try {
        picture = await createImageBitmap(file);
      } catch {
        this.problem = t("play.unreadable", { file: file.name });
        return;
      }
      const shown = await createImageBitmap(picture);
      const sighting = await model.look(picture);
      if (!this.#judge(bestMoment([{ at: 0, sighting }], this.prompt))) this.problem = t("play.noFaceInPhoto");
      else if (sighting.face) this.photo = { picture: shown, face: sighting.face };
    } catch (error) {
      this.problem = reasonOf(error);
    }
  }

  /** Goes on to the next take, the next player, or the reviews. */
  goOn(): void {
    this.isFirst = false;
    this.#clear();
    if (this.isOver) {
      this.phase = "final";
      return;
    }
    const last = this.turns[this.judged.length - 1];
    const coming = this.turns[this.judged.length];
    this.prompt = coming?.prompt ?? nextPrompt(this.prompt);
    this.phase = this.mode === "party" && coming && coming.player !== last?.player ? "pass" : "acting";
  }

  /** Goes on with the game of that mode which was left in the middle, or begins one. */
  #open(mode: Mode): void {
    // Another show than the one that was left is asked for.
    const left = unfinished?.mode === mode && unfinished.day === this.day && !this.challenge ? unfinished : undefined;
    this.begin(mode);
    if (!left) return;
    this.turns = left.turns;
    this.players = left.players;
    this.judged = left.judged;
    this.#show = left.show;
    this.#showLevel = left.level;
    this.goOn();
  }

  /** Forgets what was under consideration. */
  #clear(): void {
    this.problem = this.photo = undefined;
    this.keeping.next();
  }

  /** @returns false where there is nothing to judge */
  #judge(seen: Moment | null): boolean {
    if (!seen) return false;
    const { prompt, mode, level } = this;
    const score = scoreOf(seen.probabilities, prompt, model.task?.model);
    const best = progressOf(this.history).expressions[prompt]?.best ?? null;
    const at = Date.now();
    this.judged = [
      ...this.judged,
      {
        pixels: seen.pixels,
        prompted: prompt,
        probabilities: seen.probabilities,
        capturedAt: at,
        score,
        isBest: mode !== "party" && best !== null && score > best,
      },
    ];
    this.keeping.next();
    this.phase = "judged";
    if (mode !== "party") {
      const show = mode === "show" ? { show: this.#show } : {};
      void this.#note({ at, prompt, score, ...show, ...(level === "normal" ? {} : { level }) });
    }
    settings.set("hasPlayed", true);
    const verdict = verdictOf(score, level);
    play(verdict === "best" ? "fanfare" : verdict === "ovation" || verdict === "believes" ? "good" : "low");
    return true;
  }

  /** Writes a score into the history, which a browser that keeps nothing has for this visit only. */
  async #note(scored: Omit<Take, "id">): Promise<void> {
    const id = await addTake(scored).catch(() => -1);
    this.history = [...this.history, { ...scored, id }];
  }
}
