"""Datasets as people load them: parquet and JSON lines, whole and streamed, by split and by file."""

from __future__ import annotations

import itertools

import datasets
from plain import PLAN, outcome, tell

datasets.disable_progress_bars()
answers: dict[str, object] = {}
for name, asked in PLAN["load"].items():

    def load(asked: dict[str, object] = asked) -> object:
        found = datasets.load_dataset(**asked)
        return {
            split: {
                "rows": table.num_rows,
                "first": table[0],
                "last": table[-1],
                "columns": table.column_names,
            }
            for split, table in found.items()
        }

    answers[name] = outcome(load)
for name, asked in PLAN["stream"].items():

    def stream(asked: dict[str, object] = asked) -> object:
        asked = dict(asked)
        skip, take = asked.pop("skip", 0), asked.pop("take", None)
        found = datasets.load_dataset(**asked, streaming=True)
        rows = list(itertools.islice(found.skip(skip), take))
        return {"rows": len(rows), "first": rows[0], "last": rows[-1]}

    answers[name] = outcome(stream)
tell(answers)
