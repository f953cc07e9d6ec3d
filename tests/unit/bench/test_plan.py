from __future__ import annotations

import pytest
from bench.plan import MEASURES, MIB, parse


def test_a_full_run_has_five_rounds_of_everything() -> None:
    plan = parse([])
    assert (plan.rounds, plan.hot_bytes, plan.small_spans) == (5, 1024 * MIB, 1000)
    assert (plan.slow_readers, plan.crowd) == (200, 50)
    assert plan.only == MEASURES
    assert plan.request_logs


def test_quick_is_smaller_and_can_be_corrected() -> None:
    plan = parse(["--quick", "--rounds", "3", "--size-mib", "64"])
    assert (plan.rounds, plan.hot_bytes) == (3, 64 * MIB)
    assert plan.load_seconds < parse([]).load_seconds


def test_some_of_the_measurements_in_their_own_order() -> None:
    assert parse(["--only", "metadata, warm"]).only == ("warm", "metadata")
    assert parse(["--skip", "olah"]).only == tuple(name for name in MEASURES if name != "olah")
    assert not parse(["--only", "warm"]).wants("olah")


@pytest.mark.parametrize("arguments", [["--only", "worm"], ["--rounds", "0"], ["--size-mib", "-1"], ["what"]])
def test_nonsense_ends_with_a_word(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert "bench: error:" in capsys.readouterr().err


def test_clients_run_on_one_processor() -> None:
    assert len(parse([]).client_cpus) == 1
