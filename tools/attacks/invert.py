#!/usr/bin/env python3
"""Tries to see the faces behind updates: gradient inversion, for benchmarks/attacks.mjs.

    python3 tools/attacks/invert.py FOLDER [--iterations 600] [--part 0 --parts 1]

FOLDER holds what benchmarks/attacks.mjs wrote: cases.json, weights.f32, public.u8 (faces of other people), strangers.u8 (others to
score the result against), and for each case its update and, to score the result, its faces. Two attackers, who both know the weights, the update, the number of faces, the learning
rate and how many steps were taken, and read the labels off the last layer's bias (iDLG, Zhao et al. 2020, arXiv 2001.02610):

- `matching` looks for pictures with the update's gradient (Zhu et al. 2019, arXiv 1906.08935, with the cosine distance and the total
  variation of Geiping et al. 2020, arXiv 2003.14053).
- `informed` uses what this model gives away more directly. The gradient of a dense kernel is a sum of outer products whose right
  halves are its inputs (Phong et al. 2018, IEEE TIFS 13(5)): it looks for pictures whose features lie in their span, whose batch
  statistics are those that the moving averages have taken in (Yin et al. 2021, arXiv 2104.07586), and that are likely faces by the
  eigenfaces of other people's (Turk and Pentland 1991).

Recovered and real faces are paired by SSIM (Wang et al. 2004), the best pairs first. `closer` is the share of a thousand other faces
that the recovered one is less like than the real one, by the cosine between their first hundred eigenface coefficients: half where
nothing was learned of a person. The last line is one JSON array.

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

# How much of a batch's statistics the moving averages take in at a step: 1 - the momentum of src/model/model.ts.
BN_MOMENTUM = 0.01
EIGENFACES = 600

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../pretrain"))
from layout import tensors  # noqa: E402
from models import build  # noqa: E402


def split(flat, model):
    """A flat vector of src/model/model.ts as PyTorch's tensors, by name, in PyTorch's layouts."""
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


def batch_statistics(model, weights, delta, steps):
    """By place of the layer in the model: the means and variances that its moving averages have taken in. None where they stayed."""
    before, change = split(weights, model), split(delta, model)
    taken = 1 - (1 - BN_MOMENTUM) ** steps
    out = {}
    for layer, name in zip_layers(model):
        if not isinstance(layer, nn.BatchNorm2d):
            continue
        moved = [change[f"{name}/moving_{kind}"] for kind in ("mean", "variance")]
        if any(bool(values.any()) for values in moved):
            was = [before[f"{name}/moving_{kind}"] for kind in ("mean", "variance")]
            out[list(model).index(layer)] = [w + m / taken for w, m in zip(was, moved)]
    return out


def eigenfaces(faces, count):
    """Mean and principal components of N x 2304 faces, each as long as the faces vary along it."""
    mean = faces.mean(0)
    _, sizes, directions = torch.linalg.svd(faces - mean, full_matrices=False)
    return mean, directions[:count] * (sizes[:count, None] / len(faces) ** 0.5)


def invert_informed(model, delta, weights, case, eigen, iterations, seed):
    """Pictures whose features and batch statistics are the update's: count x 48 x 48."""
    layers = list(model)
    flat = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
    channels = max(layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d))
    name = next(name for layer, name in zip_layers(model) if layer is layers[flat + 1])
    kernel = spatial(split(delta, model)[f"{name}/kernel"], channels)
    _, sizes, span = torch.linalg.svd(kernel, full_matrices=False)
    energy = torch.cumsum(sizes ** 2, 0) / (sizes ** 2).sum()
    span = span[:min(int((energy < 0.999).sum()) + 1, case["faces"] * case["epochs"])]
    # Inputs that the client's dropout took have left no gradient.
    kept = kernel.abs().sum(0) > 0
    statistics = batch_statistics(model, weights, delta, case["steps"])
    mean, directions = eigen
    generator = torch.Generator().manual_seed(seed)
    c = (0.05 * torch.randn(case["faces"], len(directions), generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([c], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        optimizer.zero_grad()
        h = (mean + c @ directions).reshape(-1, 1, 48, 48)
        apart = torch.zeros(())
        for i, layer in enumerate(layers[:flat + 1]):
            if i in statistics:
                m, v = statistics[i]
                apart = apart + ((h.mean((0, 2, 3)) - m) ** 2).mean() / (m ** 2).mean()
                apart = apart + ((h.var((0, 2, 3), unbiased=False) - v) ** 2).mean() / (v ** 2).mean()
            h = layer(h)
        features = h * kept
        outside = ((features - features @ span.T @ span) ** 2).sum(1) / (features ** 2).sum(1)
        (outside.mean() + 3 * apart / max(1, len(statistics)) + 0.01 * (c ** 2).mean()).backward()
        optimizer.step()
        schedule.step()
    return (mean + c.detach() @ directions).clamp(0, 1).reshape(-1, 48, 48)


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
    """Mean SSIM of 48 x 48 pictures in 0..1, with a window of 7 x 7; a and b are N x 48 x 48 or 1 x 48 x 48."""
    mean = lambda v: F.avg_pool2d(v[:, None], 7, 1)[:, 0]  # noqa: E731
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma ** 2, mean(b * b) - mb ** 2, mean(a * b) - ma * mb
    values = ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4)) / ((ma ** 2 + mb ** 2 + 1e-4) * (va + vb + 9e-4))
    return values.mean((1, 2))


def best_order(found, real):
    """SSIM of each real face with the found one that it is paired with, the best pairs first."""
    scores = [ssim(f[None], real).tolist() for f in found]
    pairs, left_f, left_r = {}, set(range(len(found))), set(range(len(real)))
    for score, i, j in sorted(((scores[i][j], i, j) for i in left_f for j in left_r), reverse=True):
        if i in left_f and j in left_r:
            pairs[j] = (score, i)
            left_f.discard(i)
            left_r.discard(j)
    return [pairs[j] for j in range(len(real))]


def closer_than(found, real, strangers, eigen):
    """The share of strangers' faces that a found one is less like than the real one, as eigenfaces tell people apart."""
    mean, directions = eigen
    directions = directions[:100] / (directions[:100] ** 2).sum(1, keepdim=True)
    place = lambda faces: F.normalize((faces.reshape(-1, 48 * 48) - mean) @ directions.T, dim=1)  # noqa: E731
    return float((place(strangers) @ place(found)[0] < place(real)[0] @ place(found)[0]).float().mean())


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
    a.add_argument("--iterations", type=int, default=600)
    a.add_argument("--part", type=int, default=0)
    a.add_argument("--parts", type=int, default=1)
    a = a.parse_args()
    torch.manual_seed(1)
    if a.parts > 1:
        torch.set_num_threads(1)
    with open(os.path.join(a.folder, "cases.json")) as f:
        cases = json.load(f)[a.part::a.parts]
    read = lambda name, dtype: np.fromfile(os.path.join(a.folder, name), dtype)  # noqa: E731
    pictures = lambda name: torch.from_numpy(read(name, np.uint8)).reshape(-1, 48, 48).float() / 255  # noqa: E731
    public, strangers = pictures("public.u8"), pictures("strangers.u8")
    eigen = eigenfaces(public.flatten(1), EIGENFACES)
    weights = read("weights.f32", np.float32)
    results = []
    for case in cases:
        model = build("compact")
        load(model, weights)
        # As in the client's training: batch statistics. The client's dropout is its own secret.
        for layer in model:
            layer.train(isinstance(layer, nn.BatchNorm2d))
        delta = read(f"{case['file']}.f32", np.float32)
        gradient = gradient_of(model, delta, case["learningRate"] * case["steps"])
        count = case["faces"]
        real = pictures(f"{case['file']}.u8")
        labels = labels_of(gradient, count)
        wanted = torch.bincount(torch.tensor(case["labels"]), minlength=7)
        hits = int(torch.minimum(wanted, torch.bincount(labels, minlength=7)).sum())
        if case["attacker"] == "informed":
            found = invert_informed(model, delta, weights, case, eigen, a.iterations, 1)
        else:
            found = invert(model, gradient, labels, a.iterations, 1)[:, 0]
        pairs = best_order(found, real)
        closer = [closer_than(found[i], real[j], strangers, eigen) for j, (_, i) in enumerate(pairs)]
        shown = torch.cat([torch.cat(list(real), 1), torch.cat([found[i] for _, i in pairs], 1)], 0)
        write_png(os.path.join(a.folder, f"{case['name']}.png"), (shown * 255).round().to(torch.uint8).numpy())
        mean = lambda values: round(sum(values) / count, 3)  # noqa: E731
        results.append({**case, "ssim": mean([score for score, _ in pairs]), "closer": mean(closer), "labelsFound": hits})
        print(f"{case['name']}: SSIM {results[-1]['ssim']}, closer than {results[-1]['closer']:.1%}, {hits} labels", flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
