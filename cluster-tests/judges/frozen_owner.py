#!/usr/bin/env python3
"""An owner is frozen, others take over, it wakes up: it must not attempt what its successors delivered, cancelled or suppressed.

frozen_owner.py none|cancel|suppress|twice|short
"""
import collections
import signal
import sys
import time

from nodes import Cluster, Verdict, instant, say
from receiver import Receiver

MANY, PART = 300, 50


def schedule(cluster, receiver, due, label):
    """Sends MANY messages that are due at `due`; gives message id -> delivery ids, and the addresses."""
    messages, addresses = {}, []
    for first in range(0, MANY, PART):
        part = {receiver.url(f"ok/{label}-{first + n}"): f"{label}-{first + n}" for n in range(PART)}
        message, deliveries = cluster.send("hook", part, at=[2], send_at=instant(due))
        messages[message] = deliveries
        addresses += part
    return messages, addresses


def lead_everything(cluster, number):
    """Has one node lead every partition."""
    for group in range(cluster.partitions):
        cluster.call("POST", "/v1/cluster/transfer", {"group": f"p{group}", "to": number})
    led = lambda: all(group["leader"] == number for group in cluster.groups() if group["name"] != "control")
    cluster.until(led, 30, f"node {number} leads")


def others_lead(cluster, frozen):
    """Whether every group has a leader that is not frozen, as another node sees it."""
    awake = [number for number in cluster.nodes if number != frozen]
    return all(group["leader"] in awake for group in cluster.groups(at=awake))


def freeze(cluster, receiver, verdict, what):
    """One freeze of node 1 over the time at which everything is due."""
    lead_everything(cluster, 1)
    due = time.time() + (9 if what == "none" else 18)
    messages, addresses = schedule(cluster, receiver, due, f"{what}{len(receiver.arrivals())}")
    cluster.nodes[1].send_signal(signal.SIGSTOP)
    say("node 1 is frozen")
    cluster.until(lambda: others_lead(cluster, 1), 30, "the others lead")
    if what == "cancel":
        answers = [cluster.call("POST", f"/v1/messages/{message}/cancel", at=[2, 3]) for message in messages]
        say("cancelled", sum(answer["cancelled"] for answer in answers), "of", MANY)
    elif what == "suppress":
        for address in addresses:
            cluster.call("POST", "/v1/suppressions", {"channel": "webhook", "address": address, "reason": "unsubscribed"}, at=[2, 3])
    assert time.time() < due, "the machine is too slow for this case"
    while time.time() < due + 2:
        time.sleep(0.05)
    before = {arrival.delivery for arrival in receiver.arrivals()}
    woken = time.time()
    cluster.nodes[1].send_signal(signal.SIGCONT)
    say("node 1 wakes up")
    time.sleep(5)
    deliveries = [delivery for ids in messages.values() for delivery in ids]
    states = dict(zip(deliveries, cluster.states(deliveries)))
    late = [a for a in receiver.arrivals() if a.at >= woken and a.delivery in states]
    again = [a for a in late if a.delivery in before]
    against = [a for a in receiver.arrivals() if states.get(a.delivery) in ("cancelled", "suppressed")]
    say("states", dict(collections.Counter(states.values())), "arrivals after the waking", len(late))
    wanted = {"none": "delivered", "cancel": "cancelled", "suppress": "suppressed"}[what]
    verdict.must(not again, f"{what}: {len(again)} arrived a second time after the waking")
    verdict.must(not against, f"{what}: {len(against)} arrived though they ended cancelled or suppressed")
    verdict.must(set(states.values()) == {wanted}, f"{what}: all of {MANY} ended {wanted}")


def short_freezes(cluster, receiver, verdict):
    """Freezes of 3 s under load, one after another: each delivery arrives, and once unless it was under way at a freeze."""
    lead_everything(cluster, 1)
    sent, spans = [], []
    for turn in range(3):
        due = time.time() + 6
        messages, _ = schedule(cluster, receiver, due, f"short{turn}")
        sent += [delivery for ids in messages.values() for delivery in ids]
        while time.time() < due - 1.5:
            time.sleep(0.02)
        frozen = time.time()
        cluster.nodes[1].send_signal(signal.SIGSTOP)
        time.sleep(3)
        cluster.nodes[1].send_signal(signal.SIGCONT)
        spans.append((frozen, time.time()))
        time.sleep(2)
        cluster.until(cluster.whole, 60, "whole after a freeze")
        lead_everything(cluster, 1)
    cluster.drained()
    calls = collections.defaultdict(list)
    for arrival in receiver.arrivals():
        calls[arrival.delivery].append(arrival.at)
    # A call that was under way when the process froze may have been taken without a record; nothing was due then.
    copies = sum(len(calls[delivery]) - 1 for delivery in sent if calls[delivery])
    verdict.must(all(calls[delivery] for delivery in sent), f"short: each of {len(sent)} arrived")
    verdict.must(copies == 0, f"short: {copies} second copies over {len(spans)} freezes of 3 s")


def main(what):
    """Runs one case."""
    verdict = Verdict()
    with Cluster() as cluster:
        receiver = Receiver(cluster)
        cluster.found()
        cluster.teach("hook")
        if what == "short":
            short_freezes(cluster, receiver, verdict)
        elif what == "twice":
            freeze(cluster, receiver, verdict, "none")
            cluster.until(cluster.whole, 60, "whole after the first freeze")
            freeze(cluster, receiver, verdict, "none")
        else:
            freeze(cluster, receiver, verdict, what)
    verdict.end()


main(sys.argv[1] if len(sys.argv) > 1 else "cancel")
