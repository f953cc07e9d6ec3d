"""Each way in which upstream's CAS may fail: never a wrong byte, recovery without help, and it is counted."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import (
    Cut,
    FlipByte,
    HubDouble,
    LfsFile,
    LieAboutTerms,
    Match,
    Status,
    Throttle,
    Truncate,
    WrongLength,
)
from support.gateway import Gateway
from support.raw import ask
from support.xet_talk import XetTalk

pytestmark = pytest.mark.long

MIB = 1 << 20
NAME = "model.safetensors"
BASE = random.Random(1).randbytes(6 * MIB + 5)
TUNED = BASE[: 2 * MIB] + random.Random(2).randbytes(300_000) + BASE[2 * MIB + 300_000 :]
XORBS = Match(origin="cdn", path="/xorbs/*")
CAS = Match(origin="cas")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    for name, content in (("base", BASE), ("tuned", TUNED)):
        double.add_repo(f"acme/{name}", xet=True).commit({NAME: LfsFile(content)})
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble) -> Gateway:
    env = {"MOONGATE_XET": "true"}
    return Gateway(tmp_path / "home", hub.url, cdn=f"{hub.cdn_netloc},{hub.cas_netloc}", env=env)


def counted(running: Gateway, name: str) -> bool:
    return any(
        line.startswith(name) and float(line.split()[-1]) > 0
        for line in ask(running.url, "/metrics").body.decode().splitlines()
    )


def read_at_most(running: Gateway, repo: str) -> bytes | None:
    """What a Xet client gets; None when it fails."""
    try:
        return XetTalk(running.url, repo).read(NAME)
    except (OSError, http.client.HTTPException, AssertionError, KeyError):
        return None


def patient_read(running: Gateway, repo: str) -> bytes:
    """What a client gets that tries again, by Xet while the file is offered so, and else plainly."""
    for _ in range(200):
        talk = XetTalk(running.url, repo)
        if "x-xet-hash" not in talk.head(NAME).headers:
            return ask(running.url, f"/{repo}/resolve/main/{NAME}").body
        if (got := read_at_most(running, repo)) is not None:
            return got
    raise AssertionError("it did not recover")


@pytest.mark.parametrize(
    ("fault", "counter"),
    [
        (FlipByte(5000, match=XORBS), "moongate_xet_fills_failed_total{"),
        (LieAboutTerms("order", match=CAS), "moongate_xet_fills_failed_total{"),
        (LieAboutTerms("length", match=CAS), "moongate_xet_withdrawn_total{"),
        (Truncate(100_000, match=XORBS), "moongate_upstream_errors_total{"),
        (WrongLength(7, match=XORBS), "moongate_upstream_errors_total{"),
        (Status(403, match=XORBS), "moongate_upstream_errors_total{"),
        (Cut(100_000, match=XORBS), "moongate_upstream_errors_total{"),
        (Status(503, match=CAS), "moongate_xet_made_total{"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_1_a_fault_completes_no_wrong_file_and_leaves_no_trace(
    tmp_path: Path, hub: HubDouble, fault: object, counter: str
) -> None:
    with gateway(tmp_path, hub) as running:
        assert XetTalk(running.url, "acme/base").read(NAME) == BASE
        with hub.failing(fault):  # type: ignore[arg-type]
            assert read_at_most(running, "acme/tuned") in (None, TUNED)
            assert ask(running.url, f"/acme/tuned/resolve/main/{NAME}").body == TUNED
            assert counted(running, counter)
        assert patient_read(running, "acme/tuned") == TUNED
        assert patient_read(running, "acme/base") == BASE


def test_2_kill_9_in_mid_fill_loses_nothing_that_came(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        with hub.failing(Throttle(2 * MIB, match=XORBS)):
            assert talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}").status == 200
            hub.meters.wait_for(lambda meters: meters.bytes_sent(origin="cdn") > 2 * MIB)
            running.kill()
        running.start()
        assert XetTalk(running.url, "acme/base").read(NAME) == BASE
        assert hub.meters.bytes_sent(origin="cdn") < 1.5 * len(BASE)
        assert ask(running.url, f"/acme/base/resolve/main/{NAME}").body == BASE
