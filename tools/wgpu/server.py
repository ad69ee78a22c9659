#!/usr/bin/env python3
"""A GPU for tools/wgpu/remote-gpu.mjs: runs what it is told over stdin with wgpu-py (wgpu-native, whose shader compiler is Firefox's naga).

Needs the packages wgpu and numpy of PyPI, and a Vulkan driver (Debian: mesa-vulkan-drivers, Mesa's lavapipe). A message is two
lengths of four bytes, JSON, and bytes. What has a "reply" is answered. Kernels' own products are also computed here by NumPy in float64.
"""
import json
import struct
import sys

import numpy as np
import wgpu

ins, outs = sys.stdin.buffer, sys.stdout.buffer
things = {}
errors = []
# What WebGPU calls "subgroups" has another name in wgpu-native, which needs no line in the shader for it, and does not know that line yet.
FEATURES = {"shader-f16": "shader-f16", "subgroups": "subgroup"}
LIMITS = ("maxComputeWorkgroupStorageSize", "maxComputeWorkgroupsPerDimension", "maxStorageBufferBindingSize", "maxBufferSize",
          "maxComputeWorkgroupSizeX", "maxComputeInvocationsPerWorkgroup")


def dashed(name):
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name)


def answer(number, header, data=b""):
    text = json.dumps({"reply": number, "errors": list(errors), **header}).encode()
    errors.clear()
    outs.write(struct.pack("<II", len(text), len(data)) + text + data)
    outs.flush()


def convolve(message, data):
    """One of a convolution's three products with zeros around the picture, in float64, tap by tap."""
    kind, pad = message["kind"], message["pad"]
    arrays, at = [], 0
    for shape in message["shapes"]:
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(data, np.float32, size, at).reshape(shape).astype(np.float64))
        at += size * 4
    if kind == "forward":
        x, w, b = arrays
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        side = w.shape[0]
        h, v = padded.shape[1] - side + 1, padded.shape[2] - side + 1
        taps = [(r, c) for r in range(side) for c in range(side)]
        return np.maximum(sum(padded[:, r:r + h, c:c + v] @ w[r, c] for r, c in taps) + b, 0)
    if kind == "input":
        dz, w = arrays
        n, h, v, _ = dz.shape
        side = w.shape[0]
        padded = np.zeros((n, h + side - 1, v + side - 1, w.shape[2]))
        for r in range(side):
            for c in range(side):
                padded[:, r:r + h, c:c + v] += dz @ w[r, c].T
        return padded[:, pad:padded.shape[1] - pad, pad:padded.shape[2] - pad]
    x, dz = arrays
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    _, h, v, _ = dz.shape
    side = padded.shape[1] - h + 1
    rows = [np.einsum("nhwi,nhwo->io", padded[:, r:r + h, c:c + v], dz) for r in range(side) for c in range(side)]
    return np.concatenate([*rows, dz.sum((0, 1, 2))[None]])


def adapter_of():
    adapters = wgpu.gpu.enumerate_adapters_sync()
    for adapter in adapters:
        if adapter.info["backend_type"] == "Vulkan":
            return adapter
    raise SystemExit("wgpu-native finds no Vulkan driver: install mesa-vulkan-drivers.")


adapter = adapter_of()
device = fence = None


def encode(commands):
    encoder = device.create_command_encoder()
    compute = None
    for command, *rest in commands:
        if command == "pass":
            compute = encoder.begin_compute_pass()
        elif command == "end":
            compute.end()
        elif command == "dispatch":
            pipeline, group, x, y, z = rest
            compute.set_pipeline(things[pipeline])
            compute.set_bind_group(0, things[group])
            compute.dispatch_workgroups(x, y, z)
        else:
            source, source_at, target, target_at, size = rest
            encoder.copy_buffer_to_buffer(things[source], source_at, things[target], target_at, size)
    device.queue.submit([encoder.finish()])


def act(message, data):
    global device, fence
    do, name = message["do"], message.get("id")
    if do == "adapter":
        has = [ours for ours, theirs in FEATURES.items() if theirs in adapter.features]
        info = {key: str(adapter.info[key]) for key in ("vendor", "architecture", "device", "description")}
        limits = {limit: adapter.limits[dashed(limit)] for limit in LIMITS}
        info["wgpu"] = wgpu.__version__
        return {"features": has, "info": info, "limits": limits}, b""
    if do == "device":
        features = [FEATURES[feature] for feature in message["features"]]
        limits = {dashed(limit): value for limit, value in message["limits"].items()}
        device = adapter.request_device_sync(required_features=features, required_limits=limits)
        fence = device.create_buffer(size=4, usage=wgpu.BufferUsage.COPY_SRC)
    elif do == "buffer":
        things[name] = device.create_buffer(size=message["size"], usage=message["usage"])
    elif do == "destroy":
        things.pop(name).destroy()
    elif do == "write":
        device.queue.write_buffer(things[name], message["offset"], data)
    elif do == "module":
        things[name] = device.create_shader_module(code=message["code"].replace("enable subgroups;\n", ""))
    elif do == "bindGroupLayout":
        things[name] = device.create_bind_group_layout(entries=message["entries"])
    elif do == "pipelineLayout":
        things[name] = device.create_pipeline_layout(bind_group_layouts=[things[one] for one in message["layouts"]])
    elif do == "pipeline":
        compute = {"module": things[message["module"]], "entry_point": message["entry"]}
        layout = "auto" if message["layout"] == "auto" else things[message["layout"]]
        things[name] = device.create_compute_pipeline(layout=layout, compute=compute)
    elif do == "layoutOf":
        things[name] = things[message["pipeline"]].get_bind_group_layout(message["index"])
    elif do == "bindGroup":
        entries = [{"binding": entry["binding"],
                    "resource": {"buffer": things[entry["buffer"]], "offset": entry["offset"], "size": entry["size"]}}
                   for entry in message["entries"]]
        things[name] = device.create_bind_group(layout=things[message["layout"]], entries=entries)
    elif do == "submit":
        encode(message["commands"])
    elif do == "read":
        return {}, bytes(device.queue.read_buffer(things[name], message["offset"], message["size"]))
    elif do == "done":
        # What is read is what all that was submitted before has left.
        device.queue.read_buffer(fence)
    elif do == "convolve":
        return {}, np.ascontiguousarray(convolve(message, data)).tobytes()
    return {}, b""


while True:
    head = ins.read(8)
    if len(head) < 8:
        break
    length, size = struct.unpack("<II", head)
    message, data = json.loads(ins.read(length)), ins.read(size)
    try:
        header, payload = act(message, data)
    except Exception as error:  # noqa: BLE001: whatever it is, who asks next is told
        errors.append({"do": message["do"], "message": str(error)})
        header, payload = {}, b""
    if "reply" in message:
        answer(message["reply"], header, payload)
