#!/usr/bin/env python3
"""The wall clock of one node of three is wrong for some seconds: nothing may come early, and caps, limits and keys must hold.

wrong_clock.py SECONDS [NODES]    SECONDS: how far the clock is moved (may be negative), NODES: how many nodes (1)
"""
import collections
import os
import pathlib
import subprocess
import sys
import time

from nodes import Cluster, Verdict, instant, say
from receiver import Receiver

LIMIT, WINDOW_S, CAP = 20, 6.0, 3
BENDER = pathlib.Path(__file__).resolve().parent.parent / "testbed" / "bent.c"


def fullest(times, window):
    """The largest number of `times` within any span shorter than `window` seconds."""
    times, best, first = sorted(times), 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        best = max(best, last - first + 1)
    return best


class BentClocks:
    """The wall clocks of some nodes, moved by a library that is loaded into them."""

    def __init__(self, cluster, numbers):
        self.library = cluster.folder / "bent.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", self.library, BENDER], check=True)
        self.folders = []
        for number in numbers:
            folder = cluster.folder / f"bent{number}"
            folder.mkdir()
            self.folders.append(folder)
            cluster.nodes[number].environment = {"LD_PRELOAD": str(self.library), "TIDINGS_BENT": str(folder)}
        self.move(0)

    def move(self, seconds):
        """Moves the clocks by so many seconds from the truth."""
        for folder in self.folders:
            fresh = folder / "next"
            fresh.write_text(f"{int(seconds)}\n")
            os.replace(fresh, folder / "clock")


class Callers:
    """Sends through the nodes whose clocks are right, and knows what was sent."""

    def __init__(self, cluster, receiver, straight):
        self.cluster, self.receiver, self.straight = cluster, receiver, straight

    def send(self, template, names, n, **more):
        """Sends `n` to each recipient of those names."""
        return self.cluster.send(template, {self.receiver.url(f"ok/{name}"): n for name in names}, at=self.straight, **more)

    def keyed(self):
        """One message under each of 16 keys: its ids."""
        return [self.send("hook", [f"key{q}"], "K", key=f"key{q}")[0] for q in range(16)]

    def capped(self, label):
        """Six messages to each of 16 recipients, of whom each may get three in an hour."""
        for turn in range(6):
            self.send("capped", [f"cap{q}" for q in range(16)], f"C{label}{turn}")


def count(receiver, n):
    """How many calls carried exactly `n`."""
    return sum(arrival.n == n for arrival in receiver.arrivals())


def main(shift, many):
    """Runs the case."""
    verdict = Verdict()
    with Cluster() as cluster:
        receiver = Receiver(cluster)
        bent = list(range(2, 2 + many))
        clocks = BentClocks(cluster, bent)
        straight = [number for number in cluster.nodes if number not in bent]
        callers = Callers(cluster, receiver, straight)
        cluster.found()
        cluster.teach("hook")
        cluster.teach("limited", {"limit": {"permits": LIMIT, "window_ms": int(WINDOW_S * 1000)}})
        cluster.teach("capped", rules={"frequency": {"windows": [{"window_ms": 3_600_000, "most": CAP}]}})
        far = max(abs(shift) * 0.8, 60)
        callers.send("hook", [f"far{q}" for q in range(40)], "far", send_at=instant(time.time() + far))
        first = callers.keyed()
        callers.capped("a")
        callers.send("limited", [f"lim{q}" for q in range(200)], "L")
        time.sleep(4)
        clocks.move(shift)
        say(f"the clocks of {bent} are {shift} s off")
        time.sleep(4)
        clocks.move(0)
        say("all clocks are right")
        time.sleep(2)
        callers.capped("b")
        again = callers.keyed()
        soon = time.time() + 4
        callers.send("hook", [f"soon{q}" for q in range(40)], "soon", send_at=instant(soon))
        time.sleep(9)
        calls = receiver.arrivals()
        caps = collections.Counter(a.path for a in calls if a.n.startswith("C"))
        limited = fullest([a.at for a in calls if a.n == "L"], WINDOW_S)
        early = [round(soon - a.at, 2) for a in calls if a.n == "soon" and a.at < soon - 1.0]
        verdict.must(count(receiver, "far") == 0, f"{count(receiver, 'far')} of 40 came long before their time")
        verdict.must(not early, f"{len(early)} of those for soon came early: {early[:3]}")
        verdict.must(count(receiver, "soon") == 40, f"{count(receiver, 'soon')} of 40 for soon came within 5 s of their time")
        verdict.must(caps and max(caps.values()) <= CAP, f"at most {max(caps.values(), default=0)} of {CAP} in an hour under the cap")
        verdict.must(limited <= LIMIT, f"at most {limited} of {LIMIT} in {WINDOW_S} s under the limit")
        twice = sum(a != b for a, b in zip(first, again))
        verdict.must(twice == 0, f"{twice} of 16 keys made a second message")
    verdict.end()


main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
