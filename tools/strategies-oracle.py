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


def extra_optimizers(o, x):
    """FedMom (Huo et al. 2020, algorithm 3) with its own two sequences, and FedExP (Jhunjhunwala et al. 2023, algorithm 1).

    The fifth and the sixth number are statistics: FedExP's step is that of the parameters, and statistics are averaged.
    """
    eta, beta = o["rule"]["learningRate"], o["rule"]["momentum"]
    w = np.array(o["start"])
    v, path = w.copy(), []
    for d in o["deltas"]:
        v_next = w + eta * np.array(d)
        w, v = v_next + beta * (v_next - v), v_next
        path.append(w.tolist())
    mean, epsilon = x.mean(0), 0.1
    parameters = np.delete(np.arange(LENGTH), [4, 5])
    p = x[:, parameters]
    eta_g = max(1.0, (p ** 2).sum() / (2 * len(x) * ((p.mean(0) ** 2).sum() + epsilon)))
    rates = np.where(np.isin(np.arange(LENGTH), parameters), eta_g, 1)
    return {"nesterov": path,
            "fedexp": {"epsilon": epsilon, "step": eta_g, "weights": (np.array(o["start"]) + rates * mean).tolist()}}


def fednova(x, n, epochs, batch, most=20):
    """Wang et al. 2020, equation 6: x+ = x - tau_eff sum_i p_i eta d_i, and eta d_i = (x - x_i) / tau_i for plain SGD.

    And where no client counts for more than `most` examples: p_i of those, d_i over the steps that were taken, and tau_eff, which equation
    6 leaves open, of the steps on the examples that count.
    """
    n = np.array(n, dtype=np.float64)

    def step(counted):
        tau, p = epochs * np.ceil(n / batch), counted / counted.sum()
        tau_eff = (p * epochs * np.ceil(counted / batch)).sum()
        return (tau_eff * (x * (p / tau)[:, None]).sum(0)).tolist()

    return {"epochs": epochs, "batchSize": batch, "result": step(n), "most": most, "capped": step(np.minimum(n, most))}


def geometric_median(x):
    """Pillutla et al. 2022, algorithm 2, equal weights: three steps from the mean, nu = 1e-6; and the minimizer itself."""
    def weiszfeld(steps):
        v = x.mean(0)
        for _ in range(steps):
            b = 1 / np.maximum(1e-6, np.linalg.norm(x - v, axis=1))
            v = (b[:, None] * x).sum(0) / b.sum()
        return v
    return {"result": weiszfeld(3).tolist(), "limit": weiszfeld(20000).tolist()}


def quadratics(r):
    """Clients with losses F_i(w) = (w - b_i)' A_i (w - b_i) / 2, who differ, and who of them takes part in each round."""
    n, d, rounds, steps, lr = 6, 5, 12, 4, 0.05
    roots = r.normal(size=(n, d, d))
    A = np.einsum("nij,nkj->nik", roots, roots) / d + 0.5 * np.eye(d)
    b = r.normal(size=(n, d)) * 3
    cohorts = [sorted(r.choice(n, 3, replace=False).tolist()) for _ in range(rounds)]
    start = r.normal(size=d)

    def grad(i, w):
        return A[i] @ (w - b[i])

    def scaffold(eta_g, steps_of=lambda i: steps):
        """Karimireddy et al. 2020, algorithm 1, option II; K of each client its own where it is told."""
        x, c, ci, path = start.copy(), np.zeros(d), np.zeros((n, d)), []
        for S in cohorts:
            dy, dc = [], []
            for i in S:
                K = steps_of(i)
                y = x.copy()
                for _ in range(K):
                    y = y - lr * (grad(i, y) - ci[i] + c)
                new = ci[i] - c + (x - y) / (K * lr)
                dy.append(y - x)
                dc.append(new - ci[i])
                ci[i] = new
            x = x + eta_g * np.mean(dy, axis=0)
            c = c + len(S) / n * np.mean(dc, axis=0)
            path.append(x.tolist())
        return path

    def feddyn(alpha):
        """Acar et al. 2021, algorithm 1; the local problem by the same steps of gradient descent."""
        x, h, g, path = start.copy(), np.zeros(d), np.zeros((n, d)), []
        for P in cohorts:
            thetas = []
            for k in P:
                t = x.copy()
                for _ in range(steps):
                    t = t - lr * (grad(k, t) - g[k] + alpha * (t - x))
                g[k] = g[k] - alpha * (t - x)
                thetas.append(t)
            h = h - alpha / n * sum(t - x for t in thetas)
            x = np.mean(thetas, axis=0) - h / alpha
            path.append(x.tolist())
        return path

    def ditto(lam):
        """Li et al. 2021 (Ditto), algorithm 1: FedAvg for w; each client's own v with the gradient of F_k plus lambda (v - w)."""
        x, v, path = start.copy(), {}, []
        for S in cohorts:
            dy, own = [], []
            for i in S:
                y = x.copy()
                for _ in range(steps):
                    y = y - lr * grad(i, y)
                mine = v.get(i, x).copy()
                for _ in range(steps):
                    mine = mine - lr * (grad(i, mine) + lam * (mine - x))
                v[i] = mine
                dy.append(y - x)
                own.append(mine.tolist())
            x = x + np.mean(dy, axis=0)
            path.append({"global": x.tolist(), "own": own})
        return path

    def personal(head_steps):
        """A body (the first numbers) that is shared and a head (the last two) of each client's own.

        Without head_steps FedPer (Arivazhagan et al. 2019, algorithms 1 and 2): both are trained at once. With them FedRep (Collins et al.
        2021, algorithm 1): first so many steps of the head with the body fixed, then the others of the body with the head fixed.
        """
        body, heads, path = start[:3].copy(), {}, []
        for S in cohorts:
            bodies, own = [], []
            for i in S:
                phi, h = body.copy(), heads.get(i, start[3:]).copy()
                for step in range(steps):
                    g = grad(i, np.concatenate([phi, h]))
                    if head_steps is None:
                        phi, h = phi - lr * g[:3], h - lr * g[3:]
                    elif step < head_steps:
                        h = h - lr * g[3:]
                    else:
                        phi = phi - lr * g[:3]
                heads[i] = h
                bodies.append(phi)
                own.append(h.tolist())
            body = np.mean(bodies, axis=0)
            path.append({"body": body.tolist(), "heads": own})
        return path

    def power_of_choice(choices):
        """Cho et al. 2022, section 3.2: of d candidates the m with the largest local loss at w_t; then FedAvg. m = 2."""
        x, path = start.copy(), []
        for S in cohorts:
            # Each round's three are joined by the next in the row, so that d is 4.
            A_t = sorted({*S, min(i for i in range(n) if i not in S)})
            loss = {i: 0.5 * (x - b[i]) @ A[i] @ (x - b[i]) for i in A_t}
            chosen = sorted(sorted(A_t, key=lambda i: -loss[i])[:len(A_t) // choices])
            ends = []
            for i in chosen:
                y = x.copy()
                for _ in range(steps):
                    y = y - lr * grad(i, y)
                ends.append(y)
            path.append({"candidates": A_t, "losses": [loss[i] for i in A_t], "chosen": chosen})
            x = np.mean(ends, axis=0)
            path[-1]["global"] = x.tolist()
        return path

    return {"A": A.tolist(), "b": b.tolist(), "cohorts": cohorts, "start": start.tolist(), "steps": steps, "lr": lr,
            "scaffold": {"serverLearningRate": 0.8, "path": scaffold(0.8)},
            "scaffold-unequal": {"serverLearningRate": 0.8, "steps": [1 + i for i in range(n)],
                                 "path": scaffold(0.8, lambda i: 1 + i)},
            "feddyn": {"alpha": 0.3, "path": feddyn(0.3)}, "ditto": {"lambda": 0.5, "path": ditto(0.5)},
            "fedper": {"path": personal(None)}, "fedrep": {"headEpochs": 3, "path": personal(3)},
            "power-of-choice": {"choices": 2, "path": power_of_choice(2)}}


def moon():
    """Li, He and Song 2021 (MOON), equations 3 and 4, on the 2NN of McMahan et al. 2017: losses, and the gradient of both together.

    Weights and pixels are those that the test makes by the same rules. Of each tensor's gradient: its norm and some of its values.
    """
    sizes, batch, mu, tau, every = [784, 200, 200, 10], 6, 2.0, 0.5, 1009

    def model(salt):
        layers = []
        for i, o in zip(sizes, sizes[1:]):
            k = np.arange(i * o + o)
            values = ((k * 7919 + salt * 104729) % 1009 / 1009 - 0.5) * 4 / np.sqrt(i)
            values = values.astype(np.float32).astype(np.float64)
            layers.append([values[:i * o].reshape(i, o), values[i * o:]])
        return layers

    def layers_of(w, x):
        h1 = np.maximum(x @ w[0][0] + w[0][1], 0)
        h2 = np.maximum(h1 @ w[1][0] + w[1][1], 0)
        return h1, h2, h2 @ w[2][0] + w[2][1]

    x = (np.arange(batch * 784) * 37 % 256 * (np.arange(batch * 784) * 11 % 7 == 0) / 255).reshape(batch, 784)
    labels = np.arange(batch) % 10
    w, zg, zp = model(1), layers_of(model(2), x)[1], layers_of(model(3), x)[1]

    def losses(w):
        z, logits = layers_of(w, x)[1:]
        logits = logits - logits.max(1, keepdims=True)
        own = -(logits[np.arange(batch), labels] - np.log(np.exp(logits).sum(1))).mean()
        cos = [(z * o).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(o, axis=1) for o in (zg, zp)]
        pair = np.exp(np.array(cos) / tau)
        return own, -np.log(pair[0] / pair.sum(0)).mean(), cos, pair

    own, con, cos, pair = losses(w)
    h1, z, logits = layers_of(w, x)
    d3 = np.exp(logits - logits.max(1, keepdims=True))
    d3 /= d3.sum(1, keepdims=True)
    d3[np.arange(batch), labels] -= 1
    d3 /= batch
    # -log p = log(1 + exp((c_p - c_g) / tau)): its slope by c_p - c_g is (1 - p) / tau.
    slope = pair[1] / pair.sum(0) / tau / batch
    length = np.linalg.norm(z, axis=1, keepdims=True)
    dcos = [o / np.linalg.norm(o, axis=1, keepdims=True) / length - c[:, None] * z / length ** 2
            for o, c in ((zg, cos[0]), (zp, cos[1]))]
    dz = d3 @ w[2][0].T + mu * slope[:, None] * (dcos[1] - dcos[0])
    d2 = dz * (z > 0)
    d1 = (d2 @ w[1][0].T) * (h1 > 0)
    grads = [[a.T @ d, d.sum(0)] for a, d in ((x, d1), (h1, d2), (z, d3))]
    # The slopes by hand are those of the losses themselves.
    for layer, place in ((0, (28, 5)), (1, (7, 9)), (1, (100, 50)), (2, (3, 4))):
        ends = []
        for sign in (1, -1):
            w[layer][0][place] += sign * 1e-5
            o, c, _, _ = losses(w)
            ends.append(o + mu * c)
            w[layer][0][place] -= sign * 1e-5
        assert abs((ends[0] - ends[1]) / 2e-5 - grads[layer][0][place]) < 1e-8
    names = ["dense1", "dense2", "digit"]
    told = {f"{name}/{role}": {"norm": float(np.linalg.norm(g)), "values": g.ravel()[::every].tolist()}
            for name, both in zip(names, grads) for role, g in zip(("kernel", "bias"), both)}
    return {"batch": batch, "mu": mu, "temperature": tau, "every": every, "loss": own, "contrastive": con, "gradients": told}


def cosines(x, n):
    """The cosine of every delta to their weighted mean, over all numbers but the fifth and the sixth, which are statistics."""
    parameters = np.delete(np.arange(LENGTH), [4, 5])
    d, mean = x[:, parameters], np.average(x, axis=0, weights=n)[parameters]
    return (d @ mean / (np.linalg.norm(d, axis=1) * np.linalg.norm(mean))).tolist()


def main():
    r = np.random.default_rng(2021)
    # Float32 numbers, as updates are; two of the clients lie.
    x = r.normal(size=(CLIENTS, LENGTH)).astype(np.float32).astype(np.float64)
    x[[3, 8]] = np.float32(10)
    out = {"deltas": x.tolist(), "optimizers": server_optimizers(r), "linear": linear(r, x), "robust": robust(x)}
    out["more"] = {**extra_optimizers(out["optimizers"], x), "fednova": fednova(x, out["linear"]["examples"], 2, 7),
                   "geometric-median": geometric_median(x), "quadratics": quadratics(r), "moon": moon(),
                   "cosines": cosines(x, out["linear"]["examples"])}
    with open(os.path.join(HERE, "..", "src", "federation", "strategies", "oracle.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
