#!/usr/bin/env python3
"""Writes workers/tf/oracle.safetensors: what PyTorch computes, in float64, for the seed CNN on a fixed batch.

    python3 tools/oracle.py

Needs PyTorch and NumPy (Debian: python3-torch). The weights and the faces come from the project's own generator
(src/core/random.ts and src/core/initialize.ts), written again here. Dropout is off. For every tensor the file holds the
gradient's norm and its values at 128 places (all, where there are fewer), the same of the change of the weights after three
steps of SGD, SGD with momentum and Adam, and the losses of those steps.
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
MASK = 0xFFFFFFFF


def generator(seed):
    """xoshiro128** with its state filled by SplitMix32, as in src/core/random.ts."""
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
    return [(name, tensor) for name, tensor, _ in tensors(model) if isinstance(tensor, nn.Parameter)]


def summary(values):
    places = np.linspace(0, len(values) - 1, min(SAMPLES, len(values))).astype(int)
    return np.concatenate([[np.linalg.norm(values)], values[places]]).astype(np.float32)


def main():
    model = build("seed").double()
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    random = generator(SEED)
    with torch.no_grad():
        for name, parameter in trainable(model):
            if not name.endswith("/kernel"):
                continue
            fan = parameter[0].numel() + parameter.numel() // parameter.shape[1]
            limit = (6 / fan) ** 0.5
            flat = np.array([(next(random) * 2 - 1) * limit for _ in range(parameter.numel())], dtype=np.float32)
            shape = [parameter.shape[i] for i in ((2, 3, 1, 0) if parameter.dim() == 4 else (1, 0))]
            back = (3, 2, 0, 1) if parameter.dim() == 4 else (1, 0)
            parameter.copy_(torch.from_numpy(flat.astype(np.float64)).reshape(shape).permute(back))
    random = generator(48)
    pixels = np.array([int(next(random) * 256) for _ in range(FACES * 48 * 48)], dtype=np.float64)
    x = torch.from_numpy(np.float32(pixels / 255).astype(np.float64)).reshape(FACES, 1, 48, 48)
    y = torch.arange(FACES) % 7
    begin = {name: tensor.detach().clone() for name, tensor in trainable(model)}
    out = {}
    # The rates are of the size that each optimizer's steps need to stay where float32 and float64 agree.
    for kind, rate in (("sgd", RATE), ("momentum", RATE), ("adam", 1e-6)):
        with torch.no_grad():
            for name, tensor in trainable(model):
                tensor.copy_(begin[name])
        parameters = list(model.parameters())
        if kind == "adam":
            optimizer = torch.optim.Adam(parameters, rate)
        else:
            optimizer = torch.optim.SGD(parameters, rate, momentum=0.9 if kind == "momentum" else 0)
        losses = []
        model.train()
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            losses.append(loss.item())
            if kind == "sgd" and step == 0:
                for name, tensor in trainable(model):
                    out[f"gradient/{name}"] = summary(ours(tensor.grad).ravel())
            optimizer.step()
        for name, tensor in trainable(model):
            out[f"{kind}/{name}"] = summary((ours(tensor) - ours(begin[name])).ravel())
        out[f"losses/{kind}"] = np.array(losses, dtype=np.float32)
        print(kind, losses)
    path = os.path.join(HERE, "..", "workers", "tf", "oracle.safetensors")
    write_safetensors(path, out, {"source": f"PyTorch {torch.__version__}, float64"})


if __name__ == "__main__":
    main()
