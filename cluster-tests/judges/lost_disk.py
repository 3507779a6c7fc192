#!/usr/bin/env python3
"""One disk of three is wiped, rolled back or copied while another node is away: nothing that was accepted may vanish.

lost_disk.py wipe|rollback
"""
import concurrent.futures
import collections
import shutil
import signal
import sys
import time

from nodes import Cluster, Verdict, instant, say
from receiver import Receiver

MANY = 200


def accept(cluster, receiver, due):
    """MANY messages at once and MANY for later, taken by nodes 1 and 2: delivery ids of both kinds."""
    def one(n):
        at = [1 + n % 2, 2 - n % 2]
        _, now = cluster.send("hook", {receiver.url(f"ok/now{n}"): f"now{n}"}, at=at)
        _, later = cluster.send("hook", {receiver.url(f"ok/later{n}"): f"later{n}"}, at=at, send_at=instant(due))
        return now[0], later[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(one, range(MANY)))
    return [first for first, _ in pairs], [later for _, later in pairs]


def main(how):
    """Runs one case."""
    verdict = Verdict()
    with Cluster() as cluster:
        receiver = Receiver(cluster)
        cluster.found()
        cluster.teach("hook")
        one, two, three = cluster.nodes[1], cluster.nodes[2], cluster.nodes[3]
        old = cluster.folder / "old"
        if how == "rollback":
            two.stop()
            shutil.copytree(two.data, old)
            two.start()
            cluster.until(cluster.whole, 60, "whole after the copy was taken")
        three.stop()
        due = time.time() + 75
        now, later = accept(cluster, receiver, due)
        cluster.until(lambda: len({a.delivery for a in receiver.arrivals()} & set(now)) == MANY, 30, "those to be sent at once arrive")
        time.sleep(2)
        say(f"{2 * MANY} accepted by nodes 1 and 2, {MANY} of them delivered")
        one.stop(signal.SIGKILL)
        two.stop(signal.SIGKILL)
        shutil.rmtree(two.data)
        if how == "rollback":
            shutil.copytree(old, two.data)
        two.start()
        three.start()
        time.sleep(12)
        known = two.alive() and three.alive()
        say("nodes 2 and 3 run:", two.alive(), three.alive())
        answers = collections.Counter()
        for delivery in (now + later)[:: 10]:
            for node in (two, three):
                try:
                    status, answer = node.ask("GET", f"/v1/deliveries/{delivery}", key=cluster.key, timeout=5)
                    answers[status] += 1
                except OSError:
                    answers["no answer"] += 1
        say("what nodes 2 and 3 say of what was accepted:", dict(answers), "" if known else "(one of them has ended)")
        verdict.must(answers[404] == 0, f"{how}: {answers[404]} answers deny an accepted delivery while node 1 is away")
        said = [line for line in two.log().splitlines() if "disk" in line]
        verdict.must(bool(said), f"{how}: the node says what its disk is: {said[-1][:300] if said else 'nothing'}")
        one.start()
        usable = lambda: cluster.call("GET", "/v1/stats", at=[1, 3]).get("incomplete") in (None, [], {}, False)
        cluster.until(usable, 90, "node 1 with its whole disk and node 3 serve every partition")
        cluster.nodes = {1: one, 3: three}
        states = collections.Counter(cluster.states(now)), collections.Counter(cluster.states(later))
        say("states of those sent at once and of those for later:", dict(states[0]), dict(states[1]))
        while time.time() < due + 8:
            time.sleep(0.2)
        calls = collections.Counter(arrival.delivery for arrival in receiver.arrivals())
        lost = [delivery for delivery in now + later if not calls[delivery]]
        gone = sum(state is None for state in cluster.states(now + later))
        verdict.must(gone == 0, f"{how}: {gone} of {2 * MANY} vanished")
        copies = sum(calls[delivery] - 1 for delivery in now + later if calls[delivery] > 1)
        verdict.must(not lost, f"{how}: {len(lost)} of {2 * MANY} never arrived")
        verdict.must(copies == 0, f"{how}: {copies} second copies")
        cluster.nodes = {1: one, 2: two, 3: three}
    verdict.end()


main(sys.argv[1] if len(sys.argv) > 1 else "wipe")
