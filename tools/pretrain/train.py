#!/usr/bin/env python3
"""Trains the models of src/core/model.ts on FER2013 on a GPU: the recipe behind the checkpoints that ship with the app.

    python3 tools/pretrain/train.py --data FOLDER --out FOLDER [--device cuda] [--speed 1]

FOLDER of --data holds train.u8.gz and publictest.u8.gz. Needs PyTorch and NumPy. Kernels, strides, batch-norm epsilon and
momentum and the Glorot-uniform initialization are Keras's, so that the weights fit `src/core/model.ts` one to one. Three stages, each
as long as its seconds say, on a schedule of the time that has passed:

1. `labels`: two seed CNNs and one `compact` learn the labels, smoothed by 0.1 (Szegedy et al. 2016), by SGD with Nesterov's momentum
   and weight decay (which Khaireddin and Chen 2021, arXiv 2105.03588, found best for FER2013). One seed CNN has less dropout, and
   mixup (Zhang et al. 2018).
2. `taught`: that one and `compact` go on from there and learn, for seven tenths, to answer as the two seed CNNs do together on the
   very same augmented picture.
3. `again`: the same with the student of stage 2 among the teachers, half of the batches mixed (Beyer et al. 2022, arXiv 2106.05237).

Nothing but the Training split teaches; PublicTest only measures. What is kept is the exponential moving average of the weights, as
STAGE-NAME.pt in --out for export.py. A stage whose files are there is not run again. Accuracies are printed as JSON lines, plain and
with what is said of the mirrored picture.
"""
import argparse
import contextlib
import copy
import gzip
import json
import math
import os
import random
import time
from typing import NamedTuple

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


class Learning(NamedTuple):
    """How a model is trained here: its dropout (src/core/model.ts has that of a federation's clients), and the stages with mixup."""

    model: str
    block_dropout: float
    dense_dropout: float
    mixup: tuple


LEARNERS = {
    "seed": Learning("seed", 0.1, 0.4, ("labels", "again")),
    "seed-plain": Learning("seed", 0.3, 0.3, ()),
    "compact": Learning("compact", 0.05, 0.2, ("again",)),
}


class Stage(NamedTuple):
    learners: tuple
    seconds: float
    lr: float
    # The share of batches whose pictures are mixed, and alpha of the Beta distribution that says how.
    mixed: float = 0.0
    alpha: float = 1.0
    # The stage that the learners go on from.
    source: str = ""
    # (stage, learner) of each teacher, and how much of a target is theirs.
    teachers: tuple = ()
    share: float = 0.0


STUDENTS = ("seed", "compact")
TEACHERS = (("labels", "seed"), ("labels", "seed-plain"))
STAGES = {
    "labels": Stage(("seed", "seed-plain", "compact"), 350, 0.04, 1.0, 0.2),
    "taught": Stage(STUDENTS, 140, 0.02, 0.0, 1.0, "labels", TEACHERS, 0.7),
    "again": Stage(STUDENTS, 195, 0.025, 0.5, 1.0, "taught", (*TEACHERS, ("taught", "seed")), 0.8),
}


def distort(x):
    """Mirror, rotation up to 10 degrees, zoom up to an eighth, shift up to 4 pixels, light, and for half the faces a covered rectangle
    (Zhong et al. 2020); x is float N x 1 x 48 x 48 in 0..1."""
    n, _, h, w = x.shape
    d = x.device
    u = torch.rand(12, n, device=d) - 0.5
    angle, zoom = u[0] * 0.35, 1 + u[1] * 0.25
    flip = torch.where(u[2] < 0, -1.0, 1.0)
    theta = torch.stack([torch.stack([zoom * torch.cos(angle) * flip, -zoom * torch.sin(angle), u[3] * 0.33], 1),
                         torch.stack([zoom * torch.sin(angle) * flip, zoom * torch.cos(angle), u[4] * 0.33], 1)], 1)
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="border", align_corners=False)
    x = ((x - 0.5) * (1 + u[5] * 0.4)[:, None, None, None] + 0.5 + (u[6] * 0.2)[:, None, None, None]).clamp(0, 1)
    size = (u[7:9].T + 0.5) * 0.3 + 0.1
    at = (u[9:11].T + 0.5) * (1 - size)
    ys = torch.arange(h, device=d)[None, :] / h
    xs = torch.arange(w, device=d)[None, :] / w
    rows = (ys >= at[:, :1]) & (ys < at[:, :1] + size[:, :1])
    columns = (xs >= at[:, 1:]) & (xs < at[:, 1:] + size[:, 1:])
    hole = rows[:, None, :, None] & columns[:, None, None, :] & (u[11] < 0)[:, None, None, None]
    return torch.where(hole, torch.rand(n, 1, 1, 1, device=d), x)


class Learner:
    """A model, the moving average of its weights, and SGD whose whole step is one CUDA graph on a stream of its own."""

    MOMENTUM, DECAY, CLIP, SMOOTHING = 0.9, 5e-4, 3.0, 0.1

    def __init__(self, name, x, y, batch, device, state=None, teachers=(), share=0.0):
        self.name, self.x, self.teachers, self.share, self.device = name, x, teachers, share, device
        how = LEARNERS[name]
        self.model = build(how.model).to(device, memory_format=torch.channels_last)
        if state is not None:
            self.model.load_state_dict(state)
        flat = False
        for layer in self.model:
            flat = flat or isinstance(layer, nn.Flatten)
            if isinstance(layer, nn.Dropout):
                layer.p = how.dense_dropout if flat else how.block_dropout
        self.average = copy.deepcopy(self.model)
        self.model.train()
        self.params = list(self.model.parameters())
        self.momenta = [torch.zeros_like(p) for p in self.params]
        self.kernels = [i for i, p in enumerate(self.params) if p.ndim > 1]
        self.pairs = [(m, t) for m, t in zip(self.average.state_dict().values(), self.model.state_dict().values())
                      if m.is_floating_point()]
        self.targets = F.one_hot(y, 7).float() * (1 - self.SMOOTHING) + self.SMOOTHING / 7
        self.k = torch.zeros(batch, dtype=torch.long, device=device)
        self.lr, self.keep, self.mix = (torch.tensor(v, device=device) for v in (0.0, 0.0, 1.0))
        self.steps, self.order, self.at, self.epochs = 0, None, 0, 0
        self.graph, self.stream = None, None
        if device == "cuda":
            self.capture()

    def update(self):
        """One step, on the examples in k."""
        x = distort(self.x[self.k].float() / 255)
        x = (self.mix * x + (1 - self.mix) * x.flip(0)).contiguous(memory_format=torch.channels_last)
        target = self.targets[self.k]
        target = self.mix * target + (1 - self.mix) * target.flip(0)
        with torch.autocast(self.device, dtype=torch.bfloat16, cache_enabled=False):
            if self.teachers:
                with torch.no_grad():
                    together = torch.stack([teacher(x).float().softmax(1) for teacher in self.teachers]).mean(0)
                target = self.share * together + (1 - self.share) * target
            logits = self.model(x)
        gradient = list(torch.autograd.grad(F.cross_entropy(logits.float(), target), self.params))
        with torch.no_grad():
            norm = torch.sqrt(sum(n * n for n in torch._foreach_norm(gradient)))
            torch._foreach_mul_(gradient, torch.clamp(self.CLIP / (norm + 1e-6), max=1.0))
            torch._foreach_add_([gradient[i] for i in self.kernels], [self.params[i] for i in self.kernels], alpha=self.DECAY)
            torch._foreach_mul_(self.momenta, self.MOMENTUM)
            torch._foreach_add_(self.momenta, gradient)
            torch._foreach_add_(gradient, self.momenta, alpha=self.MOMENTUM)
            torch._foreach_mul_(gradient, self.lr)
            torch._foreach_sub_(self.params, gradient)
            mine, theirs = [m for m, _ in self.pairs], [t for _, t in self.pairs]
            torch._foreach_mul_(mine, self.keep)
            torch._foreach_add_(mine, torch._foreach_mul(theirs, 1 - self.keep))

    def capture(self):
        self.stream = torch.cuda.Stream()
        self.stream.wait_stream(torch.cuda.current_stream())
        # With a learning rate of 0, so that nothing is learned.
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.update()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.update()
        torch.cuda.synchronize()

    def step(self, lr, mix):
        with torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext():
            if self.order is None or self.at + len(self.k) > len(self.order):
                self.epochs += self.order is not None
                self.order, self.at = torch.randperm(len(self.x), device=self.device), 0
            self.k.copy_(self.order[self.at:self.at + len(self.k)])
            self.at += len(self.k)
            self.steps += 1
            self.lr.fill_(lr)
            self.mix.fill_(mix)
            self.keep.fill_(min(0.9985, self.steps / (self.steps + 20)))
            if self.graph:
                self.graph.replay()
            else:
                self.update()


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


def accuracies(models, x, y):
    """Of the mean of what the models say, and with what they say of the mirrored picture."""
    plain = both = 0
    with torch.no_grad():
        for i in range(0, len(y), 512):
            xb, yb = x[i:i + 512].float() / 255, y[i:i + 512]
            p = sum(m.eval()(xb).softmax(1) for m in models)
            q = sum(m(xb.flip(3)).softmax(1) for m in models)
            plain += int((p.argmax(1) == yb).sum())
            both += int(((p + q).argmax(1) == yb).sum())
    return round(plain / len(y), 4), round(both / len(y), 4)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--device", default="cuda")
    a.add_argument("--batch", type=int, default=128)
    a.add_argument("--speed", type=float, default=1.0, help="divides the stages' seconds")
    a.add_argument("--seed", type=int, default=2013)
    a = a.parse_args()
    torch.manual_seed(a.seed)
    chance = random.Random(a.seed)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    os.makedirs(a.out, exist_ok=True)
    x, y = (t.to(a.device) for t in load(a.data, "train"))
    vx, vy = (t.to(a.device) for t in load(a.data, "publictest"))
    begun = time.time()

    def say(**what):
        print(json.dumps({"seconds": round(time.time() - begun, 1), **what}), flush=True)

    def path(stage, name):
        return os.path.join(a.out, f"{stage}-{name}.pt")

    def state(stage, name):
        return torch.load(path(stage, name), map_location=a.device)["average"]

    def teacher(stage, name):
        model = build(LEARNERS[name].model).to(a.device, memory_format=torch.channels_last)
        model.load_state_dict(state(stage, name))
        return model.eval().requires_grad_(False)

    for title, stage in STAGES.items():
        if all(os.path.exists(path(title, name)) for name in stage.learners):
            continue
        teachers = [teacher(*one) for one in stage.teachers]
        if teachers:
            say(stage=title, teachers=accuracies(teachers, vx, vy))
        learners = []
        for name in stage.learners:
            begin = state(stage.source, name) if stage.source else None
            learners.append(Learner(name, x, y, a.batch, a.device, begin, teachers, stage.share))
        start, told, progress = time.time(), 0.0, 0.0
        while progress < 1:
            lr = stage.lr * min(1, progress / 0.03 + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))
            for _ in range(20):
                for one in learners:
                    mix = 1.0
                    if title in LEARNERS[one.name].mixup and chance.random() < stage.mixed:
                        mix = chance.betavariate(stage.alpha, stage.alpha)
                    one.step(lr, max(mix, 1 - mix))
            if a.device == "cuda":
                torch.cuda.synchronize()
            progress = (time.time() - start) * a.speed / stage.seconds
            if progress - told > 0.12:
                told = progress
                accuracy = {one.name: accuracies([one.average], vx, vy) for one in learners}
                say(stage=title, epochs=learners[0].epochs, lr=round(lr, 4), **accuracy)
        for one in learners:
            counts = confusion(one.average, vx, vy, a.device)
            log = {"epoch": one.epochs, "publictest": counts.diag().sum().item() / len(vy), "confusion": counts.tolist()}
            half = {key: value.half() if value.is_floating_point() else value for key, value in one.average.state_dict().items()}
            torch.save({"name": LEARNERS[one.name].model, "average": half, "log": [log]}, path(title, one.name))
            say(stage=title, kept=one.name, epochs=one.epochs, publictest=accuracies([one.average], vx, vy))


if __name__ == "__main__":
    main()
