"""Scans the development corpus, as far as it can be had here, and prints the table by format.

    .venv/bin/python scripts/scan_corpus.py CORPUS.csv --clones FOLDER [--misses]

The list names public samples by repository, commit and path, and generated ones by recipe. Public ones are
read from git clones in FOLDER (`owner/name`, `owner+name` or `owner+name/repo`, bare or not) and count only
if their sha256 is the list's. The generated ones are written anew: from the recipe where it spells a pickle,
otherwise by `tests/support/scan_samples`, after what the list says of them; those that come out with the
list's sha256 are counted as exact. Nothing is loaded, and nothing is kept: a sample lives in memory while it
is judged, in the scanner's jail.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from moongate.core.verdicts import Report
from moongate.scan.rules import ENGINE, RULES
from moongate.scan.voices.choir import Asked, Choir

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import scan_samples

_RECIPE = re.compile(r"pickle p(\d): (?:STACK_)?GLOBAL (\S+) (\S+); args (.*); REDUCE; STOP\Z", re.DOTALL)
_OBJECT = re.compile(r"<__main__\.\w+ object at 0x[0-9a-f]+>")
_STAND_IN = "a function as argument"
_GROUPS = (scan_samples.MALICIOUS, scan_samples.SUSPECTS, scan_samples.BENIGN)


def pickled(value: object) -> bytes:
    """An argument, as operations."""
    match value:
        case None:
            return b"N"
        case str() if value == _STAND_IN:
            return b"cos\ngetenv\n"
        case str():
            raw = value.encode()
            return b"\x8c" + bytes((len(raw),)) + raw
        case bytes():
            return b"C" + bytes((len(value),)) + value
        case int():
            return b"K" + bytes((value,)) if value < 256 else b"M" + value.to_bytes(2, "little")
        case list():
            return b"](" + b"".join(map(pickled, value)) + b"e"
        case dict():
            return b"}"
        case tuple():
            ends = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
            return b"".join(map(pickled, value)) + ends[len(value)]
        case _:
            raise ValueError(value)


def written(recipe: str) -> bytes | None:
    """The pickle that a recipe spells; None if it spells none."""
    found = _RECIPE.match(recipe)
    if found is None:
        return None
    protocol, module, name, words = found.groups()
    arguments = pickled(ast.literal_eval(_OBJECT.sub(repr(_STAND_IN), words)))
    if protocol == "2":
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."
    return b"\x80\x04" + pickled(module) + pickled(name) + b"\x93" + arguments + b"R."


def cloned(clones: Path, row: dict[str, str]) -> bytes | None:
    """A public sample out of a clone; None if it is not there or is another."""
    flat = row["repo"].replace("/", "+")
    names = (row["repo"], f"{flat}/repo", flat)
    folder = next((clones / name for name in names if (clones / name).is_dir()), None)
    if folder is None:
        return None
    command = ["git", "-C", str(folder), "show", f"{row['commit']}:{row['path']}"]
    data = subprocess.run(command, check=False, capture_output=True).stdout
    return data if hashlib.sha256(data).hexdigest() == row["sha256"] else None


def generated(row: dict[str, str]) -> bytes | None:
    """A sample that was made for the list, made anew."""
    folder, _, name = row["path"].partition("/")
    test = name.split(".", 2)[-1].removesuffix(".pkl")
    if folder == "test":
        return scan_samples.FROM_TESTS.get(test)
    spelt = written(row["recipe"])
    return spelt or next((group[name] for group in _GROUPS if name in group), None)


def samples(rows: list[dict[str, str]], clones: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    for row in rows:
        data = cloned(clones, row) if row["kind"] == "repo-file" else generated(row)
        if data is not None:
            yield row, data


def judged(jail: Choir, name: str, data: bytes) -> Report:
    descriptor = os.memfd_create("sample")
    try:
        with open(descriptor, "wb", closefd=False) as sample:
            sample.write(data)
        return jail.judge(descriptor, name)
    finally:
        os.close(descriptor)


def main() -> None:
    words = argparse.ArgumentParser(description="Scan the development corpus and print the table by format.")
    words.add_argument("corpus", type=Path)
    words.add_argument("--clones", type=Path, required=True)
    words.add_argument("--misses", action="store_true", help="name what was judged wrongly")
    words.add_argument("--voice", action="append", default=[], help="ask another scanner, too")
    given = words.parse_args()
    with given.corpus.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table: dict[str, Counter[str]] = defaultdict(Counter)
    had = Counter[str]()
    with Choir([Asked.parse(word) for word in given.voice]) as jail:
        for row, data in samples(rows, given.clones):
            report = judged(jail, row["materialise_as"].rsplit("/", 1)[-1], data)
            how = {"dangerous": "block", "clean": "clean"}.get(report.verdict, "review")
            had[row["kind"]] += 1
            had["exact"] += hashlib.sha256(data).hexdigest() == row["sha256"]
            for group in (row["format"], "all"):
                table[group][f"{row['label']} {how}"] += 1
            wrong = (row["label"], how) in {
                ("malicious", "review"),
                ("malicious", "clean"),
                ("benign", "block"),
            }
            if given.misses and (wrong or (row["label"], how) == ("benign", "review")):
                print(row["id"], row["label"], how, row["path"], [f.what for f in report.findings][:3])
    print(
        f"{ENGINE}, rules {RULES}; {sum(had.values()) - had['exact']} of {len(rows)} samples: {dict(had)}\n"
    )
    print("| format | malicious blocked | in review | missed | benign blocked | in review | clean |")
    print("|---|---|---|---|---|---|---|")
    for group in sorted(table, key=lambda group: (group == "all", group)):
        cells = [
            f"{label} {how}" for label in ("malicious", "benign") for how in ("block", "review", "clean")
        ]
        print(f"| {group} | " + " | ".join(str(table[group][cell]) for cell in cells) + " |")
    missed = table["all"]["malicious clean"] + table["all"]["malicious review"]
    sys.exit(1 if missed or table["all"]["benign block"] > 1 else 0)


if __name__ == "__main__":
    main()
