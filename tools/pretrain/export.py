#!/usr/bin/env python3
"""Turns a checkpoint of train.py into the one that ships with the app: int8, as src/model/checkpoint.ts reads it.

    python3 tools/pretrain/export.py compact.pt public/models/compact/initial.safetensors --data FOLDER --prior=-0.1

Two corrections go into the last layer's own weights. --prior adds a part of the logarithm of how often people name each expression in
the Training split, below 0 takes it away, so that rare ones are said more often (logit adjustment, Menon et al. 2021, arXiv 2007.07314):
the game asks for each of them as often as for any other. And the
logits are divided by a temperature, so that the model's confidence is as often right as it says (Guo et al. 2017, arXiv 1706.04599):
the one with the least cross-entropy against FER+'s votes on PublicTest, or --temperature.
"""
import argparse

import numpy as np
import torch

from faces import load, shares, votes
from layout import ours, quantized, tensors, write_safetensors
from models import build


def best_temperature(model, folder):
    """Of 0.5, 0.51 ... 2, the one whose answers are closest to the votes."""
    x, _ = load(folder, "publictest")
    share, usable = shares(votes(folder, "publictest"))
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part.float() / 255) for part in x[usable].split(256)])
    loss = lambda t: -(share[usable] * (logits / t).log_softmax(1)).sum(1).mean().item()
    return min((step / 100 for step in range(50, 201)), key=loss)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("source")
    a.add_argument("target")
    a.add_argument("--data", required=True, metavar="FOLDER")
    a.add_argument("--prior", type=float, default=0.0)
    a.add_argument("--temperature", type=float)
    a = a.parse_args()
    state = torch.load(a.source, map_location="cpu", weights_only=True)
    model = build(state["name"])
    model.load_state_dict(state["average"])
    share, usable = shares(votes(a.data, "train"))
    with torch.no_grad():
        model[-1].bias += a.prior * share[usable].mean(0).log()
    temperature = a.temperature or best_temperature(model, a.data)
    arrays = {}
    for name, tensor, side in tensors(model):
        values = ours(tensor, side).astype(np.float32)
        arrays[name] = values / np.float32(temperature) if name.startswith("expression/") else values
    write_safetensors(a.target, quantized(arrays), {"codec": "int8", "task": "expressions", "version": "0"})
    print(f"{a.target}: temperature {temperature}, {state['step']} steps")


if __name__ == "__main__":
    main()
