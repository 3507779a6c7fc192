"""More disks than a majority can do without: the cluster refuses, an operator acts, and nothing is gone but what was named."""
import collections
import datetime
import re
import shutil
import subprocess
import time

from disks import MANY, accept, arrived, kill, put_back, refusing, said_of, wipe
from nodes import BINARY, say

FEW = 20


def force(node, other, *words):
    """`tidings cluster force-disk OTHER` on the stopped node: its exit code and what it printed."""
    command = [BINARY, "cluster", "force-disk", str(other.number), "--config", str(node.folder / "node.toml"), *words]
    ended = subprocess.run(command, cwd=node.folder, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def act(verdict, cluster, whole, lost, boundary):
    """What the operator does: says with the whole disk that the lost one may be replaced, and starts both again.

    `boundary` are the moments after which the last of what is on the disk, and the first of what is not, was accepted."""
    whole.stop()
    lost.stop()
    code, said = force(whole, lost)
    verdict.must(code != 0 and "accept-loss" in said, "without --accept-loss the command does nothing")
    code, said = force(whole, lost, "--accept-loss")
    say("the command said:", said.strip())
    verdict.must(code == 0 and "not on it" in said, "the command names what may be gone")
    newest = re.search(r"is of (\S+): what was accepted after", said)
    newest = datetime.datetime.fromisoformat(newest[1].replace("Z", "+00:00")).timestamp() if newest else 0
    right = boundary[0] - 1 <= newest <= boundary[1] + 1
    verdict.must(right, "the time that it names lies between what is on the disk and what is not")
    wipe(lost)
    whole.start()
    lost.start()
    cluster.until(cluster.whole, 180, "whole after the operator acted")
    audit = cluster.call("GET", "/v1/audit")["entries"]
    verdict.must(any(entry["action"] == "force_disk" for entry in audit), "the audit log holds force_disk")


def reasons(node):
    """Why a node is not ready."""
    status, answer = node.ask("GET", "/readyz", timeout=5)
    return [] if status == 200 else answer["reasons"]


def refused(verdict, cluster, receiver, accepted, on_disk):
    """Nobody takes anything, nobody denies anything, and the nodes of the lost disks say why."""
    nodes = list(cluster.nodes.values())
    for node in on_disk:
        told = cluster.until(lambda node=node: [why for why in reasons(node) if "disk" in why], 30, "it says what its disk is")
        verdict.must(bool(told), f"node {node.number} is not ready: {told[0][:160]}")
    answers = refusing(cluster, receiver, nodes)
    verdict.must(answers[202] == 0 and answers[503] > 0, f"no message is taken: {dict(answers)}")
    said = said_of(cluster, nodes, accepted[::10])
    verdict.must(said[404] == 0, f"none of {len(accepted[::10])} accepted deliveries is denied: {dict(said)}")


def counted(verdict, cluster, receiver, kept, named, what):
    """None of `kept` is gone; of `named`, which the command and the document say may be, some are, or nothing was tried."""
    states = cluster.states(kept)
    verdict.must(None not in states, f"{states.count(None)} of {len(kept)} are gone that nobody named")
    gone = cluster.states(named).count(None)
    verdict.must(gone > 0, f"{gone} of {len(named)} are gone that {what}")
    before = len(receiver.arrivals())
    _, fresh = cluster.send("hook", {receiver.url("ok/fresh"): "fresh"})
    cluster.until(lambda: arrived(receiver, fresh), 30, "a new message arrives")
    verdict.must(len(receiver.arrivals()) > before, "new messages are taken and arrive")


def in_time(verdict, receiver, due, deliveries):
    """Each of those for later arrives, and no delivery twice."""
    while time.time() < due + 20 and not arrived(receiver, deliveries):
        time.sleep(0.2)
    calls = collections.Counter(arrival.delivery for arrival in receiver.arrivals())
    lost = sum(not calls[delivery] for delivery in deliveries)
    copies = sum(count - 1 for count in calls.values())
    verdict.must(lost == 0 and copies == 0, f"{lost} of {len(deliveries)} never arrived, {copies} second copies")


def two_wiped(verdict, cluster, receiver):
    """Two of three disks are emptied at once, after the third was away for a while."""
    one, two, three = cluster.nodes.values()
    due = time.time() + 150
    now, later = accept(cluster, receiver, due)
    kept_by = time.time()
    cluster.until(lambda: arrived(receiver, now), 60, "those to be sent at once arrive")
    time.sleep(2)
    one.stop()
    boundary = kept_by, time.time()
    unseen = sum(accept(cluster, receiver, due + 600, nodes=(2, 3), many=FEW, name="unseen"), [])
    say(f"{2 * MANY} accepted by all, {2 * FEW} while node 1 was down")
    kill(two, three)
    wipe(two, three)
    for node in (one, two, three):
        node.start()
    refused(verdict, cluster, receiver, now + later + unseen, (two, three))
    act(verdict, cluster, one, two, boundary)
    counted(verdict, cluster, receiver, now + later, unseen, "the others took while node 1 was down")
    in_time(verdict, receiver, due, later)


def copies_of(cluster):
    """A copy of each node's data, taken while the node is down, one node after another."""
    copies = {}
    for node in cluster.nodes.values():
        node.stop()
        copies[node.number] = cluster.folder / f"old{node.number}"
        shutil.copytree(node.data, copies[node.number])
        node.start()
        cluster.until(cluster.whole, 90, "whole after a copy was taken")
    return copies


def all_put_back(cluster, copies):
    """All nodes die, and each starts again from its copy."""
    kill(*cluster.nodes.values())
    for node in cluster.nodes.values():
        put_back(node, copies[node.number])
    for node in cluster.nodes.values():
        node.start()


def all_rolled_back(verdict, cluster, receiver):
    """All disks are put back to copies that were taken one after another: the newest knows that the others are behind."""
    due = time.time() + 210
    now, later = accept(cluster, receiver, due)
    cluster.until(lambda: arrived(receiver, now), 60, "those to be sent at once arrive")
    kept_by = time.time()
    copies = copies_of(cluster)
    boundary = kept_by, time.time()
    after = sum(accept(cluster, receiver, due + 600, many=FEW, name="after"), [])
    all_put_back(cluster, copies)
    one, two, three = cluster.nodes.values()
    refused(verdict, cluster, receiver, now + later, (one, two))
    act(verdict, cluster, three, one, boundary)
    counted(verdict, cluster, receiver, now + later, after, "were accepted after the copies")
    in_time(verdict, receiver, due, later)


def all_rolled_back_at_once(verdict, cluster, receiver):
    """All disks are put back to copies of one full stop: nobody can know, and each node says how old its disk is."""
    nodes = list(cluster.nodes.values())
    due = time.time() + 120
    now, later = accept(cluster, receiver, due)
    cluster.until(lambda: arrived(receiver, now), 60, "those to be sent at once arrive")
    time.sleep(2)
    copies = {node.number: cluster.folder / f"old{node.number}" for node in nodes}
    for node in nodes:
        node.stop()
    for node in nodes:
        shutil.copytree(node.data, copies[node.number])
        node.start()
    cluster.until(cluster.whole, 90, "whole after the copies were taken")
    after = sum(accept(cluster, receiver, due + 600, many=FEW, name="after"), [])
    told = {node.number: len(node.log()) for node in nodes}
    all_put_back(cluster, copies)
    cluster.until(cluster.whole, 90, "whole again")
    ages = [[line for line in node.log()[told[node.number]:].splitlines() if "the time of the newest command on this disk" in line] for node in nodes]
    verdict.must(all(ages), f"each node says how old its disk is: {ages[0][-1][:200] if ages[0] else 'nothing'}")
    counted(verdict, cluster, receiver, now + later, after, "were accepted after the copies")
    in_time(verdict, receiver, due, later)


CASES = {
    "two-wiped": two_wiped,
    "all-rolled-back": all_rolled_back,
    "all-rolled-back-at-once": all_rolled_back_at_once,
}
