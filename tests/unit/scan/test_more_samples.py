"""Ways to harm that no list names are found as well, and what only looks like them is left alone."""

from __future__ import annotations

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.scan_samples import more


@pytest.mark.parametrize("name", more.EVIL_ONES)
def test_evil_ones_are_dangerous(name: str) -> None:
    report = judge(Held(more.EVIL_ONES[name]), "file")
    assert report.verdict == "dangerous", report.findings


@pytest.mark.parametrize("name", more.ODD_ONES)
def test_odd_ones_are_not_clean(name: str) -> None:
    assert judge(Held(more.ODD_ONES[name]), "file").verdict in {"suspicious", "unscanned", "dangerous"}


@pytest.mark.parametrize("name", more.ORDINARY)
def test_ordinary_ones_are_clean(name: str) -> None:
    path, data = more.ORDINARY[name]
    report = judge(Held(data), path)
    assert report.verdict == "clean", report.findings
