"""Flower's FedAvg over as many clients and the same tensors; it writes down when each round was over."""

import json
import time

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    clients, shapes = int(config["clients"]), json.loads(config["shapes"])
    ends = []

    def look(_round: int, _arrays: ArrayRecord) -> None:
        ends.append(time.time())

    while len(list(grid.get_node_ids())) < clients:
        time.sleep(0.5)
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    initial = ArrayRecord([np.zeros(shape, np.float32) for shape in shapes])
    result = strategy.start(grid, initial, num_rounds=int(config["rounds"]), evaluate_fn=look)
    mean = [float(np.mean(array.numpy())) for array in result.arrays.values()]
    with open(config["out"], "w", encoding="utf-8") as file:
        json.dump({"ends": ends, "mean": mean}, file)
