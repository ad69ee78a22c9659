"""Between PyTorch's models (models.py) and the project's files: names and layouts of src/model/model.ts, safetensors."""
import json
import struct

import numpy as np
import torch
import torch.nn as nn


def tensors(model):
    """(name, tensor, side) of every tensor of a model, in the order of src/model/model.ts; side: see `ours`."""
    convs, norms, denses, channels = 0, 0, 0, 1
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            name = f"block{norms // 2 + 1}_norm{norms % 2 + 1}"
            norms += 1
            yield f"{name}/gamma", layer.weight, 0
            yield f"{name}/beta", layer.bias, 0
            yield f"{name}/moving_mean", layer.running_mean, 0
            yield f"{name}/moving_variance", layer.running_var, 0
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            side = 0
            if isinstance(layer, nn.Conv2d):
                name = f"block{convs // 2 + 1}_conv{convs % 2 + 1}"
                convs += 1
                channels = layer.out_channels
            else:
                denses += 1
                name = "expression" if layer is model[-1] else f"dense{denses}"
                if denses == 1:
                    side = int((layer.in_features // channels) ** 0.5)
            yield f"{name}/kernel", layer.weight, side
            yield f"{name}/bias", layer.bias, 0


def ours(tensor, side=0):
    """
    From PyTorch's layout (O, I, H, W or O, I) to ours (H, W, I, O or I, O), as a NumPy array. PyTorch flattens channels first, the
    project channels last: `side` is the height and width of what the first dense layer flattens.
    """
    values = tensor.detach().cpu().float()
    if side:
        values = values.unflatten(1, (-1, side, side)).permute(0, 2, 3, 1).flatten(1)
    order = (2, 3, 1, 0) if values.dim() == 4 else (1, 0) if values.dim() == 2 else (0,)
    return np.ascontiguousarray(values.permute(order).numpy())


def read_checkpoint(path, model):
    """Fills a model from a checkpoint of the project (src/model/checkpoint.ts), float32 or int8."""
    with open(path, "rb") as f:
        data = f.read()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + length]), data[8 + length:]

    def values(name):
        at = header[name]
        kind = {"F32": np.float32, "I8": np.int8}[at["dtype"]]
        return np.frombuffer(body[slice(*at["data_offsets"])], kind).reshape(at["shape"]).astype(np.float32)

    with torch.no_grad():
        for name, tensor, side in tensors(model):
            array = values(name) * values(f"{name}/scale") if f"{name}/scale" in header else values(name)
            theirs = torch.from_numpy(array.copy())
            if side:
                theirs = theirs.unflatten(0, (side, side, -1)).permute(2, 0, 1, 3).flatten(0, 2)
            order = (3, 2, 0, 1) if theirs.dim() == 4 else (1, 0) if theirs.dim() == 2 else (0,)
            tensor.copy_(theirs.permute(order))
    return model


def quantized(arrays):
    """Kernels as int8 with a scale for each output channel, and all else as it is: in the order of int8 checkpoints."""
    wide, narrow = {}, {}
    for name, values in arrays.items():
        if values.ndim == 1:
            wide[name] = values
            continue
        scale = (np.abs(values.reshape(-1, values.shape[-1])).max(0) / 127).astype(np.float32)
        wide[f"{name}/scale"] = scale
        narrow[name] = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
    return {**wide, **narrow}


def write_safetensors(path, arrays, metadata):
    """Writes a dictionary of float32 and int8 arrays, in its order."""
    header, offset = {"__metadata__": metadata}, 0
    for name, values in arrays.items():
        dtype = {"float32": "F32", "int8": "I8"}[str(values.dtype)]
        end = offset + values.nbytes
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for v in arrays.values()))
