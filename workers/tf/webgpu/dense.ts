import { TEMPERATURE } from "../../../src/model/model";
import type { Kernel } from "./device";
import { dropoutFactor, wgslFloat } from "./dropout";
import { featuresOf, type DenseLayer, type Layout } from "./layout";

/** The dense layers and the loss: forward and backward for one input in one workgroup, and the gradients of all their weights. */

const THREADS = 256;

/** Numbers that a step is told of each input: label (-1 for none), its weight in the loss, the teacher's, and the teacher's logits. */
export const lessonSize = ({ classes }: Layout): number => 3 + classes;
/** Numbers that a step tells of each input: its share of the loss, 1 where the label was the first largest, and the logits. */
export const answerSize = ({ classes }: Layout): number => 2 + classes;

/** The buffer of the dense layers' input. */
const sourceOf = ({ convs }: Layout): string => (convs.length > 0 ? `pooled${convs.length - 1}` : "image");

/** WGSL of one layer's outputs; threads share the sum of one output where there are more of them than outputs. */
function forward(
  { K, O, weights, isRelu, dropout, hidden }: DenseLayer,
  input: (k: string) => string,
  name: number,
): string {
  const shares = Math.max(1, Math.floor(THREADS / O));
  const end = `sum += weights[${weights + K * O}u + o];
      hidden[${hidden}u + o] = ${isRelu ? "max(sum, 0.0)" : "sum"}${dropout ? ` * factor${name}(n * ${O}u + o)` : ""};`;
  const product = (from: string, by: number): string =>
    `for (var k = ${from}; k < ${K}u; k += ${by}u) { sum += ${input("k")} * weights[${weights}u + k * ${O}u + o]; }`;
  if (shares === 1) {
    return `
  for (var o = t; o < ${O}u; o += ${THREADS}u) {
      var sum = 0.0; ${product("0u", 1)}
      ${end}
  }
  workgroupBarrier();`;
  }
  return `
  if (t < ${O * shares}u) {
      let o = t % ${O}u; var sum = 0.0; ${product(`t / ${O}u`, shares)}
      shares[t] = sum;
  }
  workgroupBarrier();
  if (t < ${O}u) {
      let o = t; var sum = 0.0;
      for (var i = 0u; i < ${shares}u; i++) { sum += shares[i * ${O}u + t]; }
      ${end}
  }
  workgroupBarrier();`;
}

/** WGSL of the loss and of its gradient with respect to the logits, by one thread: there are few classes. */
function loss(layout: Layout): string {
  const { classes: C, hidden } = layout;
  const [logits, lesson, answer] = [hidden - C, lessonSize(layout), answerSize(layout)];
  return `
  if (t == 0u) {
    let label = i32(lessons[n * ${lesson}u]); let weight = lessons[n * ${lesson}u + 1u]; let taught = lessons[n * ${lesson}u + 2u];
    var most = hidden[${logits}u];
    var isHit = label >= 0;
    for (var c = 0u; c < ${C}u; c++) {
      let value = hidden[${logits}u + c];
      most = max(most, value);
      answers[n * ${answer}u + 2u + c] = value;
    }
    var own = 0.0;
    for (var c = 0u; c < ${C}u; c++) {
      let value = hidden[${logits}u + c];
      own += exp(value - most);
      if (label >= 0) {
        let wanted = hidden[${logits}u + u32(label)];
        isHit = isHit && (value < wanted || (value == wanted && i32(c) >= label));
      }
    }
    var share = 0.0;
    if (label >= 0) { share = weight * (log(own) + most - hidden[${logits}u + u32(label)]); }
    answers[n * ${answer}u] = share;
    answers[n * ${answer}u + 1u] = select(0.0, 1.0, isHit);
    for (var c = 0u; c < ${C}u; c++) {
      let p = exp(hidden[${logits}u + c] - most) / own;
      slopes[${logits}u + c] = select(0.0, weight * (p - select(0.0, 1.0, i32(c) == label)), label >= 0);
    }
    ${lessonGradient(layout)}
  }
  workgroupBarrier();`;
}

/** WGSL of what the logits' gradient gets of the teacher: T * weight * (softmax(logits / T) - softmax(teacher / T)). */
function lessonGradient(layout: Layout): string {
  const { classes: C, hidden } = layout;
  const [logits, lesson] = [hidden - C, lessonSize(layout)];
  return `
    if (step.taught == 1u && taught != 0.0) {
      var top = lessons[n * ${lesson}u + 3u];
      for (var c = 1u; c < ${C}u; c++) { top = max(top, lessons[n * ${lesson}u + 3u + c]); }
      var student = 0.0; var teacher = 0.0;
      for (var c = 0u; c < ${C}u; c++) {
        student += exp((hidden[${logits}u + c] - most) / ${wgslFloat(TEMPERATURE)});
        teacher += exp((lessons[n * ${lesson}u + 3u + c] - top) / ${wgslFloat(TEMPERATURE)});
      }
      for (var c = 0u; c < ${C}u; c++) {
        let said = exp((hidden[${logits}u + c] - most) / ${wgslFloat(TEMPERATURE)}) / student;
        let wanted = exp((lessons[n * ${lesson}u + 3u + c] - top) / ${wgslFloat(TEMPERATURE)}) / teacher;
        slopes[${logits}u + c] += ${wgslFloat(TEMPERATURE)} * taught * (said - wanted);
      }
    }`;
}

/** WGSL of the gradients with respect to what each layer takes in, from the last back. */
function backward(dense: readonly DenseLayer[], isWanted: boolean): string {
  return dense
    .map(({ K, O, weights, hidden }, i) => {
      const before = dense[i - 1];
      if (!before && !isWanted) return "";
      const back = `var sum = 0.0;
    for (var o = 0u; o < ${O}u; o++) { sum += slopes[${hidden}u + o] * weights[${weights}u + k * ${O}u + o]; }`;
      // A value that ReLU or dropout has cleared gives nothing back.
      const scale = before?.dropout ? wgslFloat(Math.fround(1 / (1 - before.dropout.rate))) : "1.0";
      const factor = before?.dropout ? `select(1.0, ${scale}, step.isDropping == 1u)` : "1.0";
      const store = before
        ? `slopes[${before.hidden}u + k] = select(0.0, sum * ${factor}, hidden[${before.hidden}u + k] > 0.0);`
        : `dy[n * ${K}u + k] = sum;`;
      return `
  for (var k = t; k < ${K}u; k += ${THREADS}u) {
    ${back}
    ${store}
  }
  workgroupBarrier();`;
    })
    .reverse()
    .join("");
}

/**
 * All dense layers on the features of each input: to the logits alone, or to the loss, its gradient, and where that is wanted, what goes
 * back to the features.
 */
export function head(layout: Layout, mode: "predict" | "train" | "trainAll"): Kernel {
  const { dense, hidden, classes } = layout;
  const input = (i: number): ((k: string) => string) => {
    const before = dense[i - 1];
    return before ? (k) => `hidden[${before.hidden}u + ${k}]` : (k) => `features[n * ${featuresOf(layout)}u + ${k}]`;
  };
  const isTraining = mode !== "predict";
  const weights = dense.reduce((sum, { K, O }) => sum + (K + 1) * O, 0);
  return {
    label: `head to ${mode}`,
    bindings: [
      { name: "features", type: "f32", buffer: sourceOf(layout) },
      { name: "weights", type: "f32", buffer: "weights" },
      { name: "answers", type: "f32", isWritten: true, buffer: "answers" },
      ...(isTraining
        ? ([
            { name: "lessons", type: "f32", buffer: "lessons" },
            { name: "kept", type: "f32", isWritten: true, buffer: "hidden" },
          ] as const)
        : []),
      ...(mode === "trainAll" ? [{ name: "dy", type: "f32", isWritten: true, buffer: "dy" } as const] : []),
    ],
    code: `${dense.map(({ dropout }, i) => dropoutFactor(dropout, String(i))).join("")}
var<workgroup> hidden: array<f32, ${hidden}>;
var<workgroup> shares: array<f32, ${THREADS}>;
${isTraining ? `var<workgroup> slopes: array<f32, ${hidden}>;` : ""}
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) t: u32, @builtin(workgroup_id) group: vec3u) {
  let n = group.x;
  ${dense.map((layer, i) => forward(layer, input(i), i)).join("")}
  ${
    isTraining
      ? `${loss(layout)}
  ${backward(dense, mode === "trainAll")}
  for (var i = t; i < ${hidden}u; i += ${THREADS}u) {
    kept[n * ${2 * hidden}u + i] = hidden[i];
    kept[n * ${2 * hidden}u + ${hidden}u + i] = slopes[i];
  }`
      : `if (t < ${classes}u) { answers[n * ${classes}u + t] = hidden[${hidden - classes}u + t]; }`
  }
}`,
    groups: (n) => [n],
    cost: (n) => ({
      read: 4 * (n * featuresOf(layout) + weights + (isTraining ? n * lessonSize(layout) : 0)),
      written:
        4 *
        n *
        (isTraining ? answerSize(layout) + 2 * hidden + (mode === "trainAll" ? featuresOf(layout) : 0) : classes),
      flop: 2 * n * weights * (isTraining ? 2 : 1),
    }),
  };
}

/**
 * Gradients of all dense layers' weights and biases over the batch.
 * @param places of each layer's in the buffer of gradients
 */
export function denseGradients(layout: Layout, places: readonly number[]): Kernel {
  const { dense, hidden } = layout;
  const sizes = dense.map(({ K, O }) => (K + 1) * O);
  const ends = sizes.map((_, i) => sizes.slice(0, i + 1).reduce((sum, size) => sum + Math.ceil(size / THREADS), 0));
  const branches = dense.map(({ K, O, hidden: own }, i) => {
    const before = dense[i - 1];
    const value = before ? `kept[n * ${2 * hidden}u + ${before.hidden}u + k]` : `features[n * ${K}u + k]`;
    const slope = `kept[n * ${2 * hidden}u + ${hidden + own}u + o]`;
    return `if (group.x < ${ends[i]}u) {
    let e = (group.x - ${ends[i - 1] ?? 0}u) * ${THREADS}u + t;
    if (e >= ${sizes[i]}u) { return; }
    let k = e / ${O}u; let o = e % ${O}u;
    var sum = 0.0;
    if (k < ${K}u) { for (var n = 0u; n < step.n; n++) { sum += ${value} * ${slope}; } }
    else { for (var n = 0u; n < step.n; n++) { sum += ${slope}; } }
    gradients[${places[i]}u + e] = sum;
  }`;
  });
  const weights = sizes.reduce((a, b) => a + b, 0);
  return {
    label: "dense gradients",
    bindings: [
      { name: "features", type: "f32", buffer: sourceOf(layout) },
      { name: "kept", type: "f32", buffer: "hidden" },
      { name: "gradients", type: "f32", isWritten: true, buffer: "gradients" },
    ],
    code: `@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) t: u32, @builtin(workgroup_id) group: vec3u) {
  ${branches.join(" else ")}
}`,
    groups: () => [ends.at(-1) ?? 0],
    cost: (n) => ({
      read: 4 * n * (featuresOf(layout) + 2 * hidden),
      written: 4 * weights,
      flop: 2 * n * weights,
    }),
  };
}
