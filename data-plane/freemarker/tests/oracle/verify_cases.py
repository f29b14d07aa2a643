#!/usr/bin/env python3
"""Checks what the case files expect against Apache FreeMarker.

Outputs must be the same. Errors must be of the same kind at the same place, and blame the same expression where both
say which. A case that differs on purpose has a section `-- deviates` with the reason, which COMPATIBILITY.md has too;
such a case must indeed differ.
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent / "cases"


def sections(text):
    """The parts of a case file by name; those that may come more than once as (name, argument)."""
    parts = {}
    for part in ("\n" + text).split("\n-- ")[1:]:
        head, _, body = part.partition("\n")
        parts[head] = body
    last = list(parts)[-1]
    parts[last] = parts[last].removesuffix("\n")
    return parts


def request(identity, parts):
    settings = dict(line.split(" = ", 1) for line in parts.get("settings", "").splitlines())
    templates = {head.split(" ", 1)[1]: body for head, body in parts.items() if head.startswith("template ")}
    model = parts.get("model", "{}").strip() or "{}"
    fields = {"id": identity, "template": parts["template"], "settings": settings, "templates": templates}
    # the model stays as it is written: a detour through floating point would change its numbers
    return json.dumps(fields)[:-1] + ', "model": ' + model.replace("\n", " ") + "}"


def blamed(message):
    found = re.search(r"^==> (.*?)(?:  \[in .*)?$", message, re.MULTILINE)
    return found and found.group(1)


def difference(parts, answer):
    """What FreeMarker does otherwise, in words; nothing if it does the same."""
    if "output" in parts:
        got = answer.get("output")
        if got == parts["output"]:
            return None
        return f"expected {parts['output']!r}\n    FreeMarker: {got!r} {answer.get('error', '')}"
    place, _, message = parts["error"].partition("\n")
    got = f"{answer.get('kind')} {answer.get('line', 0)}:{answer.get('column', 0)}"
    if place != got:
        return f"expected {place}\n    FreeMarker: {got} {answer.get('error', answer.get('output'))!r}"
    ours, theirs = blamed(message), blamed(answer["error"])
    if ours and theirs and ours != theirs:
        return f"expected {ours!r} to be blamed\n    FreeMarker: {theirs!r}"
    return None


def main():
    files = sorted(CASES.rglob("*.txt"))
    cases = [(str(file.relative_to(CASES)), sections(file.read_bytes().decode())) for file in files]
    requests = "".join(request(name, parts) + "\n" for name, parts in cases)
    run = subprocess.run([HERE / "run.sh"], input=requests.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.decode().splitlines()]
    if len(answers) != len(cases):
        sys.exit(f"{len(cases)} cases, but {len(answers)} answers")
    failures = deviations = 0
    for (name, parts), answer in zip(cases, answers):
        found = difference(parts, answer)
        if "deviates" in parts:
            deviations += 1
            if found is None:
                failures += 1
                print(f"{name}: says that it deviates, but does not")
        elif found is not None:
            failures += 1
            print(f"{name}: {found}")
    print(f"{len(cases)} cases, {deviations} of them deviate on purpose, {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
