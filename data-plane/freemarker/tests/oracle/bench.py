#!/usr/bin/env python3
"""Times the templates of `benches/` with this engine and with Apache FreeMarker on a warm JVM, one after the other on
the same machine, and prints how many times faster this engine is. `bench.py [RENDERINGS]`
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CRATE = HERE.parent.parent
ENGINE = CRATE.parent.parent / "target/release/examples/bench"
GOAL = 3.0


def main():
    renderings = sys.argv[1] if len(sys.argv) > 1 else "20000"
    build = ["cargo", "build", "--release", "--quiet", "-p", "sluice-freemarker", "--example", "bench"]
    subprocess.run(build, cwd=CRATE, check=True)
    event = (CRATE / "benches/event.json").read_text()
    requests = "".join(
        json.dumps({"id": file.stem, "template": file.read_text()})[:-1] + f', "model": {{"input": {event.strip()}}}}}\n'
        for file in sorted((CRATE / "benches/templates").glob("*.ftl"), key=lambda file: file.stat().st_size)
    )

    def run(*command):
        answers = subprocess.run(command, input=requests.encode(), stdout=subprocess.PIPE, check=True).stdout
        return {answer["id"]: answer for answer in map(json.loads, answers.splitlines())}

    ours = run(ENGINE, renderings)
    theirs = run(HERE / "run.sh", "--bench", renderings)
    print(subprocess.run([HERE / "run.sh", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    print(f"{'template':<12}{'':<26}{'sluice':>12}{'FreeMarker':>12}{'ratio':>8}")
    for name in ours:
        for field, what in [
            ("ns_per_op", "render"),
            ("ns_per_op_with_json_model_parse", "read the event, render"),
            ("template_parse_ns", "parse the template"),
        ]:
            a, b = ours[name][field], theirs[name][field]
            note = "" if b / a >= GOAL else f"  below the goal of {GOAL:g}"
            print(f"{name:<12}{what:<26}{a / 1000:>10.2f}us{b / 1000:>10.2f}us{b / a:>8.1f}{note}")


if __name__ == "__main__":
    main()
