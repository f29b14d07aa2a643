"""What the tests with real processes share."""

import os
import pathlib
import socket
import subprocess
import time

PATIENCE_SECONDS = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]

SYNC = """
name: {name}
enabled: true
destination:
  url: http://127.0.0.1:{port}/{name}?key=hush
events:
  template:
    source: |
      {{"user": "${{input.user_id}}"}}
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def eventually(what, ask):
    until, answer = time.monotonic() + PATIENCE_SECONDS, None
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


def start(command, environment, log):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **environment})
    return process, process.stdout.readline().strip().removeprefix("listening on ")
