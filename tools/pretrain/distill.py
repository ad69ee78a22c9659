#!/usr/bin/env python3
"""Trains the models of src/core/model.ts on FER2013 on a GPU: the recipe behind the seed CNN that ships with the app.

    python3 tools/pretrain/distill.py --data FOLDER --out FOLDER [--device cuda]

FOLDER of --data holds train.u8.gz and publictest.u8.gz. Needs PyTorch and NumPy.

FER2013's labels are noisy: people agree with them in two of three cases. So they are a fifth of what the models learn.

1. Five teachers, residual networks with squeeze-and-excitation (He et al. 2016, Hu et al. 2018), each learn four fifths of the
   Training split, with mixup (Zhang et al. 2018).
2. The students learn to answer as the teachers do on the very same augmented picture, for as long as there is patience for
   (Beyer et al. 2022, arXiv 2106.05237). One half of a target comes from the teacher that has not seen the face, one half
   from the four that have, and --label of it is the label.

Nothing but the Training split teaches; PublicTest only measures. What is kept is the exponential moving average of the weights.
Teachers are saved in --out, and picked up from there; students are kept every 20 epochs, in parts of 15 MiB to be joined in order.
Times and accuracies are printed as JSON lines.
"""
import argparse
import copy
import io
import json
import os
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from train import augment, build, confusion, load

TEACHERS = 5


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        nn.init.zeros_(self.norms[1].weight)
        self.squeeze, self.excite = nn.Linear(outputs, outputs // 16), nn.Linear(outputs // 16, outputs)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.norms[0](self.a(x)))
        y = self.norms[1](self.b(y))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3))))))
        return F.relu(y * gate[:, :, None, None] + self.skip(x))


def teacher():
    """N x 1 x 48 x 48 in 0..1 to N x 7 logits: 11 million parameters."""
    layers = [nn.Conv2d(1, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    for inputs, outputs, stride in ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
                                    (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)):
        layers.append(Block(inputs, outputs, stride))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(512, 7))


class Learner:
    """A model, the moving average of its weights, and AdamW over a schedule of warm-up and cosine."""

    def __init__(self, model, device, lr, decay, ema=0.9985):
        self.model = model.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
        self.opt = torch.optim.AdamW(groups, lr=lr, foreach=True)
        self.lr, self.ema, self.steps = lr, ema, 0
        self.pairs = [(a, b) for a, b in zip(self.average.state_dict().values(), self.model.state_dict().values())
                      if a.is_floating_point()]

    def step(self, loss, progress):
        """progress: 0 at the beginning of the schedule, 1 at its end."""
        lr = self.lr * min(1, progress / 0.03 + 1e-3) * 0.5 * (1 + float(torch.cos(torch.tensor(progress * 3.14159265))))
        for g in self.opt.param_groups:
            g["lr"] = lr
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.opt.step()
        self.steps += 1
        keep = min(self.ema, self.steps / (self.steps + 10))
        with torch.no_grad():
            mine, theirs = [a for a, _ in self.pairs], [b for _, b in self.pairs]
            torch._foreach_mul_(mine, keep)
            torch._foreach_add_(mine, theirs, alpha=1 - keep)


def distort(x):
    """The augmentation of train.py, and in one of two faces a rectangle that is covered (Zhong et al. 2020)."""
    x = augment(x)
    n, _, h, w = x.shape
    size = torch.rand(n, 2, device=x.device) * 0.3 + 0.1
    at = torch.rand(n, 2, device=x.device) * (1 - size)
    ys = torch.arange(h, device=x.device)[None, :] / h
    xs = torch.arange(w, device=x.device)[None, :] / w
    rows = (ys >= at[:, :1]) & (ys < at[:, :1] + size[:, :1])
    columns = (xs >= at[:, 1:]) & (xs < at[:, 1:] + size[:, 1:])
    hole = rows[:, None, :, None] & columns[:, None, None, :] & (torch.rand(n, 1, 1, 1, device=x.device) < 0.5)
    return torch.where(hole, torch.rand(n, 1, 1, 1, device=x.device), x)


def batches(indices, size, device):
    """For ever: (epochs done, a fraction; indices of a batch)."""
    epoch = 0
    while True:
        order = indices[torch.randperm(len(indices), device=device)]
        steps = len(order) // size
        for i in range(steps):
            yield epoch + i / steps, order[i * size:(i + 1) * size]
        epoch += 1


def accuracy(model, x, y):
    with torch.no_grad():
        model.eval()
        hits = sum((model(x[i:i + 512].float() / 255).argmax(1) == y[i:i + 512]).sum() for i in range(0, len(y), 512))
    return round(int(hits) / len(y), 4)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--device", default="cuda")
    a.add_argument("--teacher-epochs", type=float, default=24)
    a.add_argument("--student-epochs", type=float, default=110)
    a.add_argument("--batch", type=int, default=512)
    a.add_argument("--seed", type=int, default=2013)
    a.add_argument("--students", default="seed:0.2,compact:0.2", help="model:weight of the label, each")
    a = a.parse_args()
    device = a.device
    torch.manual_seed(a.seed)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    os.makedirs(a.out, exist_ok=True)
    x, y = (t.to(device) for t in load(a.data, "train"))
    vx, vy = (t.to(device) for t in load(a.data, "publictest"))
    fold = torch.randperm(len(y), generator=torch.Generator().manual_seed(a.seed)).to(device) % TEACHERS
    begun = time.time()

    def say(**what):
        print(json.dumps({"seconds": round(time.time() - begun, 1), **what}), flush=True)

    def pictures(k):
        return distort(x[k].float() / 255).contiguous(memory_format=torch.channels_last)

    def autocast():
        return torch.autocast(device, dtype=torch.bfloat16)

    # The teachers.
    teachers = []
    for t in range(TEACHERS):
        file = os.path.join(a.out, f"teacher-{t}.pt")
        learner = Learner(teacher(), device, 2e-3, 0.05)
        if os.path.exists(file):
            learner.average.load_state_dict(torch.load(file, map_location=device))
        else:
            learner.model.train()
            for epoch, k in batches((fold != t).nonzero()[:, 0], a.batch, device):
                if epoch >= a.teacher_epochs:
                    break
                mix = torch.distributions.Beta(0.3, 0.3).sample().item()
                xb, other = pictures(k), torch.randperm(len(k), device=device)
                with autocast():
                    logits = learner.model(mix * xb + (1 - mix) * xb[other]).float()
                first, second = (F.cross_entropy(logits, y[j], label_smoothing=0.1) for j in (k, k[other]))
                learner.step(mix * first + (1 - mix) * second, epoch / a.teacher_epochs)
            torch.save(learner.average.state_dict(), file)
        teachers.append(learner.average.eval().requires_grad_(False))
        unseen = (fold == t).nonzero()[:, 0]
        say(teacher=t, unseen=accuracy(learner.average, x[unseen], y[unseen]), publictest=accuracy(learner.average, vx, vy))
    together = lambda faces: torch.stack([t(faces).float().softmax(1) for t in teachers]).mean(0)
    hits = sum((together(vx[i:i + 512].float() / 255).argmax(1) == vy[i:i + 512]).sum() for i in range(0, len(vy), 512))
    say(teachers="together", publictest=round(int(hits) / len(vy), 4))

    # The students.
    chosen = [(name, float(weight)) for name, weight in (one.split(":") for one in a.students.split(","))]
    students = [Learner(build(name), device, 1.5e-3, 0.03) for name, _ in chosen]
    shares = torch.full((TEACHERS, TEACHERS), 0.5 / (TEACHERS - 1), device=device).fill_diagonal_(0.5)

    def keep(done):
        for i, ((name, weight), student) in enumerate(zip(chosen, students)):
            counts = confusion(student.average, vx, vy, device)
            entry = {"epoch": done, "publictest": counts.diag().sum().item() / len(vy), "confusion": counts.tolist()}
            say(student=i, model=name, label=weight, epoch=done, publictest=round(entry["publictest"], 4))
            # In parts of at most 15 MiB.
            content = io.BytesIO()
            torch.save({"name": name, "average": student.average.state_dict(), "log": [entry]}, content)
            for part, start in enumerate(range(0, content.tell(), 15 << 20)):
                with open(os.path.join(a.out, f"student-{i}-{name}.pt.{part}"), "wb") as f:
                    f.write(content.getvalue()[start:start + (15 << 20)])

    kept = 0
    for student in students:
        student.model.train()
    for epoch, k in batches(torch.arange(len(y), device=device), a.batch, device):
        if epoch >= a.student_epochs:
            break
        if epoch - kept >= 20:
            kept = epoch
            keep(round(epoch))
        with autocast():
            xb = pictures(k)
            with torch.no_grad():
                soft = torch.stack([t(xb).float() for t in teachers]).softmax(2)
            target = (shares[fold[k]].T[:, :, None] * soft).sum(0)
            hard = F.one_hot(y[k], 7).float()
        for (_, weight), student in zip(chosen, students):
            with autocast():
                logits = student.model(xb)
            student.step(F.cross_entropy(logits.float(), (1 - weight) * target + weight * hard), epoch / a.student_epochs)
    keep(round(a.student_epochs))


if __name__ == "__main__":
    main()
