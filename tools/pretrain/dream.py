#!/usr/bin/env python3
"""Dreams the faces that trainings rehearse: pictures made of noise by what a checkpoint knows, public/models/dreams.u8.gz.

    python3 tools/pretrain/dream.py compact public/models/compact/initial.safetensors public/models/dreams.u8.gz

DeepInversion (Yin et al. 2020, arXiv 1912.08795): the pictures of a batch are changed, by Adam, until the mean and the deviation of
what each batch normalization is given are those that it saw of its training faces (equation 4), the network is sure of an expression
(equation 1, its label smoothed), and neighbouring pixels differ little. No face is read; the pictures look like none. They are kept
in steps of four grey levels, which halves the file.
"""
import argparse
import gzip

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from layout import read_checkpoint
from models import build

BATCH, RATE = 128, 0.08
# How often each expression is dreamed of: about as often as people name it in FER2013.
SHARES = [0.14, 0.04, 0.14, 0.25, 0.16, 0.11, 0.16]
SURE, STATISTICS, SMOOTH = 0.5, 2.0, 4.0


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model")
    a.add_argument("checkpoint")
    a.add_argument("target")
    a.add_argument("--count", type=int, default=BATCH)
    a.add_argument("--steps", type=int, default=200)
    a.add_argument("--seed", type=int, default=3)
    a = a.parse_args()
    torch.manual_seed(a.seed)
    model = build(a.model)
    read_checkpoint(a.checkpoint, model)
    model.eval().requires_grad_(False)
    seen = []
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.register_forward_hook(lambda layer, given, _: seen.append((layer, given[0])))
    pictures = []
    for start in range(0, a.count, BATCH):
        count = min(BATCH, a.count - start)
        rough = F.interpolate(torch.randn(count, 1, 12, 12) * 0.25, size=48, mode="bicubic")
        z = (torch.randn(count, 1, 1, 1) * 0.3 + rough).requires_grad_(True)
        labels = torch.multinomial(torch.tensor(SHARES), count, replacement=True)
        optimizer = torch.optim.Adam([z])
        for step in range(a.steps):
            optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * step / a.steps)) + 0.002
            seen.clear()
            x = torch.sigmoid(2 * z)
            moved = torch.roll(x, tuple(torch.randint(-2, 3, (2,)).tolist()), (2, 3))
            logits = model(moved)
            apart = sum(((given.mean((0, 2, 3)) - layer.running_mean) ** 2 / (layer.running_var + layer.eps)).mean()
                        + ((given.var((0, 2, 3), unbiased=False).sqrt() - layer.running_var.sqrt()) ** 2
                           / (layer.running_var + layer.eps)).mean() for layer, given in seen)
            rough = x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()
            loss = SURE * F.cross_entropy(logits, labels, label_smoothing=0.1) + STATISTICS * apart + SMOOTH * rough
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{start + count} of {a.count}: loss {loss.item():.3f}, statistics {apart.item():.4f}", flush=True)
        pictures.append((torch.sigmoid(2 * z) * 255).round().to(torch.uint8))
    values = torch.cat(pictures).numpy().reshape(-1)
    with open(a.target, "wb") as file:
        file.write(gzip.compress(((values >> 2) * 4 + 2).astype(np.uint8).tobytes(), 9, mtime=0))


if __name__ == "__main__":
    main()
