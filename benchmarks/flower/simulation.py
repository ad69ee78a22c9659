"""FedAvg in Flower's simulation engine (Ray), for `bench:flower`.

Usage: PLAN=FILE simulation.py; the file holds {model, data, shares, weights, clients, fraction, rounds, epochs, batchSize, learningRate, seed,
workers, out, folder}. What it writes to `out`: seconds since 1970 at its start and at each evaluation's begin and end, with its accuracy.
"""

import json
import random
import time

import torch
import torch_client
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

begun = time.time()
plan = torch_client.plan()
evaluations = []
app = ServerApp()


@torch.no_grad()
def evaluate(_round: int, arrays: ArrayRecord) -> None:
    start = time.time()
    model = torch_client.network()
    model.load_state_dict(arrays.to_torch_state_dict())
    pictures, labels = torch_client.digits("t10k")
    hits = sum(
        (model(some).argmax(1) == of).sum().item() for some, of in zip(pictures.split(1000), labels.split(1000))
    )
    evaluations.append({"begun": start, "ended": time.time(), "accuracy": hits / len(labels)})


@app.main()
def main(grid: Grid, _context: Context) -> None:
    random.seed(plan["seed"])
    torch.set_num_threads(plan["workers"])
    torch_client.first_weights(torch_client.network())
    strategy = FedAvg(fraction_train=plan["fraction"], fraction_evaluate=0.0, min_available_nodes=plan["clients"])
    first = ArrayRecord(torch_client.network().state_dict())
    strategy.start(grid, first, num_rounds=plan["rounds"], evaluate_fn=evaluate)


if __name__ == "__main__":
    ray = {"num_cpus": plan["workers"], "include_dashboard": False, "_temp_dir": plan["folder"],
           "_node_ip_address": "127.0.0.1"}
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(app, torch_client.app, plan["clients"],
                   backend_config={"init_args": ray, "client_resources": resources})
    with open(plan["out"], "w", encoding="utf-8") as file:
        json.dump({"begun": begun, "evaluations": evaluations}, file)
