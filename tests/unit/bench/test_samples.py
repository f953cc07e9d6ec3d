from __future__ import annotations

import pytest
from bench.samples import Samples, percentile


def test_median_and_range() -> None:
    samples = Samples((3.0, 1.0, 2.0, 10.0))
    assert (samples.median, samples.least, samples.greatest) == (2.5, 1.0, 10.0)


def test_ratios_are_of_the_same_round() -> None:
    # The median of the ratios, not the ratio of the medians: a slow round is slow for both.
    ours, theirs = Samples((1.0, 10.0, 3.0)), Samples((2.0, 20.0, 2.0))
    assert ours.over(theirs).values == (0.5, 0.5, 1.5)


def test_a_round_without_a_denominator_is_left_out() -> None:
    assert Samples((4.0, 5.0)).over(Samples((0.0, 10.0))).values == (0.5,)


def test_different_rounds_give_no_ratio() -> None:
    with pytest.raises(ValueError, match="same rounds"):
        Samples((1.0,)).over(Samples((1.0, 2.0)))


def test_no_value_is_no_figure() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Samples(())


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_by_nearest_rank(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_percentile_of_one_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_percentile_of_nothing(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)
