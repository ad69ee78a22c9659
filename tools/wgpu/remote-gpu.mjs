/**
 * WebGPU in Node whose work is done by another process (server.py): as much of it as our kernels and tfjs's backend call. What they call
 * is what they call in a browser, so that shaders, bindings, dispatches and buffers are the ones that a training has.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "../setup.mjs";

/** The other process. */
class Channel {
  #child;
  #waiting = new Map();
  #replies = 0;

  /** @param {string} python a Python that has wgpu and numpy */
  constructor(python) {
    this.#child = spawn(python, [join(root, "tools/wgpu/server.py")], { stdio: ["pipe", "pipe", "inherit"] });
    const pieces = [];
    let [have, wanted] = [0, 8];
    this.#child.stdout.on("data", (piece) => {
      pieces.push(piece);
      have += piece.length;
      while (have >= wanted) {
        const all = Buffer.concat(pieces);
        pieces.length = 0;
        const [text, data] = all.length < 8 ? [0, 0] : [all.readUInt32LE(0), all.readUInt32LE(4)];
        wanted = 8 + text + data;
        if (all.length < wanted) {
          pieces.push(all);
          break;
        }
        this.#answer(JSON.parse(all.subarray(8, 8 + text).toString()), all.subarray(8 + text, wanted));
        const rest = all.subarray(wanted);
        pieces.push(rest);
        [have, wanted] = [rest.length, 8];
      }
    });
    this.#child.on("exit", (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`The GPU's process ended (${code}).`));
    });
  }

  #answer({ reply, errors, ...header }, data) {
    const { resolve, reject } = this.#waiting.get(reply);
    this.#waiting.delete(reply);
    const [first] = errors;
    if (!first) resolve({ ...header, data: new Uint8Array(data) });
    else {
      const error = new Error(`${first.do}: ${first.message}`);
      if (first.do === "module" || first.do === "pipeline") error.name = "GPUPipelineError";
      reject(error);
    }
  }

  send(message, data = new Uint8Array()) {
    const text = Buffer.from(JSON.stringify(message));
    const head = Buffer.alloc(8);
    head.writeUInt32LE(text.length, 0);
    head.writeUInt32LE(data.byteLength, 4);
    // A copy: who has written may change its bytes at once.
    this.#child.stdin.write(Buffer.concat([head, text, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
  }

  ask(message, data) {
    const reply = this.#replies++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(reply, { resolve, reject });
      this.send({ ...message, reply }, data);
    });
  }

  end() {
    this.#child.stdin.end();
  }
}

const bytesOf = (data, offset = 0, size = undefined) => {
  if (!ArrayBuffer.isView(data)) return new Uint8Array(data, offset, size);
  const unit = data.BYTES_PER_ELEMENT ?? 1;
  const length = size === undefined ? data.byteLength - offset * unit : size * unit;
  return new Uint8Array(data.buffer, data.byteOffset + offset * unit, length);
};

export class RemoteBuffer {
  mapState = "unmapped";
  #channel;
  #mapped;

  constructor(channel, id, { size, usage, label, mappedAtCreation = false }) {
    this.#channel = channel;
    Object.assign(this, { id, size, usage, label });
    // Reading is the other process's to arrange: a buffer that is mapped there could be nothing else.
    const known = usage & GPUBufferUsage.MAP_READ ? GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST : usage;
    const plain = (known & ~GPUBufferUsage.MAP_WRITE) | GPUBufferUsage.COPY_DST;
    channel.send({ do: "buffer", id, size, usage: plain });
    if (mappedAtCreation) {
      this.#mapped = new ArrayBuffer(size);
      this.mapState = "mapped";
    }
  }

  async mapAsync(_, offset = 0, size = this.size - offset) {
    const { data } = await this.#channel.ask({ do: "read", id: this.id, offset, size });
    this.#mapped = data.buffer;
    this.mapState = "mapped";
  }

  getMappedRange() {
    return this.#mapped;
  }

  unmap() {
    if (!(this.usage & GPUBufferUsage.MAP_READ))
      this.#channel.send({ do: "write", id: this.id, offset: 0 }, new Uint8Array(this.#mapped));
    this.mapState = "unmapped";
  }

  destroy() {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    this.#channel.send({ do: "destroy", id: this.id });
  }
}

class RemoteDevice {
  lost = new Promise(() => undefined);
  #channel;
  #ids = 0;
  #changeShader;

  constructor(channel, { features, limits }, changeShader) {
    this.#channel = channel;
    this.#changeShader = changeShader;
    Object.assign(this, { features: new Set(features), limits });
    this.queue = {
      writeBuffer: ({ id }, offset, data, from, size) =>
        channel.send({ do: "write", id, offset }, bytesOf(data, from, size)),
      submit: (lists) => lists.forEach((commands) => channel.send({ do: "submit", commands })),
      onSubmittedWorkDone: async () => void (await channel.ask({ do: "done" })),
    };
  }

  #make(message) {
    const id = ++this.#ids;
    this.#channel.send({ ...message, id });
    return { id };
  }

  createBuffer(descriptor) {
    return new RemoteBuffer(this.#channel, ++this.#ids, descriptor);
  }
  createShaderModule({ code }) {
    return this.#make({ do: "module", code: this.#changeShader(code) });
  }
  createBindGroupLayout({ entries }) {
    return this.#make({ do: "bindGroupLayout", entries });
  }
  createPipelineLayout({ bindGroupLayouts }) {
    const made = this.#make({ do: "pipelineLayout", layouts: bindGroupLayouts.map(({ id }) => id) });
    return { ...made, bindGroupLayouts };
  }
  #describe({ layout, compute }) {
    const of = layout === "auto" ? layout : layout.id;
    return { do: "pipeline", layout: of, module: compute.module.id, entry: compute.entryPoint ?? "main" };
  }
  #pipeline(id, { layout }) {
    const found = (index) => this.#make({ do: "layoutOf", pipeline: id, index });
    return { id, getBindGroupLayout: (i) => (layout === "auto" ? found(i) : layout.bindGroupLayouts[i]) };
  }
  createComputePipeline(descriptor) {
    return this.#pipeline(this.#make(this.#describe(descriptor)).id, descriptor);
  }
  async createComputePipelineAsync(descriptor) {
    const id = ++this.#ids;
    await this.#channel.ask({ ...this.#describe(descriptor), id });
    return this.#pipeline(id, descriptor);
  }
  createBindGroup({ layout, entries }) {
    return this.#make({
      do: "bindGroup",
      layout: layout.id,
      entries: entries.map(({ binding, resource: { buffer, offset = 0, size = buffer.size - offset } }) => ({
        binding,
        buffer: buffer.id,
        offset,
        size,
      })),
    });
  }
  createCommandEncoder() {
    const commands = [];
    return {
      beginComputePass: () => {
        const set = {};
        commands.push(["pass"]);
        return {
          setPipeline: ({ id }) => (set.pipeline = id),
          setBindGroup: (_, { id }) => (set.group = id),
          dispatchWorkgroups: (x, y = 1, z = 1) => commands.push(["dispatch", set.pipeline, set.group, x, y, z]),
          end: () => commands.push(["end"]),
        };
      },
      copyBufferToBuffer: (from, fromAt, to, toAt, size) => commands.push(["copy", from.id, fromAt, to.id, toAt, size]),
      finish: () => commands,
    };
  }
}

/**
 * Starts the other process.
 * @param {string} python a Python that has wgpu and numpy
 * @param {{ changeShader?: (code: string) => string }} [how] changes shaders on their way, to put a fault into them
 * @returns {Promise<{ gpu: { requestAdapter: () => Promise<object> }, info: Record<string, string>, features: string[],
 *   convolve: (message: object, ...arrays: Float32Array[]) => Promise<Float64Array>, end: () => void }>}
 */
export async function openRemoteGpu(python, { changeShader = (code) => code } = {}) {
  const channel = new Channel(python);
  const { features, info, limits } = await channel.ask({ do: "adapter" });
  const adapter = {
    features: new Set(features),
    limits,
    info: { ...info, isFallbackAdapter: false },
    requestDevice: async ({ requiredFeatures = [], requiredLimits = {} }) => {
      await channel.ask({ do: "device", features: requiredFeatures, limits: requiredLimits });
      return new RemoteDevice(channel, { features: requiredFeatures, limits }, changeShader);
    },
  };
  return {
    gpu: { requestAdapter: () => Promise.resolve(adapter) },
    info,
    features,
    convolve: async (message, ...arrays) => {
      const all = Buffer.concat(arrays.map((one) => Buffer.from(one.buffer, one.byteOffset, one.byteLength)));
      const { data } = await channel.ask({ do: "convolve", ...message }, all);
      return new Float64Array(data.buffer);
    },
    end: () => channel.end(),
  };
}
