#!/usr/bin/env python3
"""Trains a model centrally on FER2013: the recipe behind `compact` that ships with the app.

    python3 tools/pretrain/train.py --model seed --data ../shared/fer2013 --out checkpoint.pt [--epochs 14] [--decay-from 10]

Needs PyTorch and NumPy (Debian: python3-torch, python3-numpy). Kernels, strides, batch-norm epsilon and momentum and
the Glorot-uniform initialization are Keras's, so that the weights fit `src/core/model.ts` one to one.

The schedule is warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395, section 4): the learning rate stays constant until
--decay-from and then falls linearly to zero, so a run can be stopped, continued and annealed at any epoch. What is kept for
shipping is the exponential moving average of the weights (Polyak and Juditsky 1992), batch-norm statistics included.
Progress is saved after every epoch and picked up again from --out. Convolutions run in bfloat16 where the CPU or GPU has
it; weights and the optimizer stay in float32.
"""
import argparse
import copy
import gzip
import json
import os
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def load(folder, split):
    with gzip.open(os.path.join(folder, f"{split}.u8.gz"), "rb") as f:
        raw = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8).reshape(-1, 1 + 48 * 48)
    return raw[:, 1:].reshape(-1, 1, 48, 48), raw[:, 0].long()


# The models of src/core/model.ts: filters of each block, padding of the first convolution, units of the hidden dense
# layers, dropout after a block and after a dense layer.
MODELS = {
    "seed": ((64, 128, 256, 512), 0, (512, 256, 64), 0.3, 0.3),
    "compact": ((16, 32, 64, 128), 1, (64,), 0.1, 0.3),
}


def build(name):
    """N x 1 x 48 x 48 in 0..1 to N x 7 logits."""
    blocks, first, dense, block_dropout, dense_dropout = MODELS[name]
    layers, channels, side = [], 1, 48 - 2 * (1 - first)
    for filters in blocks:
        for _ in range(2):
            layers += [nn.Conv2d(channels, filters, 3, padding=1 if layers else first), nn.ReLU(),
                       nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)]
            channels = filters
        layers += [nn.MaxPool2d(3, 2), nn.Dropout(block_dropout)]
        side = (side - 3) // 2 + 1
    layers.append(nn.Flatten())
    width = channels * side * side
    for units in dense:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dense_dropout)]
        width = units
    model = nn.Sequential(*layers, nn.Linear(width, 7))
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def augment(x):
    """Mirror, rotation, zoom, shift, brightness and contrast; x is float N x 1 x 48 x 48 in 0..1."""
    n = x.shape[0]
    x = torch.where(torch.rand(n, 1, 1, 1, device=x.device) < 0.5, x.flip(-1), x)
    angle = (torch.rand(n, device=x.device) - 0.5) * 0.4
    zoom = 1 + (torch.rand(n, device=x.device) - 0.5) * 0.3
    theta = torch.zeros(n, 2, 3, device=x.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom * torch.cos(angle)
    theta[:, 0, 1] = -zoom * torch.sin(angle)
    theta[:, 1, 0] = zoom * torch.sin(angle)
    theta[:, :, 2] = (torch.rand(n, 2, device=x.device) - 0.5) * 0.25
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="border", align_corners=False)
    gain = 1 + (torch.rand(n, 1, 1, 1, device=x.device) - 0.5) * 0.5
    bias = (torch.rand(n, 1, 1, 1, device=x.device) - 0.5) * 0.2
    return ((x - 0.5) * gain + 0.5 + bias).clamp(0, 1)


def has_bfloat16(device):
    """A processor without it emulates it, at a tenth of the speed."""
    if device != "cpu":
        return True
    with open("/proc/cpuinfo") as f:
        return "bf16" in f.read()


def confusion(model, x, y, device):
    """7 x 7 counts, rows the label, columns the prediction of one forward pass in float32."""
    model.eval()
    counts = torch.zeros(7, 7, dtype=torch.long)
    with torch.no_grad():
        for i in range(0, len(y), 256):
            guess = model(x[i:i + 256].to(device).float() / 255).argmax(1).cpu()
            for label, predicted in zip(y[i:i + 256].tolist(), guess.tolist()):
                counts[label, predicted] += 1
    return counts


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True, help="folder with train.u8.gz and publictest.u8.gz")
    a.add_argument("--model", choices=MODELS, default="seed")
    a.add_argument("--out", default="checkpoint.pt")
    a.add_argument("--epochs", type=int, default=14)
    a.add_argument("--decay-from", type=int, default=10)
    a.add_argument("--batch", type=int, default=64)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--ema", type=float, default=0.998)
    a.add_argument("--balance", type=float, default=0.0, help="0: as the data are; 1: every label weighs the same")
    a.add_argument("--device", default="cpu")
    a.add_argument("--seed", type=int, default=2013)
    a = a.parse_args()
    torch.manual_seed(a.seed)
    x, y = load(a.data, "train")
    vx, vy = load(a.data, "publictest")
    counts = torch.bincount(y, minlength=7).float()
    weights = (counts.mean() / counts) ** a.balance
    weights = (weights / (weights * counts).sum() * counts.sum()).to(a.device)
    model = build(a.model).to(a.device, memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=1e-2)
    start, log = 0, []
    if os.path.exists(a.out):
        c = torch.load(a.out, map_location=a.device)
        model.load_state_dict(c["model"])
        average.load_state_dict(c["average"])
        opt.load_state_dict(c["opt"])
        torch.set_rng_state(c["rng"].cpu())
        start, log = c["epoch"], c["log"]
    steps = len(y) // a.batch
    narrow = has_bfloat16(a.device)
    for epoch in range(start, a.epochs):
        model.train()
        begun, total = time.time(), 0.0
        order = torch.randperm(len(y))
        for i in range(steps):
            at = epoch + i / steps
            lr = a.lr * min(1, (at + 1e-2) / 0.5, (a.epochs - at) / max(1e-9, a.epochs - a.decay_from))
            for g in opt.param_groups:
                g["lr"] = lr
            k = order[i * a.batch:(i + 1) * a.batch]
            xb = augment(x[k].to(a.device).float() / 255).contiguous(memory_format=torch.channels_last)
            opt.zero_grad()
            with torch.autocast(a.device, dtype=torch.bfloat16, enabled=narrow):
                logits = model(xb)
            loss = F.cross_entropy(logits.float(), y[k].to(a.device), weight=weights, label_smoothing=0.05)
            loss.backward()
            opt.step()
            total += loss.item()
            with torch.no_grad():
                keep = min(a.ema, (epoch * steps + i + 1) / (epoch * steps + i + 10))
                for mine, theirs in zip(average.state_dict().values(), model.state_dict().values()):
                    if mine.is_floating_point():
                        mine.lerp_(theirs, 1 - keep)
                    else:
                        mine.copy_(theirs)
        counts = confusion(average, vx, vy, a.device)
        entry = {"epoch": epoch + 1, "lr": lr, "loss": total / steps, "seconds": round(time.time() - begun),
                 "publictest": counts.diag().sum().item() / len(vy), "confusion": counts.tolist()}
        log.append(entry)
        print(json.dumps(entry), flush=True)
        torch.save({"model": model.state_dict(), "average": average.state_dict(), "opt": opt.state_dict(),
                    "rng": torch.get_rng_state(), "epoch": epoch + 1, "name": a.model, "log": log}, a.out + ".new")
        os.replace(a.out + ".new", a.out)


if __name__ == "__main__":
    main()
