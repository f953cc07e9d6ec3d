from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from bench import family
from bench.family import CHANGED_SHARE, STRETCH_EVERY_BYTES, make_base, make_fine_tune, make_quantised
from bench.plan import MIB


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "STRETCH_EVERY_BYTES", STRETCH_EVERY_BYTES // 32)


def test_a_file_is_named_by_what_it_holds_and_the_same_in_every_run(tmp_path: Path) -> None:
    made = make_base(tmp_path, 5 * MIB, seed=3)
    data = made.at.read_bytes()
    assert made.sha256 == hashlib.sha256(data).hexdigest() == made.at.name
    assert made.size_bytes == len(data) == 5 * MIB
    assert make_base(tmp_path, 5 * MIB, seed=3).sha256 == made.sha256
    assert make_base(tmp_path, 5 * MIB, seed=4).sha256 != made.sha256


def test_a_fine_tune_changes_a_stretch_in_each_part_and_nothing_else(tmp_path: Path) -> None:
    base = make_base(tmp_path, 3 * MIB, seed=1)
    first, changed_bytes = make_fine_tune(tmp_path, base, 0)
    old, new = np.fromfile(base.at, np.uint8), np.fromfile(first.at, np.uint8)
    assert old.size == new.size
    assert changed_bytes == pytest.approx(CHANGED_SHARE * base.size_bytes, rel=0.001)
    different = np.flatnonzero(old != new)
    # One byte in 256 of the noise that was put there is what it was.
    assert 0.98 * changed_bytes < different.size <= changed_bytes
    assert np.count_nonzero(np.diff(different) > 64) == 2
    assert {int(part) for part in different // MIB} == {0, 1, 2}
    assert make_fine_tune(tmp_path, base, 1)[0].sha256 != first.sha256


def test_a_quantised_file_begins_as_the_base_does(tmp_path: Path) -> None:
    base = make_base(tmp_path, 4 * MIB, seed=1)
    made = make_quantised(tmp_path, base)
    kept = MIB // 10
    assert made.size_bytes == MIB
    header = 256  # tells of another length
    assert made.at.read_bytes()[header:kept] == base.at.read_bytes()[header:kept]
    assert made.at.read_bytes()[kept : kept + 64] not in base.at.read_bytes()
