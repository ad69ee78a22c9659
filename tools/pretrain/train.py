#!/usr/bin/env python3
"""Trains a model of src/model/model.ts on FER2013's faces, on a GPU or on one thread of a processor (which is the default).

    python3 tools/pretrain/train.py --data FOLDER --model compact --start public/models/compact/initial.safetensors --out compact.pt

FOLDER holds train.u8.gz, publictest.u8.gz and FER+'s votes, ferplus-train.csv and ferplus-publictest.csv (faces.py). Needs PyTorch
and NumPy. What is learned is how people's votes divide, of faces as another camera would have taken them (augment.py), some of them
mixed in twos (mixup, Zhang et al. 2018, arXiv 1710.09412); `--labels contest` takes the contest's one label instead, smoothed by 0.1.
With `--teacher`, a share of the target is what those models say of the face and its mirrored picture (Hinton et al. 2015, arXiv
1503.02531). SGD with Nesterov's momentum and weight decay on a cosine schedule; what is kept is the exponential moving average of the
weights. Rare expressions come more often than they are (`--balance`).

Nothing but the Training split teaches; PublicTest only measures. The state is written to --out every other minute, and the same
command goes on from there. Its last line and those on the way are JSON.
"""
import argparse
import copy
import json
import math
import os
import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from augment import distort
from faces import EXPRESSIONS, load, majority, shares, votes
from layout import read_checkpoint
from models import MODELS, build

SMOOTHING, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 5e-4, 3.0
SAVE_SECONDS = 120


def options():
    a = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--model", choices=list(MODELS), required=True)
    a.add_argument("--start", action="append", default=[], metavar="FILE",
                   help="checkpoint to begin from: .safetensors of the app or .pt of this program; the mean of several")
    a.add_argument("--labels", choices=["votes", "contest"], default="votes")
    a.add_argument("--teacher", action="append", default=[], metavar="MODEL:FILE")
    a.add_argument("--taught", type=float, default=0.5, help="the teachers' share of the target")
    a.add_argument("--epochs", type=float, default=40)
    a.add_argument("--minutes", type=float, default=math.inf, help="ends earlier, and the rate falls accordingly")
    a.add_argument("--batch", type=int, default=128)
    a.add_argument("--rate", type=float, default=0.03)
    a.add_argument("--average", type=float, default=0.998, help="of the moving average, by step")
    a.add_argument("--balance", type=float, default=0.4, help="0: faces as they come; 1: all expressions as often")
    a.add_argument("--mixup", type=float, default=0.3, help="share of the batches")
    a.add_argument("--block-dropout", type=float, default=0.05)
    a.add_argument("--dense-dropout", type=float, default=0.2)
    a.add_argument("--frozen", type=int, default=0, help="blocks at the beginning that stay as they are")
    a.add_argument("--seed", type=int, default=2013)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--device", default="cpu")
    return a.parse_args()


def restore(file, name):
    model = build(name)
    if file.endswith(".safetensors"):
        return read_checkpoint(file, model)
    model.load_state_dict(torch.load(file, map_location="cpu")["average"])
    return model


def mean_of(states):
    """The mean of several networks' weights, which are near each other (Wortsman et al. 2022, arXiv 2203.05482)."""
    return {name: (sum(state[name].float() for state in states) / len(states)).to(value.dtype) for name, value in states[0].items()}


def predict(model, x, device):
    """Probabilities, N x 7."""
    model.eval()
    with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16):
        return torch.cat([
            model((part.to(device).float() / 255).contiguous(memory_format=torch.channels_last)).float().softmax(1).cpu()
            for part in x.split(256)])


def examine(model, x, label, counts, device):
    """Accuracies in per cent: of the majority, where eight of ten agree (all faces, and mean of the expressions), of the contest."""
    said = predict(model, x, device)
    guess = said.argmax(1)
    best, clear = majority(counts)
    agreed = clear & (counts[:, :EXPRESSIONS].max(1).values >= 8)
    share, usable = shares(counts)
    percent = lambda hits: round(100 * hits.float().mean().item(), 2)
    recall = [percent(guess[agreed & (best == k)] == k) for k in range(EXPRESSIONS)]
    return {
        "majority": percent(guess[clear] == best[clear]), "agreed": percent(guess[agreed] == best[agreed]),
        "recall": recall, "balanced": round(sum(recall) / EXPRESSIONS, 2), "contest": percent(guess == label),
        "crossEntropy": round(-(share * said.clamp(min=1e-7).log()).sum(1)[usable].mean().item(), 4),
    }


def examples(args):
    """Pixels, targets and how often each face comes, of those that can teach."""
    x, label = load(args.data, "train")
    if args.labels == "contest":
        target = F.one_hot(label, EXPRESSIONS).float() * (1 - SMOOTHING) + SMOOTHING / EXPRESSIONS
    else:
        target, usable = shares(votes(args.data, "train"))
        x, target = x[usable], target[usable]
    weight = (target / target.mean(0) ** args.balance).sum(1)
    if args.teacher:
        taught = torch.zeros_like(target)
        for name, file in (one.split(":", 1) for one in args.teacher):
            model = restore(file, name).to(args.device, memory_format=torch.channels_last)
            taught += predict(model, x, args.device) + predict(model, x.flip(3), args.device)
        target = (1 - args.taught) * target + args.taught * taught / (2 * len(args.teacher))
    return x, target, weight


class Split(nn.Module):
    """A model whose first blocks stay as they are, batch-norm statistics included."""

    def __init__(self, model, blocks):
        super().__init__()
        pools = [i for i, layer in enumerate(model) if isinstance(layer, nn.MaxPool2d)]
        at = pools[blocks - 1] + 1 if blocks else 0
        self.fixed, self.learning = model[:at], model[at:]

    def train(self, mode=True):
        self.learning.train(mode)
        self.fixed.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            x = self.fixed(x)
        return self.learning(x)


def main():
    args = options()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    chance = random.Random(args.seed)
    device = args.device
    state = torch.load(args.out, map_location="cpu", weights_only=False) if os.path.exists(args.out) else None
    model = build(args.model, (args.block_dropout, args.dense_dropout))
    if state:
        model.load_state_dict(state["model"])
        torch.manual_seed(args.seed + state["step"])
    elif args.start:
        model.load_state_dict(mean_of([restore(file, args.model).state_dict() for file in args.start]))
    model = model.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    split = Split(model, args.frozen)
    learned = [p for p in split.learning.parameters()]
    optimizer = torch.optim.SGD(
        [{"params": [p for p in learned if p.ndim > 1], "weight_decay": DECAY}, {"params": [p for p in learned if p.ndim == 1]}],
        lr=args.rate, momentum=MOMENTUM, nesterov=True)
    step, seconds, log = 0, 0.0, []
    if state:
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, log = state["step"], state["seconds"], state["log"]
    pairs = [(m, t) for m, t in zip(average.state_dict().values(), model.state_dict().values()) if m.is_floating_point()]
    mine, theirs = [m for m, _ in pairs], [t for _, t in pairs]

    x, target, weight = examples(args)
    seen, label = load(args.data, "publictest")
    counts = votes(args.data, "publictest")
    x, target = x.to(device), target.to(device)
    each = len(x) // args.batch
    if not state:
        print(json.dumps({"faces": len(x), **examine(average, seen, label, counts, device)}), flush=True)

    def save():
        kept = {"name": args.model, "model": model.state_dict(), "average": average.state_dict(), "step": step, "seconds": seconds,
                "optimizer": optimizer.state_dict(), "log": log, "options": vars(args)}
        torch.save(kept, f"{args.out}.part")
        os.replace(f"{args.out}.part", args.out)

    last = saved = time.time()
    progress = max(step / (each * args.epochs), seconds / 60 / args.minutes)
    order = torch.empty(0, dtype=torch.long)
    while progress < 1:
        if len(order) < args.batch:
            order = torch.multinomial(weight, len(weight), replacement=True)
        some, order = order[:args.batch].to(device), order[args.batch:]
        split.train()
        rate = args.rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            faces, wanted = distort(x[some].float() / 255), target[some]
            if chance.random() < args.mixup:
                mix = chance.betavariate(0.4, 0.4)
                faces, wanted = mix * faces + (1 - mix) * faces.flip(0), mix * wanted + (1 - mix) * wanted.flip(0)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = split(faces.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits.float(), wanted).backward()
        nn.utils.clip_grad_norm_(learned, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        keep = min(args.average, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(mine, theirs, 1 - keep)
        now = time.time()
        seconds, last = seconds + now - last, now
        progress = max(step / (each * args.epochs), seconds / 60 / args.minutes)
        if step % each == 0 or progress >= 1:
            log.append({"epoch": round(step / each, 2), "minutes": round(seconds / 60, 1), "rate": round(rate, 5),
                        **examine(average, seen, label, counts, device)})
            print(json.dumps(log[-1]), flush=True)
        if now - saved > SAVE_SECONDS or progress >= 1:
            saved = now
            save()


if __name__ == "__main__":
    main()
