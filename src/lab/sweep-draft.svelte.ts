import { MOST_RUNS, type Axis } from "../simulation/grid";
import type { Field, NumberField } from "../ui/fields";
import { d } from "../ui/i18n/developer";
import { exactText, fieldNamed, optionsOf, settingName } from "./settings";

/** A setting of a sweep as somebody fills it in. */
export interface Draft {
  /** "" where none is chosen. */
  key: string;
  /** Numbers, with commas between them. */
  text: string;
  /** Of a choice: the places of the options that are ticked. */
  ticked: number[];
}

/** What a browser says of a number in a field with these bounds; "" where it has nothing to say. */
function saidOf({ min, max, step, optional }: NumberField, text: string): string {
  const input = document.createElement("input");
  Object.assign(input, { type: "number", min: String(min), max: String(max), step: String(step), required: !optional });
  input.value = text;
  return input.validationMessage;
}

/** The numbers of a text, or what is wrong with it. */
export function numbersOf(field: NumberField, text: string): { values: (number | null)[]; problem: string } {
  const wrong = (problem: string) => ({ values: [], problem });
  if (text.trim() === "") return wrong(d("sweep.choose", { name: settingName(field.key) }));
  const values: (number | null)[] = [];
  for (const part of text.split(",").map((one) => one.trim())) {
    if (part === "") return wrong(d("sweep.missing"));
    const isNull = field.optional && part === "null";
    const value = isNull ? null : Number(part);
    if (value !== null && !Number.isFinite(value)) return wrong(d("sweep.noNumber", { value: part }));
    const reason = isNull ? "" : saidOf(field, String(value));
    if (reason) return wrong(d("sweep.wrong", { value: part, reason }));
    if (values.includes(value)) return wrong(d("sweep.twice", { value: part }));
    values.push(value);
  }
  return { values, problem: "" };
}

/** What the numbers of a field may be, in words. */
export function boundsText({ min, max, step }: NumberField): string {
  const whole = step === 1 ? [d("sweep.whole")] : [];
  // What must be above a bound is at least a trifle above it: see fields.ts.
  const isAbove = step !== 1 && min > 0 && min < 1e-6;
  const least = isAbove ? d("sweep.above", { least: exactText(0) }) : d("sweep.least", { least: exactText(min) });
  return [
    ...whole,
    ...(Number.isFinite(min) ? [least] : []),
    ...(Number.isFinite(max) ? [d("sweep.most", { most: exactText(max) })] : []),
  ].join(", ");
}

/** One or two settings with several values each, as the form asks for them. */
export class SweepDraft {
  readonly drafts = $state<Draft[]>([0, 1].map(() => ({ key: "", text: "", ticked: [] })));

  /** The settings that are chosen, each with its values, or with what is wrong with them. */
  readonly chosen = $derived(
    this.drafts.flatMap((draft) => {
      const field = fieldNamed(draft.key);
      return field ? [{ key: draft.key, ...this.#valuesOf(field, draft) }] : [];
    }),
  );
  readonly axes = $derived<Axis[]>(this.chosen.map(({ key, values }) => ({ key, values })));
  readonly count = $derived(this.chosen.reduce((product, { values }) => product * values.length, 1));
  /** "" where nothing is wrong. */
  readonly problem = $derived(
    this.chosen.find(({ problem }) => problem)?.problem ??
      (this.count > MOST_RUNS ? d("sweep.many", { count: this.count, most: MOST_RUNS }) : ""),
  );

  /** What is wrong with a setting's values; "" where nothing is, or nobody has said any yet. */
  problemOf({ key, text }: Draft): string {
    const one = this.chosen.find((other) => other.key === key);
    return text.trim() === "" ? "" : (one?.problem ?? "");
  }

  #valuesOf(field: Field, { text, ticked }: Draft): { values: unknown[]; problem: string } {
    if (field.kind === "number") return numbersOf(field, text);
    const values = optionsOf(field).flatMap(({ value }, place) => (ticked.includes(place) ? [value] : []));
    return { values, problem: values.length === 0 ? d("sweep.choose", { name: settingName(field.key) }) : "" };
  }
}
