#!/usr/bin/env python3
"""Tries to see the faces behind updates: gradient inversion, for benchmarks/attacks.mjs.

    python3 tools/attacks/invert.py FOLDER [--iterations 400]

FOLDER holds what benchmarks/attacks.mjs wrote: cases.json, weights.f32, and for each case its update and, to score the result,
its faces. The attacker knows the weights, the update, the number of faces, the learning rate and how many steps were taken, and
takes the update for one step on all faces (Zhu et al. 2019, arXiv 1906.08935, with the cosine distance and the total variation of
Geiping et al. 2020, arXiv 2003.14053). Labels come from the last layer's bias (iDLG, Zhao et al. 2020, arXiv 2001.02610). Faces
are compared by SSIM (Wang et al. 2004) in the best order. Its last line is one JSON array.

Needs PyTorch and NumPy (Debian: python3-torch, python3-numpy).
"""
import argparse
import json
import os
import struct
import sys
import zlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../pretrain"))
from layout import tensors  # noqa: E402
from train import build  # noqa: E402


def split(flat, model):
    """A flat vector of src/core/model.ts as PyTorch's tensors, by name, in PyTorch's layouts."""
    out, at = {}, 0
    for name, tensor, _ in tensors(model):
        shape = tuple(tensor.shape)
        values = torch.from_numpy(flat[at:at + tensor.numel()].copy())
        at += tensor.numel()
        if len(shape) == 4:
            values = values.reshape(shape[2], shape[3], shape[1], shape[0]).permute(3, 2, 0, 1)
        elif len(shape) == 2:
            values = values.reshape(shape[1], shape[0]).T
        out[name] = values.contiguous()
    assert at == len(flat)
    return out


def spatial(values, channels):
    """A first dense kernel from channels last to channels first."""
    side = int((values.shape[1] // channels) ** 0.5)
    return values.reshape(-1, side, side, channels).permute(0, 3, 1, 2).flatten(1).contiguous()


def load(model, flat):
    channels = 0
    for layer, name in zip_layers(model):
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
    values = split(flat, model)
    first = True
    for layer, name in zip_layers(model):
        with torch.no_grad():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.copy_(values[f"{name}/gamma"])
                layer.bias.copy_(values[f"{name}/beta"])
                layer.running_mean.copy_(values[f"{name}/moving_mean"])
                layer.running_var.copy_(values[f"{name}/moving_variance"])
            else:
                kernel = values[f"{name}/kernel"]
                if isinstance(layer, nn.Linear) and first:
                    kernel, first = spatial(kernel, channels), False
                layer.weight.copy_(kernel)
                layer.bias.copy_(values[f"{name}/bias"])


def zip_layers(model):
    """Layers that have weights, with their names."""
    names = []
    for name, _, _ in tensors(model):
        base = name.rsplit("/", 1)[0]
        if base not in names:
            names.append(base)
    layers = [layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    return list(zip(layers, names))


def gradient_of(model, delta, scale):
    """What an update says of the gradient, in the order of model.parameters()."""
    values = split(delta, model)
    channels = max(layer.out_channels for layer in model if isinstance(layer, nn.Conv2d))
    out, first = [], True
    for layer, name in zip_layers(model):
        kernel = values.get(f"{name}/kernel", values.get(f"{name}/gamma"))
        if isinstance(layer, nn.Linear) and first:
            kernel, first = spatial(kernel, channels), False
        out += [-kernel / scale, -values.get(f"{name}/bias", values.get(f"{name}/beta")) / scale]
    return out


def labels_of(gradient, count):
    """iDLG: the last bias's gradient is the mean of p - onehot, so that a label that was there pulls its entry down."""
    bias = gradient[-1]
    left = torch.clamp(-bias, min=0)
    left = left / left.sum() * count if left.sum() > 0 else torch.full_like(left, count / len(left))
    labels = []
    for _ in range(count):
        label = int(left.argmax())
        labels.append(label)
        left[label] -= 1
    return torch.tensor(labels)


def variation(x):
    return (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()


def invert(model, gradient, labels, iterations, seed):
    generator = torch.Generator().manual_seed(seed)
    x = (0.5 + 0.1 * torch.randn(len(labels), 1, 48, 48, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    norm = torch.sqrt(sum((g ** 2).sum() for g in gradient))
    for _ in range(iterations):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        own = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        dot = sum((a * b).sum() for a, b in zip(own, gradient))
        size = torch.sqrt(sum((a ** 2).sum() for a in own))
        (1 - dot / (size * norm + 1e-12) + 1e-2 * variation(x)).backward()
        x.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach()


def ssim(a, b):
    """Mean SSIM of two 48 x 48 pictures in 0..1, with a window of 7 x 7."""
    mean = lambda v: F.avg_pool2d(v[None, None], 7, 1)[0, 0]  # noqa: E731
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma ** 2, mean(b * b) - mb ** 2, mean(a * b) - ma * mb
    return float((((2 * ma * mb + 1e-4) * (2 * cov + 9e-4)) / ((ma ** 2 + mb ** 2 + 1e-4) * (va + vb + 9e-4))).mean())


def best_order(found, real):
    """SSIM of each real face with the found one that it is paired with, the best pairs first."""
    scores = [[ssim(f, r) for r in real] for f in found]
    pairs, left_f, left_r = {}, set(range(len(found))), set(range(len(real)))
    for score, i, j in sorted(((scores[i][j], i, j) for i in left_f for j in left_r), reverse=True):
        if i in left_f and j in left_r:
            pairs[j] = (score, i)
            left_f.discard(i)
            left_r.discard(j)
    return [pairs[j] for j in range(len(real))]


def write_png(path, rows):
    """A grey picture."""
    raw = b"".join(b"\0" + bytes(row) for row in rows.tolist())
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 8, 0, 0, 0, 0)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("folder")
    a.add_argument("--iterations", type=int, default=400)
    a = a.parse_args()
    torch.manual_seed(1)
    with open(os.path.join(a.folder, "cases.json")) as f:
        cases = json.load(f)
    read = lambda name, dtype: np.fromfile(os.path.join(a.folder, name), dtype)  # noqa: E731
    results = []
    for case in cases:
        model = build(case["model"])
        load(model, read("weights.f32", np.float32))
        # As in the client's training: batch statistics. The client's dropout is its own secret.
        for layer in model:
            layer.train(isinstance(layer, nn.BatchNorm2d))
        gradient = gradient_of(model, read(f"{case['name']}.f32", np.float32), case["learningRate"] * case["steps"])
        count = case["faces"]
        real = torch.from_numpy(read(f"{case['name']}.u8", np.uint8)).reshape(count, 48, 48).float() / 255
        if case["protection"] == "control":
            loss = F.cross_entropy(model(real[:, None]), torch.tensor(case["labels"]))
            gradient = [g.detach() for g in torch.autograd.grad(loss, list(model.parameters()))]
        labels = labels_of(gradient, count)
        wanted = torch.bincount(torch.tensor(case["labels"]), minlength=7)
        hits = int(torch.minimum(wanted, torch.bincount(labels, minlength=7)).sum())
        found = invert(model, gradient, labels, a.iterations, 1)[:, 0]
        pairs = best_order(found, real)
        shown = torch.cat([torch.cat(list(real), 1), torch.cat([found[i] for _, i in pairs], 1)], 0)
        write_png(os.path.join(a.folder, f"{case['name']}.png"), (shown * 255).round().to(torch.uint8).numpy())
        results.append({**case, "ssim": round(sum(s for s, _ in pairs) / count, 4), "labelsFound": hits})
        print(f"{case['name']}: SSIM {results[-1]['ssim']:.3f}, {hits} of {count} labels", flush=True)
    for result in results:
        del result["labels"]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
