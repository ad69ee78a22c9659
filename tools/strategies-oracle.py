#!/usr/bin/env python3
"""Writes src/federation/strategies/oracle.json: every strategy's result on the same small numbers, computed with NumPy alone.

    python3 tools/strategies-oracle.py

Needs NumPy (Debian: python3-numpy). Written from the papers, not from the project's code.
"""
import json
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS, LENGTH, ROUNDS, F = 11, 9, 4, 2


def server_optimizers(r):
    """Three rounds of averaged deltas; the weights after each, by optimizer."""
    eta, b1, b2, tau = 0.05, 0.9, 0.99, 1e-3
    start = r.normal(size=LENGTH)
    deltas = r.normal(size=(ROUNDS, LENGTH)) * 0.1
    results = {}
    for kind in ("sgd", "momentum", "adagrad", "adam", "yogi"):
        w, m, v = start.copy(), np.zeros(LENGTH), np.full(LENGTH, tau ** 2)
        path = []
        for d in deltas:
            if kind == "sgd":
                w = w + eta * d
            elif kind == "momentum":
                m = b1 * m + d
                w = w + eta * m
            else:
                m = b1 * m + (1 - b1) * d
                if kind == "adagrad":
                    v = v + d ** 2
                elif kind == "adam":
                    v = b2 * v + (1 - b2) * d ** 2
                else:
                    v = v - (1 - b2) * d ** 2 * np.sign(v - d ** 2)
                w = w + eta * m / (np.sqrt(v) + tau)
            path.append(w.tolist())
        results[kind] = path
    return {"rule": {"learningRate": eta, "momentum": b1, "beta2": b2, "tau": tau}, "start": start.tolist(),
            "deltas": deltas.tolist(), "results": results}


def linear(r, x):
    """FedAvg, clipped, stale and q-FedAvg averages of the deltas x."""
    n = r.integers(1, 50, CLIENTS)
    loss = r.uniform(0.1, 3, CLIENTS)
    stale = r.integers(0, 6, CLIENTS)
    norms = np.linalg.norm(x, axis=1)
    clip, q, lr = float(np.median(norms)), 2.0, 0.02
    scaled = x * np.minimum(1, clip / norms)[:, None]
    results = {
        "fedavg": np.average(x, axis=0, weights=n),
        "clipped": np.average(scaled, axis=0, weights=n),
        "stale": (x * (n / np.sqrt(1 + stale))[:, None]).sum(0) / n.sum(),
    }
    # q-FFL's algorithm 2, with Delta w_k = L (w_t - w_k) = -L delta_k.
    L, F_ = 1 / lr, loss + 1e-10
    dw = -L * x
    Delta = (F_ ** q)[:, None] * dw
    h = q * F_ ** (q - 1) * (np.linalg.norm(dw, axis=1) ** 2) + L * F_ ** q
    results["qfedavg"] = -Delta.sum(0) / h.sum()
    return {"examples": n.tolist(), "loss": loss.tolist(), "staleness": stale.tolist(), "clip": clip, "q": q, "lr": lr,
            "results": {k: v.tolist() for k, v in results.items()}}


def krum_scores(d, among):
    near = len(among) - F - 2
    # With one neighbour, two that are each other's nearest have equal scores: the sum over all others decides, and not who came first.
    others = {a: np.sort([d[a, b] for b in among if b != a]) for a in among}
    return {a: (others[a][:max(1, near)].sum(), others[a].sum()) for a in among}


def robust(x):
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    scores = krum_scores(d, list(range(CLIENTS)))
    order = sorted(scores, key=scores.get)
    keep = CLIENTS - F
    left, chosen = list(range(CLIENTS)), []
    while len(chosen) < CLIENTS - 2 * F:
        s = krum_scores(d, left)
        winner = min(s, key=s.get)
        chosen.append(winner)
        left.remove(winner)
    y = x[chosen]
    median = np.median(y, axis=0)
    closest = np.argsort(np.abs(y - median), axis=0, kind="stable")[: len(chosen) - 2 * F]
    ordered = np.sort(x, axis=0)
    return {"f": F, "results": {
        "median": np.median(x, axis=0).tolist(),
        "trimmed-mean": ordered[F:-F].mean(0).tolist(),
        "krum": x[order[0]].tolist(),
        "multi-krum": x[order[:keep]].mean(0).tolist(),
        "bulyan": np.take_along_axis(y, closest, axis=0).mean(0).tolist()}}


def main():
    r = np.random.default_rng(2021)
    # Float32 numbers, as updates are; two of the clients lie.
    x = r.normal(size=(CLIENTS, LENGTH)).astype(np.float32).astype(np.float64)
    x[[3, 8]] = np.float32(10)
    out = {"deltas": x.tolist(), "optimizers": server_optimizers(r), "linear": linear(r, x), "robust": robust(x)}
    with open(os.path.join(HERE, "..", "src", "core", "strategies", "oracle.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
