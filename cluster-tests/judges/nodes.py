"""Three real nodes, driven over their HTTP API. Shares no code with Tidings: the standard library of Python and nothing else."""
import concurrent.futures
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BINARY = os.environ.get("TIDINGS_BIN", "tidings")
# Known to everybody: these clusters live for a minute on loopback.
CLUSTER_SECRET = "a-secret-of-the-judges"
API_PORT, PEER_PORT = 7400, 7500
BEGAN = time.time()


def say(*words):
    """Prints a line with the seconds since the start."""
    print(f"[{time.time() - BEGAN:6.1f}]", *words, flush=True)


def instant(seconds):
    """Seconds since 1970 as RFC 3339."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Node:
    """One process with its own loopback address, folder and log."""

    def __init__(self, cluster, number):
        self.number = number
        self.host = f"{cluster.network}.{number}"
        self.folder = cluster.folder / f"node{number}"
        self.data = self.folder / "data"
        self.folder.mkdir()
        self.environment = {}
        self.process = None
        (self.folder / "node.toml").write_text(
            f"[node]\nid = {number}\ndata_dir = \"{self.data}\"\n"
            f"api_listen = \"{self.host}:{API_PORT}\"\npeer_listen = \"{self.host}:{PEER_PORT}\"\n"
            f"labels = {{ zone = \"zone-{number}\" }}\n"
            f"[cluster]\nsecret = \"{CLUSTER_SECRET}\"\npartitions = {cluster.partitions}\n"
        )

    def start(self):
        """Starts the process; its output goes to the log."""
        with open(self.folder / "log", "ab") as log:
            command = [BINARY, "node", "--config", str(self.folder / "node.toml")]
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.environment}
            )

    def alive(self):
        """Whether the process runs (a frozen one does)."""
        return self.process is not None and self.process.poll() is None

    def send_signal(self, which):
        """Sends a signal to the process."""
        self.process.send_signal(which)

    def stop(self, which=signal.SIGTERM):
        """Ends the process and waits until it is gone."""
        if self.alive():
            self.send_signal(signal.SIGCONT)
            self.send_signal(which)
            self.process.wait(timeout=60)

    def log(self):
        """Everything the process has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def ask(self, method, path, body=None, key=None, headers=None, timeout=15):
        """One request. Gives the status and the decoded body; raises OSError when there is no answer."""
        connection = http.client.HTTPConnection(self.host, API_PORT, timeout=timeout)
        try:
            heads = {"Content-Type": "application/json", **(headers or {})}
            if key:
                heads["Authorization"] = f"Bearer {key}"
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, heads)
                answer = connection.getresponse()
                text = answer.read()
            except http.client.HTTPException as broken:
                raise ConnectionError(str(broken)) from broken
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            return answer.status, text.decode(errors="replace")


class Cluster:
    """Some nodes that form one cluster, and the admin key of it."""

    def __init__(self, count=3, partitions=8):
        self.partitions = partitions
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tidings-judge-", dir=os.environ.get("RUN_DIR")))
        place = os.getpid()
        self.network = f"127.{100 + place // 250 % 100}.{place % 250 + 1}"
        self.key = None
        self.nodes = {number: Node(self, number) for number in range(1, count + 1)}

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        for node in self.nodes.values():
            if kind is not None and node.process is not None:
                say(f"the end of the log of node {node.number}:\n" + "\n".join(node.log().splitlines()[-12:]))
            node.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def found(self):
        """Starts all nodes, founds the cluster and waits until every partition has its replicas and its leader."""
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            self.until(lambda node=node: node.ask("GET", "/healthz")[0] == 200, 30, f"node {node.number} lives")
        first = self.nodes[1]
        status, made = first.ask("POST", "/v1/cluster/init", {"partitions": self.partitions, "replication": 3}, CLUSTER_SECRET)
        assert status == 201, (status, made)
        self.key = made["key"]
        for node in list(self.nodes.values())[1:]:
            member = {"id": node.number, "peer_addr": f"{node.host}:{PEER_PORT}", "api_addr": f"{node.host}:{API_PORT}"}
            self.call("POST", "/v1/cluster/nodes", {**member, "labels": {"zone": f"zone-{node.number}"}}, at=[1])
        self.until(self.whole, 90, "the cluster is whole")

    def until(self, holds, seconds, what):
        """Waits until `holds` gives something true; a missing answer counts as not yet."""
        end = time.time() + seconds
        while time.time() < end:
            try:
                held = holds()
                if held:
                    return held
            except (OSError, AssertionError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}")

    def call(self, method, path, body=None, at=None, seconds=30, headers=None):
        """Asks one node after the other until one gives an answer below 500."""
        end, last = time.time() + seconds, None
        while time.time() < end:
            for number in at or self.nodes:
                try:
                    status, answer = self.nodes[number].ask(method, path, body, self.key, headers)
                    if status < 500 and status != 429:
                        assert status < 400, (method, path, status, answer)
                        return answer
                    last = (status, answer)
                except OSError as error:
                    last = error
            time.sleep(0.1)
        raise AssertionError(f"nobody answers {method} {path}: {last}")

    def groups(self, at=None):
        """The groups as a node sees them."""
        return self.call("GET", "/v1/cluster", at=at)["groups"]

    def whole(self):
        """Whether every node is ready and every group has its replicas, its leader, and nobody far behind."""
        if any(node.ask("GET", "/readyz", timeout=5)[0] != 200 for node in self.nodes.values()):
            return False
        groups = self.groups()
        placed = all(group["leader"] and sorted(group["replicas"]) == sorted(group["wanted"]) for group in groups)
        near = all(behind <= 100 for group in groups for behind in (group.get("lag") or {}).values())
        full = all(len(group["replicas"]) >= min(3, len(self.nodes)) for group in groups)
        return len(groups) == self.partitions + 1 and placed and near and full

    def teach(self, name, settings=None, **template):
        """Puts a webhook account and a template that uses it, both called `name`, and waits until all nodes know them."""
        account = {"secret": "whsec_dGhlIGp1ZGdlcycgd2ViaG9vayBzZWNyZXQ=", "allow_private": True, "timeout_ms": 2000}
        self.call("PUT", f"/v1/accounts/{name}", {"provider": "webhook", "settings": account, **(settings or {})})
        retry = {"max_attempts": 30, "first_ms": 200, "longest_ms": 2000, "give_up_after_ms": 600000}
        whole = {"channel": "webhook", "account": name, "content": {"n": "{{ n }}"}, "retry": retry, **template}
        self.call("PUT", f"/v1/templates/{name}", whole)
        for node in self.nodes.values():
            self.until(lambda node=node: node.ask("GET", f"/v1/templates/{name}", key=self.key)[0] == 200, 20, "it is known")

    def send(self, template, recipients, at=None, key=None, **more):
        """Sends to `{address: n}` and gives the message's id and the deliveries' ids in the same order."""
        to = [{"to": address, "variables": {"n": str(n)}} for address, n in recipients.items()]
        heads = {"Idempotency-Key": key} if key else None
        answer = self.call("POST", "/v1/messages", {"template": template, "to": to, **more}, at=at, headers=heads)
        assert not answer.get("rejected"), answer
        return answer["message_id"], [delivery["id"] for delivery in answer["deliveries"]]

    def state(self, delivery):
        """The state of a delivery; `None` if no node knows it."""
        for _ in range(100):
            for node in self.nodes.values():
                try:
                    status, answer = node.ask("GET", f"/v1/deliveries/{delivery}", key=self.key)
                except OSError:
                    continue
                if status == 200:
                    return answer["state"]
                if status == 404:
                    return None
            time.sleep(0.1)
        raise AssertionError(f"nobody answers for {delivery}")

    def states(self, deliveries):
        """The states of many deliveries, in their order."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(self.state, deliveries))

    def drained(self, seconds=90):
        """Waits until nothing is pending and gives the counts."""
        def settled():
            counts = self.call("GET", "/v1/stats")
            return counts if not counts.get("incomplete") and counts["pending"] == 0 else None
        return self.until(settled, seconds, "everything has ended")


class Verdict:
    """Collects what was found wrong, and ends the process with it."""

    def __init__(self):
        self.wrong = []

    def must(self, holds, what):
        """Notes and prints whether something holds."""
        say("ok   " if holds else "WRONG", what)
        if not holds:
            self.wrong.append(what)

    def end(self):
        """The last line and the exit code: 0 if all held."""
        print(f"judged: {'; '.join(self.wrong) if self.wrong else 'all held'}", flush=True)
        sys.exit(1 if self.wrong else 0)
