import * as v from "valibot";
import { EXPRESSIONS, FACE_SIZE } from "../../model/expressions";
import { whyUntrainable } from "../../model/trainable";
import { describedRound } from "../default-round";
import { conflictOf } from "../protocol";
import { addedTaskSchema, descriptionOf, taskStateSchema } from "./description";
import { fit } from "./network";
import { showsExpressions, taskConflict } from "./registry";

const plainSchema = v.strictObject({ ...addedTaskSchema.entries, state: v.optional(taskStateSchema) });

/**
 * A task as an administrator sends it, and whether players are to see it at once; where that is not said, it is as it was, or open. Apart
 * from its description, which players read too, because what it is held against takes a phone a while.
 */
export const taskRequestSchema = v.pipe(
  plainSchema,
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { value } = dataset;
    const say = (key: "input" | "model" | "labels" | "defaultRound", message: string | undefined): void => {
      if (message === undefined) return;
      addIssue({ message, path: [{ type: "object", origin: "value", input: value, key, value: value[key] }] });
    };
    const { examples, input, labels } = value;
    if (examples !== "picture" && input.height !== input.width) say("input", `${examples}s are square`);
    // The detector's crop is a grey square, as FER2013's faces are; a drawing is ink on paper.
    if (examples !== "picture" && input.channels !== 1) {
      say("input", `${examples}s are taken in grey, channels 1: only examples of the kind picture may be in colour`);
    }
    if (examples === "face" && input.width !== FACE_SIZE) say("input", `faces are ${FACE_SIZE} x ${FACE_SIZE}`);
    const task = descriptionOf(value);
    // The pages know how to act the expressions. A page from before there were others does not know the field, and so leaves out a task
    // whose labels it would take for expressions.
    if (examples === "face" && !showsExpressions(task) && labels.some(({ how }) => !how)) {
      say("labels", `say how each label is acted (how), or let faces show ${EXPRESSIONS.join(", ")}, in this order`);
    }
    say("model", whyUntrainable(fit(task), labels.length));
    // It begins with random weights, and may be given a checkpoint before its first round: a round that says no more has to be one in both.
    for (const [isFromScratch, begun] of [
      [true, "random weights"],
      [false, "a checkpoint"],
    ] as const) {
      const round = describedRound(task, isFromScratch);
      const conflict = conflictOf(round) ?? taskConflict(task, round);
      if (conflict !== undefined) say("defaultRound", `Begun with ${begun}: ${conflict}`);
    }
  }),
);
export type TaskRequest = v.InferInput<typeof taskRequestSchema>;
