"""Writes the parquet files of a dataset into a folder: two splits, several row groups, two columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from plain import PLAN, tell

folder = Path(PLAN["folder"])
for name, first, count in (
    ("train-00000-of-00002", 0, 3000),
    ("train-00001-of-00002", 3000, 3000),
    ("test-00000-of-00001", 0, 50),
):
    rows = {"id": list(range(first, first + count)), "text": [f"{name} {n} ünï" * 5 for n in range(count)]}
    pq.write_table(pa.table(rows), folder / f"{name}.parquet", row_group_size=500)
tell(sorted(path.name for path in folder.glob("*.parquet")))
