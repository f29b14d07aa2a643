"""All three signals in a backend that nobody here wrote: otelite, which stores OTLP and answers questions by REST. A control plane and a
node run as they do anywhere, events are sent with the command line, and what the backend has must agree with what was sent. Needs
Python's own library alone, and ends by itself.

    otelite.py OTELITE_BINARY FOLDER_WITH_SLUICES_BINARIES

It takes no compression and no exponential histograms: both are off here.
"""

import collections
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from processes import PATIENCE_SECONDS, ROOT, SYNC, eventually, free_ports, start, stopping

RUN_SECONDS = 300
EVENTS = 50


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes webhooks; the first of those to /flaky it refuses once."""

    protocol_version = "HTTP/1.1"
    paths, refused = [], []

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Endpoint.paths.append(self.path)
        refuse = self.path.startswith("/flaky") and not Endpoint.refused
        if refuse:
            Endpoint.refused.append(self.headers["webhook-id"])
        self.send_response(503 if refuse else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Backend:
    """Otelite, and questions to it."""

    def __init__(self, binary, folder):
        self.rest, self.grpc, http_port = free_ports(3)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "OTELITE_DATA_DIR": f"{folder}/otelite",
            "OTELITE_OTLP_GRPC_PORT": str(self.grpc),
            "OTELITE_OTLP_HTTP_PORT": str(http_port),
        }
        command = [binary, "serve", "--addr", f"127.0.0.1:{self.rest}", "--storage-path", f"{folder}/otelite"]
        self.log = open(f"{folder}/otelite.log", "w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def get(self, path, **query):
        # It answers from a cache; the end of the time asked for makes each question another one.
        if query.pop("fresh", False):
            query["end_time"] = time.time_ns() + 3_600_000_000_000
        url = f"http://127.0.0.1:{self.rest}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def is_up(self):
        try:
            return self.get("/api/health")
        except OSError:
            return None

    def newest(self, name):
        """The newest value by service and attributes: counters are cumulative."""
        points = {}
        for point in self.get("/api/metrics", name=name, limit=1000, fresh=True):
            service = (point["resource"] or {"attributes": {}})["attributes"].get("service.name")
            key = (service, tuple(sorted(point["attributes"].items())))
            if key not in points or points[key]["timestamp"] < point["timestamp"]:
                points[key] = point
        return points

    def sum(self, name, **attributes):
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}.items()
        values = (point["value"] for (_, known), point in self.newest(name).items() if wanted <= dict(known).items())
        return sum(value["count"] if isinstance(value, dict) else value for value in values)

    def traces(self):
        """All spans by trace."""
        listed = self.get("/api/traces", limit=1000, fresh=True)["traces"]
        return {trace["trace_id"]: self.get(f"/api/traces/{trace['trace_id']}")["spans"] for trace in listed}


def one_trace(spans):
    """Checks the shape of one event's trace; gives its requests by sync."""
    by_id = {span["span_id"]: span for span in spans}
    roots = [span for span in spans if not span["parent_span_id"]]
    assert [root["name"] for root in roots] == ["accept"], spans
    requests = collections.Counter()
    for span in spans:
        assert span["trace_id"] == roots[0]["trace_id"], span
        parent = by_id.get(span["parent_span_id"])
        above = {"accept": None, "deliver": "accept", "render": "deliver", "POST": "deliver"}[span["name"]]
        assert (parent["name"] if parent else None) == above, (span, parent)
        if span["name"] == "POST":
            assert "hush" not in json.dumps(span), "a query's value is told"
            requests[span["attributes"]["sluice.sync"]] += 1
    # A trace that begins with the event has the event's id.
    assert roots[0]["attributes"]["sluice.event.id"] == roots[0]["trace_id"], roots[0]
    return requests


def check(backend, refused_call):
    prefix = "projects/default/syncs"
    eventually("all deliveries are told", lambda: backend.sum("sluice.deliveries.ended", sluice__outcome="delivered") == 2 * EVENTS)
    eventually("all attempts are told", lambda: backend.sum("sluice.attempts") == len(Endpoint.paths))
    sums = {
        ("sluice.events", (("sluice__outcome", "matched"),)): EVENTS,
        ("sluice.events", (("sluice__outcome", "rejected"),)): 0,
        ("sluice.deliveries.created", (("sluice__sync", f"{prefix}/flaky"),)): EVENTS,
        ("sluice.deliveries.ended", (("sluice__sync", f"{prefix}/well"),)): EVENTS,
        ("sluice.deliveries.pending", ()): 0,
        ("sluice.attempts", (("error__type", "503"),)): 1,
        ("sluice.attempts", (("sluice__sync", f"{prefix}/flaky"),)): EVENTS + 1,
        ("sluice.attempt.duration", ()): 2 * EVENTS + 1,
        ("sluice.delivery.latency", ()): 2 * EVENTS,
        ("sluice.nodes", (("sluice__state", "connected"),)): 1,
    }
    for (name, attributes), expected in sums.items():
        eventually(f"{name} {attributes} is {expected}", lambda: backend.sum(name, **dict(attributes)) == expected)
    listed = set(re.findall(r"^\| `((?:sluice|rpc)\.[a-z_.]+)` \| .* \| `(?:sluice|rpc)_", (ROOT / "docs/telemetry.md").read_text(), re.M))
    names = backend.get("/api/metrics/names")
    found = {name if isinstance(name, str) else name["name"] for name in (names["names"] if isinstance(names, dict) else names)}
    assert len(listed) > 30 and found <= listed, found - listed
    # What counts failures is told once there are some.
    assert listed - found <= {"sluice.render.failures"}, listed - found

    def all_traces():
        traces = {id: spans for id, spans in backend.traces().items() if any(span["name"] == "accept" for span in spans)}
        return traces if sum(span["name"] == "POST" for spans in traces.values() for span in spans) == 2 * EVENTS + 1 else None

    traces = eventually("the spans of all events", all_traces)
    assert len(traces) == EVENTS, len(traces)
    counts = collections.Counter(tuple(sorted(one_trace(spans).items())) for spans in traces.values())
    once, again = ((f"{prefix}/flaky", 1), (f"{prefix}/well", 1)), ((f"{prefix}/flaky", 2), (f"{prefix}/well", 1))
    assert counts == {once: EVENTS - 1, again: 1}, counts

    def told():
        logs = backend.get("/api/logs", limit=1000, fresh=True)["logs"]
        refused = [log for log in logs if log["body"] == "call refused" and log["trace_id"]]
        return (logs, refused) if refused else None

    refused_call()
    logs, refused = eventually("the log of a refused call, with its trace", told)
    assert any(log["body"] == "the node runs" for log in logs), [log["body"] for log in logs]
    spans = eventually("that trace", lambda: trace_of(backend, refused[0]["trace_id"]))
    assert refused[0]["span_id"] in [span["span_id"] for span in spans], (refused[0], spans)
    assert not any("hush" in json.dumps(log) for log in logs), "a secret is logged"
    print(f"{EVENTS} events: {len(traces)} traces, {len(refused)} logs with a trace, {len(sums)} sums and {len(found)} of {len(listed)} metrics")


def trace_of(backend, id):
    try:
        return backend.get(f"/api/traces/{id}")["spans"]
    except urllib.error.HTTPError:
        return None


def exercise(backend, programs, folder, port, processes):
    log = open(f"{folder}/sluice.log", "w")
    telemetry = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.grpc}",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    allowed = ["--insecure-plaintext", "--allow-http", "--allow-private-destinations", "--listen", "127.0.0.1:0"]
    allowed += ["--allow-port", str(port)]
    command = [f"{programs}/sluice-control-plane", *allowed, "--data-dir", f"{folder}/control-plane", "--log", "sluice_access=debug,info"]
    process, control_plane = start(command, telemetry, log)
    processes.append(process)
    variables = {
        "PATH": os.environ["PATH"],
        "SLUICE_CONTROL_PLANE": f"http://{control_plane}",
        "SLUICE_API_KEY_FILE": f"{folder}/control-plane/admin.key",
    }

    def sluice(*arguments, status=0, **more):
        command = [f"{programs}/sluice", *arguments]
        done = subprocess.run(command, env={**variables, **more}, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    for role in ("node", "ingest"):
        sluice("keys", "create", "--role", role, "--out", f"{folder}/{role}.key")
    command = [f"{programs}/sluice-node", *allowed, "--data-dir", f"{folder}/node", "--control-plane", f"http://{control_plane}"]
    process, node = start([*command, "--api-key-file", f"{folder}/node.key"], telemetry, log)
    processes.append(process)

    for name in ("well", "flaky"):
        path = pathlib.Path(folder, f"{name}.yaml")
        path.write_text(SYNC.format(name=name, port=port))
        sluice("sync", "apply", "-f", str(path))
    events = pathlib.Path(folder, "events.ndjson")
    events.write_text("".join(json.dumps({"event_type": "order", "user_id": f"u{number}"}) + "\n" for number in range(EVENTS)))

    # The node hears of the key within moments.
    def sent():
        done = subprocess.run(
            [f"{programs}/sluice", "events", "send", str(events)],
            env={**variables, "SLUICE_NODE": f"http://{node}", "SLUICE_API_KEY_FILE": f"{folder}/ingest.key"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        return done.returncode == 0 or (done.returncode == 7 and None)

    eventually("the events are taken", sent)
    nobody = pathlib.Path(folder, "nobody.key")
    nobody.write_text(pathlib.Path(folder, "ingest.key").read_text())
    check(backend, lambda: sluice("sync", "list", status=7, SLUICE_API_KEY_FILE=str(nobody)))


def main():
    signal.alarm(RUN_SECONDS)
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        backend = Backend(sys.argv[1], folder)
        processes = [backend.process]
        with stopping(processes, f"{folder}/sluice.log", f"{folder}/otelite.log"):
            eventually("otelite answers", backend.is_up)
            exercise(backend, sys.argv[2], folder, endpoint.server_port, processes)


if __name__ == "__main__":
    main()
