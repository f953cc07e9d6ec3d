"""Across an air gap: pulled and exported here, imported and served there, with no upstream at all."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.cli import exits, main
from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.raw import ask

Run = Callable[..., tuple[int, str, str]]

WEIGHTS = os.urandom(1 << 20) * 3
MORE = os.urandom(1 << 20)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    double.add_repo("acme/tiny").commit({"config.json": b"{}", "model.safetensors": LfsFile(WEIGHTS)})
    double.add_repo("acme/squad", "dataset").commit({"train.jsonl": b'{"a": 1}\n'})
    with double.running():
        yield double


@pytest.fixture
def run(
    double: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("MOONGATE_UPSTREAM", double.url)
    monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", double.cdn_netloc)
    monkeypatch.setenv("MOONGATE_MIN_FREE_BYTES", "0")
    monkeypatch.setenv("MOONGATE_REF_TTL_SECONDS", "0")
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return go


def _hf_download(url: str, cache: Path, *words: str, xet: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MOONGATE"))
    }
    environment |= {
        "HF_ENDPOINT": url,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("hf")), "download", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _read_by_file_system(url: str, cache: Path, path: str) -> bytes:
    """What HfFileSystem reads of a file, in two pieces."""
    program = (
        "import sys, huggingface_hub as h\n"
        f"file = h.HfFileSystem().open({path!r}, block_size=1 << 20)\n"
        "sys.stdout.buffer.write(file.read(3_000_001) + file.read())\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=60, check=True
    )
    return done.stdout


@pytest.mark.clients
def test_01_a_bundle_carries_repositories_to_where_there_is_no_upstream(
    run: Run, double: HubDouble, tmp_path: Path
) -> None:
    assert run("pull", "acme/tiny", "datasets/acme/squad", "--home", "near", "-q")[0] == 0
    code, out, err = run("export", "acme/*", "datasets/acme/squad", "-o", "b1", "--home", "near", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["blobs"] == 4  # both have the same .gitattributes
    assert made["missing"] == []
    double.stop()
    code, out, err = run("import", "b1", "--home", "far", "--json")
    assert code == 0, err
    assert sorted(json.loads(out)["repos"]) == ["acme/tiny", "datasets/acme/squad"]
    with Gateway(tmp_path / "far", double.url, arguments=["--offline"]) as gateway:
        done = _hf_download(gateway.url, tmp_path / "cache", "acme/tiny")
        assert done.returncode == 0, done.stderr + gateway.log_tail()
        (weights,) = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
        assert weights.read_bytes() == WEIGHTS
        done = _hf_download(gateway.url, tmp_path / "cache", "acme/squad", "--repo-type", "dataset")
        assert done.returncode == 0, done.stderr


def test_02_an_incremental_bundle_has_only_what_is_new(run: Run, double: HubDouble, tmp_path: Path) -> None:
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    assert run("export", "acme/tiny", "-o", "b1", "--home", "near", "-q")[0] == 0
    double.repo("acme/tiny").commit({"adapter.safetensors": LfsFile(MORE)})
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    code, out, err = run("export", "acme/tiny", "-o", "b2", "--since", "b1", "--home", "near", "--json")
    assert code == 0, err
    assert len(MORE) <= json.loads(out)["blob_bytes"] < len(WEIGHTS)
    code, _, err = run("import", "b2", "--home", "far")
    assert code == exits.FAILED  # the first bundle was never imported there
    assert "earlier bundle" in err
    assert run("import", "b1", "--home", "far", "-q")[0] == 0
    code, out, err = run("import", "b2", "--home", "far", "--json")
    assert code == 0, err
    card = json.loads(run("show", "acme/tiny", "--home", "far", "--json")[1])
    assert {file["path"]: file["kept"] for file in card["files"]}["adapter.safetensors"]
    assert all(file["kept"] for file in card["files"])


def test_03_importing_twice_adds_nothing(run: Run) -> None:
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    assert run("export", "acme/tiny", "-o", "b1", "--home", "near", "-q")[0] == 0
    assert run("import", "b1", "--home", "far", "-q")[0] == 0
    code, out, _ = run("import", "b1", "--home", "far", "--json")
    assert code == 0
    assert json.loads(out)["added"] == 0


@pytest.mark.parametrize("where", [0.0, 0.3, 0.9, 0.999])
def test_04_a_damaged_or_short_bundle_is_refused_plainly(run: Run, tmp_path: Path, where: float) -> None:
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    assert run("export", "acme/tiny", "-o", "b1", "--home", "near", "-q")[0] == 0
    whole = (tmp_path / "b1").read_bytes()
    (tmp_path / "short").write_bytes(whole[: int(len(whole) * where)])
    code, out, err = run("import", "short", "--home", "far")
    assert (code, out) == (exits.FAILED, "")
    assert err.startswith("error: ")
    assert "bug" not in err
    assert run("ls", "--home", "far")[1] == ""
    assert run("import", "b1", "--home", "far", "-q")[0] == 0


def test_05_a_flipped_byte_never_counts(run: Run, tmp_path: Path) -> None:
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    assert run("export", "acme/tiny", "-o", "b1", "--home", "near", "-q")[0] == 0
    bad = bytearray((tmp_path / "b1").read_bytes())
    position = bad.find(WEIGHTS[1000:1100])
    assert position > 0
    bad[position] ^= 1
    (tmp_path / "b1").write_bytes(bad)
    code, _, err = run("import", "b1", "--home", "far")
    assert code == exits.FAILED
    assert "bug" not in err
    assert run("ls", "--home", "far")[1] == ""


def test_06_a_bundle_comes_through_a_pipe(run: Run, tmp_path: Path) -> None:
    assert run("pull", "acme/tiny", "--home", "near", "-q")[0] == 0
    assert run("export", "acme/tiny", "-o", "b1", "--home", "near", "-q")[0] == 0
    with (tmp_path / "b1").open("rb") as stream:
        reader = subprocess.Popen(["cat"], stdin=stream, stdout=subprocess.PIPE)
        done = subprocess.run(
            [sys.executable, "-m", "moongate.cli", "import", "-", "--home", "far"],
            stdin=reader.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        reader.wait()
    assert done.returncode == 0, done.stderr
    assert "acme/tiny" in run("ls", "--home", "far")[1]


def test_07_what_cannot_be_exported_is_said_plainly(run: Run, tmp_path: Path) -> None:
    assert run("pull", "acme/tiny", "--include", "config.json", "--home", "near", "-q")[0] == 0
    code, _, err = run("export", "acme/none", "-o", "b1", "--home", "near")
    assert code == exits.FAILED
    assert "acme/none" in err
    assert run("export", "acme/tiny@v9", "-o", "b1", "--home", "near")[0] == exits.FAILED
    assert run("export", "acme/tiny", "-o", "absent/b1", "--home", "near")[0] == exits.FAILED
    assert run("export", "acme/tiny", "-o", "b1", "--since", "absent", "--home", "near")[0] == exits.FAILED
    assert run("import", "absent", "--home", "near")[0] == exits.FAILED
    assert not (tmp_path / "b1").exists()
    code, out, err = run("export", "acme/tiny", "-o", "b1", "--home", "near", "--json")
    assert code == 0
    missing = {(item["repo"], item["path"]) for item in json.loads(out)["missing"]}
    assert ("acme/tiny", "model.safetensors") in missing
    assert "acme/tiny model.safetensors" in err


@pytest.mark.clients
def test_08_a_fine_tune_in_xet_travels_as_its_new_chunks(
    run: Run, double: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", f"{double.cdn_netloc},{double.cas_netloc}")
    monkeypatch.setenv("MOONGATE_XET", "true")
    chance = random.Random(8)  # now and then chunks fall into step again only after a while
    base = chance.randbytes(6 << 20)
    tuned = base[: 3 << 20] + chance.randbytes(200_000) + base[(3 << 20) + 200_000 :]
    double.add_repo("nova/base", xet=True).commit({"model.safetensors": LfsFile(base)})
    double.add_repo("nova/tuned", xet=True).commit({"model.safetensors": LfsFile(tuned)})
    for repo, bundle, more in (("nova/base", "b1", ()), ("nova/tuned", "b2", ("--since", "b1"))):
        assert run("pull", repo, "--home", "near", "-q")[0] == 0
        code, out, err = run("export", repo, "-o", bundle, *more, "--home", "near", "--json")
        assert code == 0, err
        assert json.loads(out)["xet_files"] == 1
    assert json.loads(out)["xorb_bytes"] < 3 * 200_000
    assert (tmp_path / "b2").stat().st_size < len(tuned) // 8
    double.stop()
    for bundle in ("b1", "b2"):
        code, out, err = run("import", bundle, "--home", "far", "--json")
        assert code == 0, err
        assert json.loads(out)["added_xet_files"] == 1
    speaks = {"MOONGATE_XET": "true"}
    with Gateway(tmp_path / "far", double.url, arguments=["--offline"], env=speaks) as gateway:
        assert ask(gateway.url, "/nova/tuned/resolve/main/model.safetensors").body == tuned
        part = ask(
            gateway.url,
            "/nova/base/resolve/main/model.safetensors",
            headers={"Range": "bytes=5000000-5000099"},
        )
        assert (part.status, part.body) == (206, base[5_000_000:5_000_100])
        assert _read_by_file_system(gateway.url, tmp_path / "fs", "nova/tuned/model.safetensors") == tuned
        for xet in (True, False):
            cache = tmp_path / f"cache-{xet}"
            done = _hf_download(gateway.url, cache, "nova/tuned", xet=xet)
            assert done.returncode == 0, done.stderr + gateway.log_tail()
            (weights,) = cache.rglob("snapshots/*/model.safetensors")
            assert weights.read_bytes() == tuned
            metrics = ask(gateway.url, "/metrics").body.decode()
            answered = metrics.partition("\nmoongate_xet_served_bytes_total ")[2]
            assert float(answered.split()[0]) > 0
