from __future__ import annotations

import json

import pytest
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.table import as_json, markdown, number, target_text

FAST = Row(
    "whole file: speed",
    "GB/s",
    Samples((1.0, 2.0, 3.0)),
    "nginx",
    Samples((2.0, 2.0, 2.0)),
    Target("at least", 0.9),
)
LATE = Row("p95", "ms", Samples((12.0,)), target=Target("at most", 10.0, "value"))


@pytest.mark.parametrize(
    ("target", "measured", "met"),
    [
        (Target("at least", 0.9), 0.9, True),
        (Target("at least", 0.9), 0.89, False),
        (Target("at most", 1.2), 1.2, True),
        (Target("at most", 1.2), 1.21, False),
        (Target("exactly", 1.0), 1.0, True),
        (Target("exactly", 1.0), 1.001, False),
    ],
)
def test_a_target_is_met_at_its_number(target: Target, measured: float, met: bool) -> None:
    assert target.met_by(measured) is met


def test_a_target_of_the_ratio_looks_at_the_median_ratio() -> None:
    assert FAST.ratio is not None
    assert FAST.ratio.values == (0.5, 1.0, 1.5)
    assert FAST.met is True


def test_a_target_of_the_value_needs_nobody_beside() -> None:
    assert LATE.ratio is None
    assert LATE.met is False


def test_without_a_target_there_is_no_verdict() -> None:
    assert Row("x", "s", Samples((1.0,))).met is None


def test_a_ratio_to_nothing_meets_no_target() -> None:
    row = Row("growth", "MB", Samples((1.0,)), "nginx", Samples((0.0,)), Target("at most", 2.0))
    assert row.ratio is None
    assert row.met is False


def test_markdown_shows_every_figure_target_and_verdict() -> None:
    page = markdown([Section("warm", "Warm reads", "How.", [FAST, LATE])], {"Kernel": "K"}, ["5 rounds"])
    assert "- Kernel: K\n- 5 rounds\n" in page
    assert "**1 of 2 targets met.** Missed: Warm reads: p95." in page
    assert (
        "| whole file: speed | 2 (1–3) GB/s | 2 GB/s (nginx) | 1× (0.500–1.50) | ≥ 0.900× | yes |\n" in page
    )
    assert "| p95 | 12 ms | – | – | ≤ 10 ms | **no** |\n" in page


def test_markdown_says_what_could_not_be_measured() -> None:
    page = markdown([Section("olah", "Beside Olah", "How.", troubles=["cold: 504 | a\nb"])], {}, [])
    assert "- Not measured: cold: 504 \\| a b\n" in page
    assert "| What |" not in page


def test_json_keeps_every_round() -> None:
    facts = json.loads(json.dumps(as_json([Section("warm", "Warm reads", "How.", [FAST])], {}, [])))
    (row,) = facts["sections"][0]["rows"]
    assert row["ours"] == [1.0, 2.0, 3.0]
    assert row["ratio"] == [0.5, 1.0, 1.5]
    assert (row["ratio_median"], row["met"]) == (1.0, True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3, "3"),
        (0.9, "0.900"),
        (1.234, "1.23"),
        (45.67, "45.7"),
        (12345.6, "12,346"),
        (0.0012, "0.0012"),
    ],
)
def test_numbers_show_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_target_text() -> None:
    assert target_text(Target("exactly", 1.0, "value"), "copies") == "= 1 copies"
