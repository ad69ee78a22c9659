#!/usr/bin/env python3
"""Writes src/simulation/modes-oracle.json: small asynchronous and gossiping federations, computed with NumPy alone.

    python3 tools/modes-oracle.py

Needs NumPy (Debian: python3-numpy). Written from the papers, not from the project's code.
"""
import heapq
import json
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def fedbuff(r):
    """FedBuff (Nguyen et al. 2022, algorithm 1): a buffer of K updates, each discounted by 1 / sqrt(1 + staleness).

    As the edge has it: n_k weighs, and the discount is not made up for by the divisor; a client begins once from each version at
    most, and waits for the next one then; whoever trains from weights that are more than `most` versions old is told to begin anew.
    """
    n, d, rounds, steps, lr, K, most = 5, 4, 14, 3, 0.05, 2, 3
    roots = r.normal(size=(n, d, d))
    A = np.einsum("nij,nkj->nik", roots, roots) / d + 0.5 * np.eye(d)
    b = r.normal(size=(n, d)) * 3
    examples = [3, 1, 4, 2, 5]
    seconds = [3.137, 5.371, 7.793, 11.939, 41.171]
    w, version, now = np.zeros(d), 0, 0
    queue, begun, path = [], [-1] * n, []

    def start(k):
        begun[k] = version
        heapq.heappush(queue, (now + round(1000 * seconds[k]), k, version, w.copy()))

    for k in range(n):
        start(k)
    while len(path) < rounds:
        buffer, weights, who, stale = np.zeros(d), 0, [], []
        while len(who) < K:
            now, k, base, y = heapq.heappop(queue)
            assert not queue or queue[0][0] > now, "two end at once"
            start_from, s = y.copy(), version - base
            for _ in range(steps):
                y = y - lr * A[k] @ (y - b[k])
            buffer = buffer + examples[k] * (y - start_from) / np.sqrt(1 + s)
            weights += examples[k]
            who.append(k)
            stale.append(s)
            if len(who) < K and begun[k] != version:
                start(k)
        w, version = w + buffer / weights, version + 1
        queue = [one for one in queue if one[2] >= version - most]
        heapq.heapify(queue)
        for k in sorted(set(range(n)) - {one[1] for one in queue}):
            start(k)
        path.append({"weights": w.tolist(), "seconds": now / 1000, "clients": who, "staleness": stale})
    # What the fixture is to show: late updates, and one that never counts.
    assert max(max(one["staleness"]) for one in path) >= 2
    assert 4 not in {k for one in path for k in one["clients"]}
    return {"A": A.tolist(), "b": b.tolist(), "examples": examples, "clientSeconds": seconds, "steps": steps, "lr": lr, "K": K,
            "maxStaleness": most, "path": path}


def gossip(r):
    """DFedAvg (Sun, Li and Wang 2021, algorithm 1) with push-sum (Kempe, Dobra and Gehrke 2003, protocol 1) in matrices.

    Who trains in a round takes its steps from its own model. Then x = n_k w_k and y = n_k are mixed by column-stochastic matrices, and
    everybody's next model is x / y. In step t each keeps half and gives half to the one 2^(t mod neighbours) further on.
    """
    n, d, rounds, local, lr, neighbours, mixes = 5, 4, 6, 3, 0.05, 2, 3
    roots = r.normal(size=(n, d, d))
    A = np.einsum("nij,nkj->nik", roots, roots) / d + 0.5 * np.eye(d)
    b = r.normal(size=(n, d)) * 3
    examples = [3, 1, 4, 2, 5]
    cohorts = [sorted(r.choice(n, 3, replace=False).tolist()) for _ in range(rounds)]
    models, t, path = np.zeros((n, d)), 0, []
    for cohort in cohorts:
        for k in cohort:
            for _ in range(local):
                models[k] = models[k] - lr * A[k] @ (models[k] - b[k])
        y = np.array(examples, dtype=np.float64)
        x = y[:, None] * models
        for _ in range(mixes):
            P = 0.5 * np.eye(n)
            for j in range(n):
                P[(j + 2 ** (t % neighbours)) % n, j] += 0.5
            x, y, t = P @ x, P @ y, t + 1
        models = x / y[:, None]
        path.append(models.tolist())
    return {"A": A.tolist(), "b": b.tolist(), "examples": examples, "schedule": cohorts, "steps": local, "lr": lr,
            "neighbours": neighbours, "gossipSteps": mixes, "path": path}


def main():
    r = np.random.default_rng(2022)
    out = {"fedbuff": fedbuff(r), "gossip": gossip(r)}
    with open(os.path.join(HERE, "..", "src", "simulation", "modes-oracle.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
