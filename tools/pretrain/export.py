#!/usr/bin/env python3
"""Turns a checkpoint of train.py into the one that ships with the app: int8, as src/core/checkpoint.ts reads it.

    python3 tools/pretrain/export.py checkpoint.pt public/models/seed/initial.safetensors [--temperature 1]

The temperature divides the logits, in the last layer's own weights: its confidence is then as often right as it says (Guo et al.
2017, arXiv 1706.04599).
"""
import argparse

import numpy as np
import torch

from layout import ours, tensors, write_safetensors
from train import build


def main():
    a = argparse.ArgumentParser()
    a.add_argument("source")
    a.add_argument("target")
    a.add_argument("--temperature", type=float, default=1.0)
    a = a.parse_args()
    target = a.target
    state = torch.load(a.source, map_location="cpu")
    model = build(state.get("name", "seed"))
    model.load_state_dict(state["average"])
    wide, narrow = {}, {}
    for name, tensor, _ in tensors(model):
        values = ours(tensor).astype(np.float32)
        if name.startswith("expression/"):
            values = values / np.float32(a.temperature)
        if values.ndim == 1:
            wide[name] = values
            continue
        scale = (np.abs(values.reshape(-1, values.shape[-1])).max(0) / 127).astype(np.float32)
        wide[f"{name}/scale"] = scale
        narrow[name] = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
    last = state["log"][-1]
    metadata = {"codec": "int8", "task": "expressions", "version": "0", "epochs": f"{last['epoch']:g}"}
    write_safetensors(target, {**wide, **narrow}, metadata)
    print(f"{target}: epoch {last['epoch']}, PublicTest {last['publictest']:.4f} in float32")


if __name__ == "__main__":
    main()
