#!/usr/bin/env python3
"""Writes a corpus to begin with: the templates of the case files and of the attacks, with their data."""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
CORPUS = HERE / "corpus" / "render"


def main():
    CORPUS.mkdir(parents=True, exist_ok=True)
    for file in TESTS.glob("cases/*/*.txt"):
        parts = dict(part.partition("\n")[::2] for part in ("\n" + file.read_text()).split("\n-- ")[1:])
        text = parts["template"] + ("\0" + parts["model"] if "model" in parts else "")
        (CORPUS / f"{file.parent.name}_{file.stem}").write_text(text)
    for file in TESTS.glob("attacks/*/*.ftl"):
        (CORPUS / f"attack_{file.stem}").write_text(file.read_text())
    print(f"{len(list(CORPUS.iterdir()))} inputs in {CORPUS}")


if __name__ == "__main__":
    main()
