/** What Miniflare has no setting for: flags for the V8 of the workerd that it starts. */
import childProcess from "node:child_process";

/**
 * On two cores workerd came to a standstill for good, about once in two hundred rounds of a soak: V8 has a single background thread there.
 * It compiles (Maglev), finds no room for the code, and waits for the event loop's thread to collect garbage. That thread runs V8's tasks
 * until there are none (`while (js.pumpMsgLoop())`, src/workerd/io/io-context.c++), and one of them, which sweeps the C++ heap,
 * comes back each time for as long as its other half waits for the background thread. A collector without background threads waits
 * for none. The wait of a compilation for the collector is known from github.com/nodejs/node/issues/54918.
 */
const V8_FLAGS = ["--single-threaded-gc"];

/** The place of `v8Flags` among the pointers of workerd's `Config` (workerd.capnp). */
const V8_FLAGS_POINTER = 2;
const WORD = 8;

/**
 * Adds V8's flags to a configuration of workerd's, a Cap'n Proto message with a segment table (capnproto.org/encoding.html): a
 * further segment holds the list of texts, and the root's empty pointer becomes a far one to it.
 * @throws Error where the message is not as Miniflare writes it
 */
function addV8Flags(message, flags) {
  const count = message.readUInt32LE(0) + 1;
  const sizes = Array.from({ length: count }, (_, i) => message.readUInt32LE(4 * (i + 1)));
  const tableBytes = Math.ceil((4 * (count + 1)) / WORD) * WORD;
  const root = message.readUInt32LE(tableBytes);
  const isStruct = (root & 3) === 0 && message.readUInt16LE(tableBytes + 6) > V8_FLAGS_POINTER;
  // Behind the root's pointer, its offset and its data.
  const words = 1 + (root >> 2) + message.readUInt16LE(tableBytes + 4) + V8_FLAGS_POINTER;
  const pointer = words * WORD;
  const isEmpty = isStruct && message.readBigUInt64LE(tableBytes + pointer) === 0n;
  if (!isEmpty) throw new Error("Miniflare has changed: look how it gives workerd its configuration.");

  const texts = flags.map((flag) => Buffer.from(`${flag}\0`));
  const wordsOf = ({ length }) => Math.ceil(length / WORD);
  const segment = Buffer.alloc((1 + flags.length + texts.reduce((sum, text) => sum + wordsOf(text), 0)) * WORD);
  writeList(segment, 0, { offset: 0, elements: POINTERS, length: flags.length });
  let at = 1 + flags.length;
  texts.forEach((text, i) => {
    const place = 1 + i;
    writeList(segment, place, { offset: at - place - 1, elements: BYTES, length: text.length });
    text.copy(segment, at * WORD);
    at += wordsOf(text);
  });

  const table = Buffer.alloc(Math.ceil((4 * (count + 2)) / WORD) * WORD);
  [count, ...sizes, segment.length / WORD].forEach((value, i) => table.writeUInt32LE(value, 4 * i));
  const body = Buffer.from(message.subarray(tableBytes));
  // Far, one landing pad, at word 0 of the segment of this number.
  body.writeUInt32LE(2, pointer);
  body.writeUInt32LE(count, pointer + 4);
  return Buffer.concat([table, body, segment]);
}

/** Sizes of a list's elements, as its pointer has them. */
const [BYTES, POINTERS] = [2, 6];

/** Writes a list's pointer into a word of a segment. @param offset from behind that word to the list, in words */
function writeList(segment, word, { offset, elements, length }) {
  segment.writeUInt32LE((offset << 2) | 1, word * WORD);
  segment.writeUInt32LE((length << 3) | elements, word * WORD + 4);
}

/** On what starts processes, where it adds the flags: a process may load this module more than once, as Playwright's does. */
const MENDED = Symbol.for("best-actor.mended");

/**
 * From now on, every workerd that this process starts has V8's flags: Miniflare writes the configuration into its input. Once is enough.
 */
export function mendWorkerd(flags = V8_FLAGS) {
  const { spawn } = childProcess;
  if (MENDED in spawn) return;
  childProcess.spawn = (command, args, ...rest) => {
    const child = spawn(command, args, ...rest);
    if (!Array.isArray(args) || args[0] !== "serve" || !args.includes("--binary")) return child;
    const write = child.stdin.write.bind(child.stdin);
    child.stdin.write = (config, ...more) => {
      child.stdin.write = write;
      return write(addV8Flags(config, flags), ...more);
    };
    return child;
  };
  childProcess.spawn[MENDED] = true;
}
