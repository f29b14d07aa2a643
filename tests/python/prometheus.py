"""A real Prometheus scrapes a control plane and a node that deliver: it finds every metric of docs/telemetry.md, evaluates the alert rules
of docs/prometheus without an error, raises those for what fails here and no others, and answers every query of docs/grafana.
Needs Python's own library alone, and ends by itself.

    prometheus.py PROMETHEUS_BINARY FOLDER_WITH_SLUICES_BINARIES
"""

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

from processes import ROOT, SYNC, eventually, free_ports, start, stopping

RUN_SECONDS = 300

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: sluice
    static_configs: [{{targets: {targets}}}]
"""


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes webhooks, but those to /bad."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(404 if self.path.startswith("/bad") else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Prometheus:
    """A Prometheus of our own, and questions to it."""

    def __init__(self, binary, folder, targets):
        (self.port,) = free_ports(1)
        config = pathlib.Path(folder, "prometheus.yaml")
        config.write_text(CONFIG.format(rules=ROOT / "docs/prometheus/alerts.yaml", targets=json.dumps(targets)))
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stderr=open(f"{folder}/prometheus.log", "w"))

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except OSError:
            return None

    def scrapes(self, count):
        targets = (self.get("targets") or {"activeTargets": []})["activeTargets"]
        return len(targets) == count and all(target["health"] == "up" for target in targets)

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


def queries(dashboard):
    """Every query of the dashboard, with Grafana's variables filled in as Grafana does."""
    panels = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", []))]
    for panel in panels:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "4s").replace("$sync", ".*")


def check(prometheus, send):
    eventually("both processes are scraped", lambda: prometheus.scrapes(2))
    page = (ROOT / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `(?:sluice|rpc)[a-z_.]+` \| .* \| `([a-z_]+)` \| (counter|gauge|histogram),", page, re.M)
    listed = {name + ("_count" if kind == "histogram" else "") for name, kind in rows}
    assert len(listed) > 30, listed

    def lacking():
        found = set(prometheus.get("label/__name__/values"))
        return None if listed - found else found

    found = eventually("every metric is scraped", lacking)
    known = {name for name, _ in rows} | {name + part for name, kind in rows if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
    unknown = {name for name in found if name.startswith(("sluice_", "rpc_"))} - known
    assert not unknown, unknown

    sums = {
        'sum(sluice_deliveries_ended_total{sluice_sync=~".*/well"})': "20",
        'sum(sluice_attempts_total{sluice_sync=~".*/bad",error_type="404"})': "20",
        'sum(sluice_deliveries_pending{sluice_sync=~".*/bad"})': "20",
        'sum(sluice_render_failures_total{sluice_sync=~".*/broken"})': "20",
    }
    for query, expected in sums.items():
        eventually(f"{query} is {expected}", lambda: [row["value"][1] for row in prometheus.get("query", query=query)["result"]] == [expected])

    evaluated = eventually("the rules are evaluated", lambda: (lambda rules: rules if rules and all(rule["health"] == "ok" for rule in rules) else None)(prometheus.rules()))
    assert not any(rule.get("lastError") for rule in evaluated), evaluated
    # The first values that Prometheus sees are no rate yet.
    send()
    # Each has its `for`: an alert that would fire later is pending now.
    raised = lambda: {rule["name"] for rule in prometheus.rules() if rule["state"] in ("pending", "firing")}
    expected = {"SluiceAttemptsFail", "SluiceDeliveriesLost", "SluiceTemplateFails"}
    eventually(f"{expected} are raised", lambda: expected <= raised())
    # Whatever else uses the disk is not ours, and a trend of seconds is none.
    allowed = expected | {"SluiceEndpointDown", "SluiceDiskFills"}
    assert raised() <= allowed, raised()

    answered = empty = 0
    dashboard = json.loads((ROOT / "docs/grafana/sluice.json").read_text())
    for query in queries(dashboard):
        result = prometheus.get("query", query=query)
        answered, empty = answered + 1, empty + (not result["result"])
    assert answered > 20 and empty <= 2, (answered, empty)
    print(f"{len(listed)} metrics scraped, {len(evaluated)} rules evaluated, {answered} queries of the dashboard answered ({empty} of them by nothing)")


def main():
    signal.alarm(RUN_SECONDS)
    binary, programs = sys.argv[1:]
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        log = open(f"{folder}/sluice.log", "w")
        with stopping(processes, f"{folder}/sluice.log", f"{folder}/prometheus.log"):
            ports = free_ports(2)
            allowed = ["--insecure-open", "--allow-http", "--allow-private-destinations", "--listen", "127.0.0.1:0", "--allow-port", str(endpoint.server_port)]
            command = [f"{programs}/sluice-control-plane", *allowed, "--data-dir", f"{folder}/control-plane"]
            process, control_plane = start([*command, "--metrics-listen", f"127.0.0.1:{ports[0]}"], {}, log)
            processes.append(process)
            command = [f"{programs}/sluice-node", *allowed, "--data-dir", f"{folder}/node", "--control-plane", f"http://{control_plane}"]
            process, node = start([*command, "--metrics-listen", f"127.0.0.1:{ports[1]}"], {}, log)
            processes.append(process)
            prometheus = Prometheus(binary, folder, [f"127.0.0.1:{port}" for port in ports])
            processes.append(prometheus.process)
            variables = {"PATH": os.environ["PATH"], "SLUICE_CONTROL_PLANE": f"http://{control_plane}", "SLUICE_NODE": f"http://{node}"}

            def sluice(*arguments):
                subprocess.run([f"{programs}/sluice", *arguments], env=variables, check=True, stdout=log, stderr=log, timeout=60)

            for name in ("well", "bad", "broken"):
                path = pathlib.Path(folder, f"{name}.yaml")
                text = SYNC.format(name=name, port=endpoint.server_port)
                path.write_text(text.replace("input.user_id", "input.no_such_thing") if name == "broken" else text)
                sluice("sync", "apply", "-f", str(path))
            # Before the events, so that their rise is seen.
            eventually("both processes are scraped", lambda: prometheus.scrapes(2))
            time.sleep(2)
            events = pathlib.Path(folder, "events.ndjson")
            events.write_text("".join(json.dumps({"event_type": "order", "user_id": f"u{number}"}) + "\n" for number in range(20)))

            def send():
                sluice("events", "send", str(events))

            send()
            check(prometheus, send)


if __name__ == "__main__":
    main()
