#!/usr/bin/env python3
"""Writes workers/tf/oracle.safetensors and oracle-compact.safetensors: what PyTorch computes, in float64, for a model on a fixed batch.

    python3 tools/oracle.py

Needs PyTorch and NumPy (Debian: python3-torch). The weights and the faces come from the project's own generator
(src/base/random.ts and src/model/initialize.ts), written again here. Dropout is off. For every tensor the file holds the
gradient's norm and its values at 128 places (all, where there are fewer), the same of the change of the weights after three
steps of SGD, SGD with momentum and Adam, and the losses of those steps; and the same of careful SGD: batch normalization
stays at statistics that are not the batch's, one of the three faces has no label, and a teacher's answers are distilled.
"""
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "pretrain"))
from layout import ours, tensors, write_safetensors  # noqa: E402
from models import build  # noqa: E402

SEED, FACES, RATE, STEPS, SAMPLES = 2013, 3, 0.0001, 3, 128
# Careful SGD: faces with a label, the weight of the teacher's answers, and what softens them.
LABELLED, DISTILL, TEMPERATURE = 2, 0.5, 2.0
MASK = 0xFFFFFFFF


def generator(seed):
    """xoshiro128** with its state filled by SplitMix32, as in src/base/random.ts."""
    mix = seed & MASK

    def fill():
        nonlocal mix
        mix = (mix + 0x9E3779B9) & MASK
        z = ((mix ^ (mix >> 16)) * 0x85EBCA6B) & MASK
        z = ((z ^ (z >> 13)) * 0xC2B2AE35) & MASK
        return z ^ (z >> 16)

    a, b, c, d = fill(), fill(), fill(), fill()
    while True:
        x = (b * 5) & MASK
        x = ((x << 7) | (x >> 25)) & MASK
        yield ((x * 9) & MASK) / 2**32
        t = (b << 9) & MASK
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= t
        d = ((d << 11) | (d >> 21)) & MASK


def trainable(model):
    """(name, tensor, side) of those that are trained: see `tensors`."""
    return [one for one in tensors(model) if isinstance(one[1], nn.Parameter)]


def theirs(flat, parameter, side):
    """From our layout to PyTorch's: the inverse of `ours`."""
    if parameter.dim() == 4:
        return flat.reshape([parameter.shape[i] for i in (2, 3, 1, 0)]).permute(3, 2, 0, 1)
    if not side:
        return flat.reshape(parameter.shape[1], parameter.shape[0]).T
    return flat.reshape(side, side, -1, parameter.shape[0]).permute(3, 2, 0, 1).flatten(1)


def summary(values):
    places = np.linspace(0, len(values) - 1, min(SAMPLES, len(values))).astype(int)
    return np.concatenate([[np.linalg.norm(values)], values[places]]).astype(np.float32)


def main():
    write("seed", ("sgd", "momentum", "adam", "careful"), "oracle")
    write("compact", ("sgd", "careful"), "oracle-compact")


def write(network, kinds, file):
    model = build(network).double()
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    random = generator(SEED)
    with torch.no_grad():
        for name, parameter, side in trainable(model):
            if not name.endswith("/kernel"):
                continue
            fan = parameter[0].numel() + parameter.numel() // parameter.shape[1]
            limit = (6 / fan) ** 0.5
            flat = np.array([(next(random) * 2 - 1) * limit for _ in range(parameter.numel())], dtype=np.float32)
            parameter.copy_(theirs(torch.from_numpy(flat.astype(np.float64)), parameter, side))
    random = generator(48)
    pixels = np.array([int(next(random) * 256) for _ in range(FACES * 48 * 48)], dtype=np.float64)
    x = torch.from_numpy(np.float32(pixels / 255).astype(np.float64)).reshape(FACES, 1, 48, 48)
    y = torch.arange(FACES) % 7
    begin = {name: tensor.detach().clone() for name, tensor, _ in trainable(model)}
    out = {}
    # What careful SGD needs beyond that: statistics of batch normalization, and a teacher's logits.
    random = generator(7)
    statistics = {name: [next(random) for _ in range(tensor.numel())]
                  for name, tensor, _ in tensors(model) if not isinstance(tensor, nn.Parameter)}
    teacher = torch.tensor([[next(random) * 4 - 2 for _ in range(7)] for _ in range(FACES)], dtype=torch.float64)
    # The rates are of the size that each optimizer's steps need to stay where float32 and float64 agree.
    for kind in kinds:
        rate = 1e-6 if kind == "adam" else RATE
        careful = kind == "careful"
        with torch.no_grad():
            for name, tensor, _ in tensors(model):
                if isinstance(tensor, nn.Parameter):
                    tensor.copy_(begin[name])
                elif careful:
                    values = np.float32(np.array(statistics[name]) * 0.5 + (0.5 if name.endswith("variance") else 0))
                    tensor.copy_(torch.from_numpy(values.astype(np.float64)))
        norms = [layer for layer in model if isinstance(layer, nn.BatchNorm2d)]
        for layer in norms:
            layer.requires_grad_(not careful)
        parameters = [p for p in model.parameters() if p.requires_grad]
        if kind == "adam":
            optimizer = torch.optim.Adam(parameters, rate)
        else:
            optimizer = torch.optim.SGD(parameters, rate, momentum=0.9 if kind == "momentum" else 0)
        losses = []
        model.train()
        if careful:
            for layer in norms:
                layer.eval()
        for step in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            logits = model(x)
            loss = F.cross_entropy(logits[:LABELLED], y[:LABELLED]) if careful else F.cross_entropy(logits, y)
            losses.append(loss.item())
            if careful:
                apart = F.cross_entropy(logits / TEMPERATURE, F.softmax(teacher / TEMPERATURE, 1))
                loss = loss + DISTILL * TEMPERATURE**2 * apart
            loss.backward()
            if kind in ("sgd", "careful") and step == 0:
                for name, tensor, side in trainable(model):
                    if tensor.grad is not None:
                        title = "gradient" if kind == "sgd" else "careful-gradient"
                        out[f"{title}/{name}"] = summary(ours(tensor.grad, side).ravel())
            optimizer.step()
        for name, tensor, side in trainable(model):
            if tensor.requires_grad:
                out[f"{kind}/{name}"] = summary((ours(tensor, side) - ours(begin[name], side)).ravel())
        out[f"losses/{kind}"] = np.array(losses, dtype=np.float32)
        print(network, kind, losses)
    path = os.path.join(HERE, "..", "workers", "tf", f"{file}.safetensors")
    write_safetensors(path, out, {"source": f"PyTorch {torch.__version__}, float64"})


if __name__ == "__main__":
    main()
