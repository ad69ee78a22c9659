"""A client of `bench:flower` in PyTorch: the models of src/model/model.ts, local SGD, and MNIST. PLAN names a JSON file, see simulation.py."""

import functools
import json
import os

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn
from torch.nn import functional as F


class TwoLayers(nn.Module):
    """mnist-2nn"""

    def __init__(self):
        super().__init__()
        self.dense1, self.dense2, self.digit = nn.Linear(784, 200), nn.Linear(200, 200), nn.Linear(200, 10)

    def forward(self, x):
        x = F.relu(self.dense1(x.flatten(1)))
        return self.digit(F.relu(self.dense2(x)))


class Convolutions(nn.Module):
    """mnist-cnn"""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.dense1, self.digit = nn.Linear(7 * 7 * 64, 512), nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.digit(F.relu(self.dense1(x.flatten(1))))


MODELS = {"mnist-2nn": TwoLayers, "mnist-cnn": Convolutions}


@functools.cache
def plan():
    with open(os.environ["PLAN"], encoding="utf-8") as file:
        return json.load(file)


@functools.cache
def digits(part):
    """Pictures, N x 1 x 28 x 28 in 0..1, and labels."""
    read = lambda name, offset: np.fromfile(os.path.join(plan()["data"], name), np.uint8, offset=offset)
    pixels = read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels).float() / 255, torch.from_numpy(read(f"{part}-labels-idx1-ubyte", 8)).long()


@functools.cache
def shares():
    with open(plan()["shares"], encoding="utf-8") as file:
        return [torch.tensor(own) for own in json.load(file)]


@functools.cache
def network():
    return MODELS[plan()["model"]]()


def first_weights(model):
    """Those of a file that has them as the lab lays them out: kernels as Keras has them, a flattened picture with its channels last."""
    flat, at = torch.from_numpy(np.fromfile(plan()["weights"], np.float32)), 0
    state = {}
    for name, shape in ((name, one.shape) for name, one in model.state_dict().items()):
        own, at = flat[at:at + shape.numel()], at + shape.numel()
        if len(shape) == 4:
            own = own.reshape(shape[2], shape[3], shape[1], shape[0]).permute(3, 2, 0, 1)
        elif len(shape) == 2:
            own = own.reshape(shape[1], shape[0]).T
            if name == "dense1.weight" and shape[1] == 7 * 7 * 64:
                own = own.reshape(-1, 7, 7, 64).permute(0, 3, 1, 2).reshape(shape)
        state[name] = own.clone(memory_format=torch.contiguous_format)
    model.load_state_dict(state)


app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    own = shares()[context.node_config["partition-id"]]
    pictures, labels = (of[own] for of in digits("train"))
    model = network()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    step = torch.optim.SGD(model.parameters(), lr=plan()["learningRate"])
    losses = []
    for order in (torch.randperm(len(own)) for _ in range(plan()["epochs"])):
        for batch in order.split(plan()["batchSize"]):
            step.zero_grad()
            loss = F.cross_entropy(model(pictures[batch]), labels[batch])
            loss.backward()
            step.step()
            losses.append(loss.item())
    metrics = MetricRecord({"num-examples": len(own), "train_loss": float(np.mean(losses))})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)
