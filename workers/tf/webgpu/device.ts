/** Kernels as data, and what runs them: buffers by name, pipelines made once, and an account of what each dispatch moves. */

/** Numbers that a step's kernels share, as they lie in the uniform buffer. */
export const PARAMETERS = [
  ["n", "u32"],
  ["seed", "u32"],
  ["isDropping", "u32"],
  ["taught", "u32"],
  ["momentum", "f32"],
  ["rate", "f32"],
  ["proximal", "f32"],
  ["clipNorm", "f32"],
  ["firstCorrection", "f32"],
  ["secondCorrection", "f32"],
] as const;
export type Parameters = Record<(typeof PARAMETERS)[number][0], number>;
const PARAMETER_BYTES = Math.ceil(PARAMETERS.length / 4) * 16;

type ElementType = "f32" | "vec4f" | "u32" | "vec4u";

export interface Binding {
  /** In the shader. */
  name: string;
  type: ElementType;
  /** Whether the kernel writes it. */
  isWritten?: boolean;
  buffer: string;
}

/** One dispatch. */
export interface Kernel {
  label: string;
  /** What it asks of the device, by its name in WGSL. */
  enables?: readonly ("f16" | "subgroups")[];
  bindings: readonly Binding[];
  /** WGSL after the bindings; its entry point is `main`. */
  code: string;
  /** Workgroups for n inputs. */
  groups: (n: number) => readonly [number, number?, number?];
  /** What it moves and computes for n inputs, by its own loads and stores. */
  cost: (n: number) => { read: number; written: number; flop: number };
}

/** Workgroups in one row of a grid that only counts: a device takes 65,535 in each direction. */
export const GRID_ROW = 32_768;
/** A grid of so many workgroups; the shader finds its own with {@link GROUP_INDEX}. */
export const grid = (groups: number): readonly [number, number] => [
  Math.min(groups, GRID_ROW),
  Math.ceil(groups / GRID_ROW),
];
export const GROUP_INDEX = `(group.x + group.y * ${GRID_ROW}u)`;

const uniforms = `struct Parameters { ${PARAMETERS.map(([name, type]) => `${name}: ${type}`).join(", ")} }
@group(0) @binding(0) var<uniform> step: Parameters;
`;

/** A kernel's whole shader. */
export const shaderOf = ({ enables = [], bindings, code }: Kernel): string =>
  enables.map((name) => `enable ${name};\n`).join("") +
  uniforms +
  bindings
    .map(
      ({ name, type, isWritten }, i) =>
        `@group(0) @binding(${i + 1}) var<storage, ${isWritten ? "read_write" : "read"}> ${name}: array<${type}>;\n`,
    )
    .join("") +
  code;

/** Whether a driver could not compile a kernel. */
export const isPipelineError = (error: unknown): boolean => error instanceof Error && error.name === "GPUPipelineError";

/** What dispatches have moved since the last reset. */
export interface Account {
  dispatches: number;
  bytes: number;
  flop: number;
}

/**
 * By the shader's text, for whatever computes on a GPU: one model after the other mostly has the same. What a search for the fastest tiles has
 * tried stays, too, until the device goes.
 */
const pipelines = new WeakMap<GPUDevice, Map<string, GPUComputePipeline>>();

function pipelinesOf(gpu: GPUDevice): Map<string, GPUComputePipeline> {
  const known = pipelines.get(gpu) ?? new Map<string, GPUComputePipeline>();
  pipelines.set(gpu, known);
  return known;
}

export class Device {
  readonly #uniform: GPUBuffer;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #pipelines: Map<string, GPUComputePipeline>;
  /** Of kernels that somebody still has. */
  #groups = new WeakMap<Kernel, GPUBindGroup>();
  account: Account = { dispatches: 0, bytes: 0, flop: 0 };

  constructor(readonly gpu: GPUDevice) {
    this.#pipelines = pipelinesOf(gpu);
    this.#uniform = gpu.createBuffer({
      size: PARAMETER_BYTES,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
  }

  /** A buffer of at least so many numbers, which keeps its content where it is large enough already. @throws RangeError */
  reserve(name: string, numbers: number): GPUBuffer {
    const known = this.#buffers.get(name);
    const size = Math.max(16, Math.ceil(numbers / 4) * 16);
    if (known && known.size >= size) return known;
    const most = Math.min(this.gpu.limits.maxStorageBufferBindingSize, this.gpu.limits.maxBufferSize);
    if (size > most)
      throw new RangeError(`This batch is too large for this GPU: ${name} takes ${size} bytes of ${most}.`);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.gpu.createBuffer({ label: name, size, usage });
    this.#buffers.set(name, buffer);
    known?.destroy();
    this.#groups = new WeakMap();
    return buffer;
  }

  buffer(name: string): GPUBuffer {
    const buffer = this.#buffers.get(name);
    if (!buffer) throw new Error(`There is no buffer ${name}.`);
    return buffer;
  }

  write(name: string, data: Float32Array | Uint32Array): void {
    this.gpu.queue.writeBuffer(this.buffer(name), 0, data.buffer, data.byteOffset, data.byteLength);
  }

  setParameters(values: Parameters): void {
    const bytes = new DataView(new ArrayBuffer(PARAMETER_BYTES));
    PARAMETERS.forEach(([name, type], i) => {
      if (type === "u32") bytes.setUint32(i * 4, values[name], true);
      else bytes.setFloat32(i * 4, values[name], true);
    });
    this.gpu.queue.writeBuffer(this.#uniform, 0, bytes.buffer);
  }

  /** Compiles kernels beside each other, as many as the browser has threads for. */
  async prepare(kernels: readonly Kernel[]): Promise<void> {
    const missing = new Map(kernels.map((kernel) => [shaderOf(kernel), kernel]));
    await Promise.all(
      [...missing]
        .filter(([code]) => !this.#pipelines.has(code))
        .map(async ([code, kernel]) => {
          this.#pipelines.set(code, await this.gpu.createComputePipelineAsync(this.#describe(kernel, code)));
        }),
    );
  }

  #describe({ label, bindings }: Kernel, code: string): GPUComputePipelineDescriptor {
    const { gpu } = this;
    // Said in full: a layout that is found in the shader leaves out what a variant of it does not use.
    const types: GPUBufferBindingType[] = ["uniform"];
    for (const { isWritten } of bindings) types.push(isWritten ? "storage" : "read-only-storage");
    const entries = types.map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    }));
    const layout = gpu.createPipelineLayout({ bindGroupLayouts: [gpu.createBindGroupLayout({ entries })] });
    return { label, layout, compute: { module: gpu.createShaderModule({ label, code }) } };
  }

  /** Runs kernels one after the other on n inputs. */
  run(kernels: readonly Kernel[], n: number): void {
    this.#submit(kernels, n);
  }

  /** Runs kernels and copies the first so many numbers of a buffer out into another. */
  runTo(kernels: readonly Kernel[], n: number, from: string, to: GPUBuffer): void {
    this.#submit(kernels, n, (encoder) => {
      encoder.copyBufferToBuffer(this.buffer(from), 0, to, 0, to.size);
    });
  }

  /** Runs kernels and reads the first so many numbers of a buffer. */
  async runAndRead(
    kernels: readonly Kernel[],
    n: number,
    name: string,
    numbers: number,
  ): Promise<Float32Array<ArrayBuffer>> {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const staging = this.gpu.createBuffer({ size: numbers * 4, usage });
    this.runTo(kernels, n, name, staging);
    try {
      await staging.mapAsync(GPUMapMode.READ);
      return new Float32Array(staging.getMappedRange().slice(0));
    } finally {
      staging.destroy();
    }
  }

  /** The first so many numbers of a buffer. */
  read(name: string, numbers: number): Promise<Float32Array<ArrayBuffer>> {
    return this.runAndRead([], 0, name, numbers);
  }

  /** Milliseconds that a kernel takes on n inputs, the better of two tries, by the GPU's own clock where it has one. */
  async time(kernel: Kernel, n: number, repeats: number): Promise<number> {
    const kernels = Array.from({ length: repeats }, () => kernel);
    const hasClock = this.gpu.features.has("timestamp-query");
    // The first one alone: it may still have something to set up.
    this.run([kernel], n);
    await this.gpu.queue.onSubmittedWorkDone();
    let best = Infinity;
    for (let i = 0; i < 2; i++) {
      const begun = performance.now();
      if (hasClock) best = Math.min(best, await this.#timeByClock(kernels, n));
      else {
        this.run(kernels, n);
        await this.gpu.queue.onSubmittedWorkDone();
        best = Math.min(best, performance.now() - begun);
      }
    }
    return best / repeats;
  }

  async #timeByClock(kernels: readonly Kernel[], n: number): Promise<number> {
    const { gpu } = this;
    const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 });
    const resolved = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const staging = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const encoder = gpu.createCommandEncoder();
    const timestampWrites = { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    this.#encode(encoder, kernels, n, { timestampWrites });
    encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
    gpu.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(GPUMapMode.READ);
      const [begin = 0n, end = 0n] = new BigUint64Array(staging.getMappedRange());
      return Number(end - begin) / 1e6;
    } finally {
      for (const one of [querySet, resolved, staging]) one.destroy();
    }
  }

  #submit(kernels: readonly Kernel[], n: number, after?: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.gpu.createCommandEncoder();
    if (kernels.length > 0) this.#encode(encoder, kernels, n);
    after?.(encoder);
    this.gpu.queue.submit([encoder.finish()]);
  }

  #encode(encoder: GPUCommandEncoder, kernels: readonly Kernel[], n: number, how: GPUComputePassDescriptor = {}): void {
    const pass = encoder.beginComputePass(how);
    for (const kernel of kernels) {
      const pipeline = this.#pipeline(kernel);
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, this.#group(kernel, pipeline));
      const [x, y = 1, z = 1] = kernel.groups(n);
      pass.dispatchWorkgroups(x, y, z);
      const { read, written, flop } = kernel.cost(n);
      this.account.dispatches += 1;
      this.account.bytes += read + written;
      this.account.flop += flop;
    }
    pass.end();
  }

  #pipeline(kernel: Kernel): GPUComputePipeline {
    const code = shaderOf(kernel);
    let pipeline = this.#pipelines.get(code);
    if (!pipeline) this.#pipelines.set(code, (pipeline = this.gpu.createComputePipeline(this.#describe(kernel, code))));
    return pipeline;
  }

  #group(kernel: Kernel, pipeline: GPUComputePipeline): GPUBindGroup {
    let group = this.#groups.get(kernel);
    if (!group) {
      const buffers = kernel.bindings.map(({ buffer }) => this.buffer(buffer));
      const entries = [this.#uniform, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
      this.#groups.set(kernel, (group = this.gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })));
    }
    return group;
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
    this.#uniform.destroy();
    this.#buffers.clear();
    this.#groups = new WeakMap();
  }
}
