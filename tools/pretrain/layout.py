"""Between PyTorch's models (train.py) and the project's files: names and layouts of src/core/model.ts, safetensors."""
import json
import struct

import numpy as np
import torch.nn as nn


def tensors(model):
    """(name, tensor, trainable) of every tensor of a model, in the order of src/core/model.ts."""
    convs, norms, denses, channels = 0, 0, 0, 1
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            name = f"block{norms // 2 + 1}_norm{norms % 2 + 1}"
            norms += 1
            yield f"{name}/gamma", layer.weight, True
            yield f"{name}/beta", layer.bias, True
            yield f"{name}/moving_mean", layer.running_mean, False
            yield f"{name}/moving_variance", layer.running_var, False
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            if isinstance(layer, nn.Conv2d):
                name = f"block{convs // 2 + 1}_conv{convs % 2 + 1}"
                convs += 1
                channels = layer.out_channels
            else:
                denses += 1
                name = "expression" if layer is model[-1] else f"dense{denses}"
            kernel = layer.weight
            if isinstance(layer, nn.Linear) and denses == 1 and layer.in_features > channels:
                # PyTorch flattens channels first, the project channels last.
                side = int((layer.in_features // channels) ** 0.5)
                kernel = kernel.unflatten(1, (channels, side, side)).permute(0, 2, 3, 1).flatten(1)
            yield f"{name}/kernel", kernel, True
            yield f"{name}/bias", layer.bias, True


def ours(tensor):
    """From PyTorch's layout (O, I, H, W or O, I) to ours (H, W, I, O or I, O), as a NumPy array."""
    order = (2, 3, 1, 0) if tensor.dim() == 4 else (1, 0) if tensor.dim() == 2 else (0,)
    return np.ascontiguousarray(tensor.detach().cpu().permute(order).numpy())


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
