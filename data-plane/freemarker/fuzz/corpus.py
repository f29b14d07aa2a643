#!/usr/bin/env python3
"""Writes corpora to begin with: the templates of the case files and of the attacks, with their data; and the data alone."""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
RENDER = HERE / "corpus" / "render"
JSON = HERE / "corpus" / "json"


def main():
    for corpus in RENDER, JSON:
        corpus.mkdir(parents=True, exist_ok=True)
    for file in TESTS.glob("cases/*/*.txt"):
        parts = dict(part.partition("\n")[::2] for part in ("\n" + file.read_text()).split("\n-- ")[1:])
        name = f"{file.parent.name}_{file.stem}"
        (RENDER / name).write_text(parts["template"] + ("\0" + parts["model"] if "model" in parts else ""))
        if "model" in parts:
            (JSON / name).write_text(parts["model"])
    for file in TESTS.glob("attacks/*/*.ftl"):
        (RENDER / f"attack_{file.stem}").write_text(file.read_text())
    (JSON / "event").write_text((HERE.parent / "benches/event.json").read_text())
    for corpus in RENDER, JSON:
        print(f"{len(list(corpus.iterdir()))} inputs in {corpus}")


if __name__ == "__main__":
    main()
