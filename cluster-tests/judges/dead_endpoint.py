#!/usr/bin/env python3
"""Many customers share one webhook account; the endpoints of some are dead. Nobody else may notice.

dead_endpoint.py broken|silent|refused|all
"""
import sys
import threading
import time

from nodes import Cluster, Verdict, say
from receiver import Receiver

ALONE_S, TOGETHER_S = 8, 25


class Load:
    """Sends one message after another at a rate until it is ended, and keeps when each was accepted."""

    def __init__(self, cluster, address, rate):
        self.cluster, self.address, self.rate = cluster, address, rate
        self.accepted, self.running = {}, True
        self.threads = [threading.Thread(target=self._run, args=(part,), daemon=True) for part in range(3)]
        for thread in self.threads:
            thread.start()

    def _run(self, part):
        turn = part
        while self.running:
            _, deliveries = self.cluster.send("hook", {self.address(turn): turn}, at=[1 + part, 1 + (part + 1) % 3])
            self.accepted[deliveries[0]] = time.time()
            turn += 3
            time.sleep(3 / self.rate)

    def end(self):
        """Stops sending."""
        self.running = False
        for thread in self.threads:
            thread.join(timeout=60)


def delays(load, receiver, first, last):
    """How long those took that were accepted between two times, in ms, sorted; and how many did not arrive."""
    came = {}
    for arrival in receiver.arrivals():
        came.setdefault(arrival.delivery, arrival.at)
    mine = [(delivery, at) for delivery, at in load.accepted.items() if first <= at < last]
    waits = sorted(round((came[delivery] - at) * 1000) for delivery, at in mine if delivery in came)
    return waits, len(mine) - len(waits)


def main(what):
    """Runs one case."""
    verdict = Verdict()
    with Cluster() as cluster:
        receiver, other = Receiver(cluster), Receiver(cluster, 101)
        cluster.found()
        cluster.teach("hook")
        closed = f"http://{cluster.network}.102:9"
        dead = {
            "broken": [lambda n: receiver.url(f"broken/{n % 5}")],
            "silent": [lambda n: other.url(f"silent/{n % 5}")],
            "refused": [lambda n: f"{closed}/{n % 5}"],
        }
        dead["all"] = [address for kind in list(dead.values()) for address in kind]
        healthy = Load(cluster, lambda n: receiver.url(f"ok/{n % 100}"), 15)
        time.sleep(ALONE_S)
        begun = time.time()
        loads = [Load(cluster, address, 25) for address in dead[what]]
        time.sleep(TOGETHER_S)
        ended = time.time()
        for load in loads + [healthy]:
            load.end()
        time.sleep(3)
        alone, _ = delays(healthy, receiver, 0, begun)
        together, missing = delays(healthy, receiver, begun, ended)
        point = lambda waits, share: waits[min(int(len(waits) * share), len(waits) - 1)] if waits else None
        say(f"alone:    {len(alone)} arrived, p50 {point(alone, .5)} ms, p99 {point(alone, .99)} ms")
        say(f"together: {len(together)} arrived, p50 {point(together, .5)} ms, p99 {point(together, .99)} ms, {missing} did not")
        verdict.must(missing == 0, f"{what}: {missing} of {missing + len(together)} healthy deliveries did not arrive within 3 s")
        verdict.must(
            together and point(together, .99) < max(10 * point(alone, .99), 500),
            f"{what}: p99 of the healthy {point(together, .99)} ms, {point(alone, .99)} ms alone",
        )
    verdict.end()


main(sys.argv[1] if len(sys.argv) > 1 else "broken")
