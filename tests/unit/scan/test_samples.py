"""Every sample of the house: the evil are dangerous, the odd are not clean, the ordinary are clean."""

from __future__ import annotations

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support import scan_samples
from support.scan_samples import fickling_suite
from support.scan_samples.assembly import framed


def verdict(data: bytes, name: str) -> tuple[str, list[str]]:
    report = judge(Held(data), name.rsplit("/", 1)[-1])
    return report.verdict, [f"{finding.rule}: {finding.what}" for finding in report.findings]


@pytest.mark.parametrize("name", sorted(scan_samples.MALICIOUS))
def test_the_malicious_are_dangerous(name: str) -> None:
    told, why = verdict(scan_samples.MALICIOUS[name], name)
    assert told == "dangerous", why


@pytest.mark.parametrize("name", sorted(scan_samples.SUSPECTS))
def test_the_odd_are_not_clean(name: str) -> None:
    assert verdict(scan_samples.SUSPECTS[name], name)[0] != "clean"


@pytest.mark.parametrize("name", sorted(scan_samples.BENIGN))
def test_the_ordinary_are_clean(name: str) -> None:
    told, why = verdict(scan_samples.BENIGN[name], name)
    assert told == "clean", why


_CLEAN = ("test_safe_", "test_well_formed_", "test_benign_")
_HARMLESS = frozenset(
    ["test_impossible_cyclic_pickle#2", "test_check_safety_catches_resource_exhaustion#1"]
    # Their frames are put right where those tests are written down, and then hold a text or a number.
    + [f"test_frame_boundary_straddle_variants#{number}" for number in (1, 2, 3, 5, 6, 7)]
    + ["test_frame_boundary_divergence#1"]
)


@pytest.mark.parametrize("name", sorted(fickling_suite.SAMPLES))
def test_what_another_scanners_tests_expect(name: str) -> None:
    told, why = verdict(fickling_suite.SAMPLES[name], "x.pkl")
    if name in _HARMLESS:
        return
    assert told == ("clean" if name.startswith(_CLEAN) else "dangerous"), why


@pytest.mark.parametrize("place", range(len(fickling_suite.STRADDLING)))
def test_a_frame_that_lies_is_told(place: int) -> None:
    body, claimed = fickling_suite.STRADDLING[place]
    told = verdict(framed(body, claimed), "x.pkl")[0]
    assert told == ("dangerous" if claimed < len(body) else "failed")


def test_a_byte_string_that_leaves_its_frame_is_dangerous() -> None:
    assert verdict(fickling_suite.divergence(), "x.pkl")[0] == "dangerous"


def test_names_decide_nothing() -> None:
    for name, data in scan_samples.MALICIOUS.items():
        if len(data) < 1 << 20 and name != "elf_as.gguf":
            assert verdict(data, "notes.dat")[0] == "dangerous", name
