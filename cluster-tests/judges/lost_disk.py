#!/usr/bin/env python3
"""Disks of three are wiped or rolled back, or their node was just away: nothing that was accepted may vanish or be denied.

lost_disk.py wipe|rollback|back|two-wiped|all-rolled-back|all-rolled-back-at-once
"""
import collections
import functools
import shutil
import sys
import time

from disks import MANY, accept, arrived, kill, put_back, said_of, wipe
from many_disks import CASES
from nodes import Cluster, Verdict, say
from receiver import Receiver


def back(verdict, cluster, receiver):
    """A node with a whole disk comes back: it does not know what was accepted meanwhile, and must not deny it."""
    due = time.time() + 600
    cluster.nodes[3].stop()
    now, later = accept(cluster, receiver, due)
    three = cluster.nodes[3]
    three.start()
    cluster.until(lambda: three.ask("GET", "/healthz")[0] == 200, 30, "node 3 lives")
    said, rounds, end = collections.Counter(), 0, time.time() + 120
    while rounds < 5 and time.time() < end:
        new = said_of(cluster, [three], now + later)
        said += new
        rounds += set(new) == {200}
    verdict.must(said[404] == 0, f"none of {2 * MANY} is denied by the node that came back, however soon: {dict(said)}")
    verdict.must(set(said) <= {200, 503, "no answer"}, "it knows them, or says that it cannot tell yet")
    verdict.must(rounds == 5, "it knows all of them in the end")


def one_disk(how, verdict, cluster, receiver):
    """One disk is wiped or rolled back while another node is away."""
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
    cluster.until(lambda: arrived(receiver, now), 30, "those to be sent at once arrive")
    time.sleep(2)
    say(f"{2 * MANY} accepted by nodes 1 and 2, {MANY} of them delivered")
    kill(one, two)
    if how == "rollback":
        put_back(two, old)
    else:
        wipe(two)
    two.start()
    three.start()
    time.sleep(12)
    known = two.alive() and three.alive()
    say("nodes 2 and 3 run:", two.alive(), three.alive())
    answers = said_of(cluster, [two, three], (now + later)[::10])
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


def main(how):
    """Runs one case."""
    cases = {**CASES, "back": back, **{one: functools.partial(one_disk, one) for one in ("wipe", "rollback")}}
    verdict = Verdict()
    with Cluster() as cluster:
        receiver = Receiver(cluster)
        cluster.found()
        cluster.teach("hook")
        cases[how](verdict, cluster, receiver)
    verdict.end()


main(sys.argv[1] if len(sys.argv) > 1 else "wipe")
