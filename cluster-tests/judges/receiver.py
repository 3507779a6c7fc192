"""The recipients: an HTTP server that keeps when each call came and answers as the path says."""
import dataclasses
import http.server
import json
import threading
import time


@dataclasses.dataclass(frozen=True)
class Arrival:
    """One call as it came in."""

    at: float
    delivery: str
    path: str
    n: str


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802, the name is the standard library's
        """Keeps the call and answers: `/ok/…` 200, `/broken/…` 500, `/silent/…` nothing for 30 s."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            n = str(json.loads(body).get("n"))
        except ValueError:
            n = ""
        self.server.keep(Arrival(time.time(), self.headers.get("webhook-id", ""), self.path, n))
        mood = self.path.split("/")[1]
        if mood == "silent":
            time.sleep(30)
        status = 500 if mood == "broken" else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        """Says nothing: what came in is kept."""


class Receiver(http.server.ThreadingHTTPServer):
    """Listens on an address of the cluster's network until it is closed."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, cluster, number=100):
        super().__init__((f"{cluster.network}.{number}", 0), _Handler)
        self._arrivals, self._lock = [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        """The address of a recipient."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}/{path}"

    def keep(self, arrival):
        """Notes a call."""
        with self._lock:
            self._arrivals.append(arrival)

    def arrivals(self):
        """All calls so far, in order."""
        with self._lock:
            return list(self._arrivals)

    def handle_error(self, *_what):
        """A caller that went away is no news: the nodes are killed and frozen on purpose."""
