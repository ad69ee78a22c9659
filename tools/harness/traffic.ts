/** What goes to a GPU and what it moves, counted where any WebGPU code passes. */
export interface Traffic {
  dispatches: number;
  /** Of the buffers that each dispatch binds, once each. */
  bytes: number;
  uploadedBytes: number;
  readBackBytes: number;
}

/** Counts in this worker from now on, for all code in it alike: tfjs's as ours. */
export function countTraffic(): { counted: Traffic; reset: () => void } {
  const counted: Traffic = { dispatches: 0, bytes: 0, uploadedBytes: 0, readBackBytes: 0 };
  const bound = new WeakMap<GPUBindGroup, number>();
  let current = 0;
  const bytesOf = ({ resource }: GPUBindGroupEntry): number =>
    "buffer" in resource ? (resource.size ?? resource.buffer.size - (resource.offset ?? 0)) : 0;

  wrap(GPUDevice.prototype, "createBindGroup", (group, [{ entries }]) => {
    bound.set(
      group,
      [...entries].reduce((sum, entry) => sum + bytesOf(entry), 0),
    );
  });
  wrap(GPUComputePassEncoder.prototype, "setBindGroup", (_, [, group]) => {
    current = (group && bound.get(group)) ?? 0;
  });
  wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => {
    counted.dispatches += 1;
    counted.bytes += current;
  });
  wrap(GPUDevice.prototype, "createBuffer", (_, [{ mappedAtCreation, size }]) => {
    if (mappedAtCreation) counted.uploadedBytes += size;
  });
  wrap(GPUQueue.prototype, "writeBuffer", (_, [, , data, , size]) => {
    counted.uploadedBytes += size ?? data.byteLength;
  });
  const map = Object.getOwnPropertyDescriptor(GPUBuffer.prototype, "mapAsync")?.value as GPUBuffer["mapAsync"];
  GPUBuffer.prototype.mapAsync = function (this: GPUBuffer, mode, ...range) {
    // What tfjs maps to write is a staging buffer that it uses again.
    if (mode === GPUMapMode.READ) counted.readBackBytes += this.size;
    else counted.uploadedBytes += this.size;
    return map.call(this, mode, ...range);
  };
  const reset = (): void => {
    Object.assign(counted, { dispatches: 0, bytes: 0, uploadedBytes: 0, readBackBytes: 0 } satisfies Traffic);
  };
  return { counted, reset };
}

type Method = (...given: never[]) => unknown;

/** Has `seen` see every call of a method, with what it gave. */
function wrap<T, K extends keyof T>(
  prototype: T,
  name: K,
  seen: T[K] extends (...given: infer G) => infer R ? (result: R, given: G) => void : never,
): void {
  const plain = prototype[name] as Method;
  prototype[name] = function (this: T, ...given: never[]) {
    const result = plain.apply(this, given);
    (seen as (result: unknown, given: never[]) => void)(result, given);
    return result;
  } as T[K];
}
