"""What the tests with real processes share."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
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


@contextlib.contextmanager
def stopping(processes, *logs):
    """Ends the processes, which may become more meanwhile, the last one first; shows the ends of the logs if something went wrong."""
    try:
        yield
    except BaseException:
        for path in map(pathlib.Path, logs):
            print(f"--- {path.name}", *(path.read_text().splitlines()[-30:] if path.exists() else []), sep="\n", file=sys.stderr)
        raise
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
