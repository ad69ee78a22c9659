"""FER2013's faces, what the contest calls them, and what ten people say of them (FER+, Barsoum et al. 2016, arXiv 1608.01041)."""
import csv
import gzip
import os

import torch

SIDE, EXPRESSIONS = 48, 7


def load(folder, split):
    """Pixels as uint8, N x 1 x 48 x 48, and the contest's labels, N."""
    with gzip.open(os.path.join(folder, f"{split}.u8.gz"), "rb") as f:
        raw = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8).reshape(-1, 1 + SIDE * SIDE)
    return raw[:, 1:].reshape(-1, 1, SIDE, SIDE), raw[:, 0].long()


def votes(folder, split):
    """N x 10 counts: the seven expressions in the contest's order, contempt, unknown, not a face. No votes: a row of zeros."""
    with open(os.path.join(folder, f"ferplus-{split}.csv"), newline="") as f:
        rows = list(csv.reader(f))[1:]
    return torch.tensor([[float(n or 0) for n in row] for row in rows])


def shares(counts):
    """
    How the votes for the seven expressions divide, N x 7, and which faces can teach: those that most do not call something other
    than one of the seven. A single vote against eight or more others is taken for a slip, as FER+'s own code does.
    """
    seven = counts[:, :EXPRESSIONS].clone()
    cast = counts.sum(1)
    seven[(seven == 1) & (cast >= 9)[:, None]] = 0
    kept = seven.sum(1)
    usable = (kept >= 4) & (kept * 2 > cast)
    return seven / kept.clamp(min=1)[:, None], usable


def majority(counts):
    """The expression that most people name, N, and for how many faces there is one: a single winner of all ten columns."""
    top = counts.topk(2, dim=1)
    return top.indices[:, 0], (top.values[:, 0] > top.values[:, 1]) & (top.indices[:, 0] < EXPRESSIONS)
