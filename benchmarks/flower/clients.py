"""Clients of Flower's SuperLink without what a SuperNode has around them: no processes of their own, and an answer that is ready. They
speak Flower's own Fleet API through its own code: what is measured is its server.

Usage: clients.py ADDRESS CLIENTS SHAPES
"""

import json
import sys
import threading
import time

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supernode.fleet_http_connection import http_request_response

# As a SuperNode waits: asking more often, the clients would take the time that they measure.
POLL_SECONDS = 3
# As many as the edge's clients send at once.
AT_ONCE = threading.Semaphore(32)

address, count, shapes = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])


def client(number: int) -> None:
    random = np.random.default_rng(number)
    arrays = [random.normal(0, 0.01, shape).astype(np.float32) for shape in shapes]
    with http_request_response(address, True) as (_, receive, send, _, _, pull, push, confirm):
        while True:
            received = receive()
            if received is None:
                time.sleep(POLL_SECONDS)
                continue
            with AT_ONCE:
                answer(number, received, arrays, send, pull, push, confirm)


def answer(number, received, arrays, send, pull, push, confirm) -> None:
    envelope, tree = received
    run = envelope.metadata.run_id
    message = pull_and_inflate_object_from_tree(
        tree, lambda one: pull(run, one), lambda one: confirm(run, one), return_type=Message
    )
    message.metadata.__dict__["_message_id"] = tree.object_id
    metrics = MetricRecord({"num-examples": 1 + number % 50, "train_loss": 1.0})
    reply = Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with no_object_id_recompute():
        wanted, session = send(reply, get_object_tree(reply), 1.0)
        push_objects(
            get_all_nested_objects(reply),
            lambda one, content: push(run, session, one, content),
            object_ids_to_push=wanted,
        )


threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(count)]
for thread in threads:
    thread.start()
    time.sleep(0.02)
for thread in threads:
    thread.join()
