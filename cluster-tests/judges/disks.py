"""Deliveries that are accepted before something happens to disks, and what the nodes say of them afterwards."""
import collections
import concurrent.futures
import shutil
import signal
import time

from nodes import instant

MANY = 200


def accept(cluster, receiver, due, nodes=(1, 2), many=MANY, name=""):
    """`many` messages at once and `many` for later, taken by two nodes: delivery ids of both kinds."""
    def one(n):
        at = [nodes[n % 2], nodes[1 - n % 2]]
        _, now = cluster.send("hook", {receiver.url(f"ok/{name}now{n}"): f"now{n}"}, at=at)
        _, later = cluster.send("hook", {receiver.url(f"ok/{name}later{n}"): f"later{n}"}, at=at, send_at=instant(due))
        return now[0], later[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(one, range(many)))
    return [first for first, _ in pairs], [later for _, later in pairs]


def arrived(receiver, deliveries):
    """Whether each of them has come in."""
    return set(deliveries) <= {arrival.delivery for arrival in receiver.arrivals()}


def said_of(cluster, nodes, deliveries):
    """How often the nodes gave which status when they were asked for each of them."""
    def one(delivery):
        given = collections.Counter()
        for node in nodes:
            try:
                given[node.ask("GET", f"/v1/deliveries/{delivery}", key=cluster.key, timeout=15)[0]] += 1
            except OSError:
                given["no answer"] += 1
        return given
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, deliveries), collections.Counter())


def refusing(cluster, receiver, nodes, seconds=10):
    """How often the nodes answered which status to new messages for a while."""
    answers, end = collections.Counter(), time.time() + seconds
    body = {"template": "hook", "to": [{"to": receiver.url("ok/refused"), "variables": {"n": "0"}}]}
    while time.time() < end:
        for node in nodes:
            try:
                answers[node.ask("POST", "/v1/messages", body, cluster.key)[0]] += 1
            except OSError:
                answers["no answer"] += 1
        time.sleep(0.5)
    return answers


def kill(*nodes):
    """Ends processes as a loss of power does."""
    for node in nodes:
        node.stop(signal.SIGKILL)


def wipe(*nodes):
    """Takes the data of nodes away."""
    for node in nodes:
        shutil.rmtree(node.data)


def put_back(node, copy):
    """Replaces the data of a node by a copy that was taken before."""
    shutil.rmtree(node.data)
    shutil.copytree(copy, node.data)
