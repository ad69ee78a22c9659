"""What PyTorch makes of normalized pictures: the numbers in workers/tf/normalization.test.ts.

    python3 tools/normalization-oracle.py    # needs torch

Steps of plain SGD on the mean cross-entropy of four pictures in colour, 8 x 8, a quarter of whose levels are black, by a small CNN and by one dense
layer behind another; pictures and weights are what the test makes them of.
"""

import json
import math

import torch
import torch.nn.functional as F

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE, COUNT, CLASSES, RATE, STEPS = 8, 4, 3, 0.005, 3


def numbers(shape, phase):
    size = math.prod(shape)
    return torch.tensor([0.2 * math.sin(1.7 * i + phase) for i in range(size)]).reshape(shape)


levels = [0 if i % 4 == 0 else (37 * i + 11) % 256 for i in range(COUNT * SIDE * SIDE * 3)]
x = torch.tensor(levels, dtype=torch.float32).reshape(COUNT, SIDE, SIDE, 3) / 255
x = (x - torch.tensor(MEAN)) / torch.tensor(STD)
labels = torch.tensor([0, 1, 2, 0])


def cnn(conv, bias, kernel, last):
    y = F.relu(F.conv2d(x.permute(0, 3, 1, 2), conv.permute(3, 2, 0, 1), bias, padding=1))
    return F.max_pool2d(y, 2).permute(0, 2, 3, 1).reshape(COUNT, -1) @ kernel + last


def dense(kernel, bias, second, last):
    return F.relu(x.reshape(COUNT, -1) @ kernel + bias) @ second + last


MODELS = {
    "cnn": (cnn, [(3, 3, 3, 8), (8,), (128, CLASSES), (CLASSES,)]),
    "dense": (dense, [(192, 16), (16,), (16, CLASSES), (CLASSES,)]),
}
for name, (forward, shapes) in MODELS.items():
    weights = [numbers(shape, phase).requires_grad_() for phase, shape in enumerate(shapes)]
    logits = forward(*weights).detach()
    before = [w.detach().clone() for w in weights]
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(forward(*weights), labels)
        losses.append(loss.item())
        with torch.no_grad():
            for w, g in zip(weights, torch.autograd.grad(loss, weights)):
                w -= RATE * g
    delta = torch.cat([(w - b).detach().flatten() for w, b in zip(weights, before)])
    found = {
        "logits": [round(v, 5) for v in logits.flatten().tolist()],
        "losses": [round(v, 6) for v in losses],
        "deltas": {i: round(delta[i].item(), 7) for i in range(0, len(delta), len(delta) // 7)},
        "norm": round(delta.norm().item(), 6),
    }
    print(name, json.dumps(found))
