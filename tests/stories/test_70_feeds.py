"""Threat intelligence at a running gateway: fetched, asked from outside, carried to where no network is."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from moongate.cli import exits, main
from moongate.double import HubDouble, LfsFile
from support.feeds import FeedServer
from support.gateway import Gateway
from support.raw import ask
from support.weights import safetensors

Run = Callable[..., tuple[int, str, str]]
T = TypeVar("T")

WEIGHTS = safetensors({"w": ("F32", [320_000])})
LOADER = b"print('hello')\n"
BAD, BAD_LOADER = hashlib.sha256(WEIGHTS).hexdigest(), hashlib.sha256(LOADER).hexdigest()
KEY = "s3cret-key-of-the-feed"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    double.add_repo("acme/tiny").commit({"loader.py": LOADER, "model.safetensors": LfsFile(WEIGHTS)})
    with double.running():
        yield double


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


def test_feeds_are_fetched_asked_hunted_and_carried(
    double: HubDouble, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with FeedServer() as server:
        server.file("/list.csv", f"{BAD},Stealer,lab,amber\n{BAD_LOADER},Loader\nauthor:evil".encode())
        server.virustotal({}, KEY)
        where = ("--home", str(home))
        key = ("--key", "env:FEED_KEY")
        with Gateway(home, double.url, cdn=double.cdn_netloc, env={"FEED_KEY": KEY}) as gateway:
            monkeypatch.setenv("MOONGATE_URL", gateway.url)
            assert run("pull", "acme/tiny", "--quiet")[0] == 0  # nobody knows anything of it yet
            listed = (f"{server.url}/list.csv", "--kind", "hashes", *key)
            assert run("feed", "add", "ours", *listed, *where)[0] == 0
            assert run("feed", "add", "vt", server.url, "--kind", "virustotal", *key, *where)[0] == 0
            assert run("feed", "add", "ours", "/x", "--kind", "hashes", *where)[0] == exits.FAILED
            code, out, _ = run("feed", "refresh", "ours", "--json")
            assert code == 0
            assert json.loads(out)["feeds"][0]["how"] in ("changed", "same")
            assert server.asked[0].headers["authorization"] == KEY

            code, out, _ = run("feed", "list", "--json")
            ours, vt = json.loads(out)["feeds"]
            assert (ours["indicators"], ours["stale"], ours["trouble"]) == (3, False, "")
            assert vt["kind"] == "virustotal"

            code, out, _ = run("feed", "check", BAD)
            assert code == exits.FAILED
            assert out.startswith("critical: ours knows these bytes as Stealer\n")
            assert run("feed", "check", "evil/model")[0] == exits.FAILED
            assert run("feed", "check", "d" * 64)[0] == 0
            assert run("feed", "check", "no such thing")[0] == exits.USAGE
            assert [path for path in server.paths() if "/files/" in path] == [
                f"/api/v3/files/{BAD}",
                f"/api/v3/files/{'d' * 64}",
            ]
            assert run("feed", "rm", "ours")[0] == exits.USAGE  # not from afar
            monkeypatch.delenv("MOONGATE_URL")
        assert KEY not in gateway.log_path.read_text()
        assert KEY.encode() not in b"".join(path.read_bytes() for path in home.rglob("index*"))

    # The small file is known by its sha256, although the Hub names it by git's object id.
    code, out, _ = run("feed", "hunt", "--json", *where)
    assert code == exits.FAILED
    assert {one["what"] for found in json.loads(out)["kept"].values() for one in found} == {
        "ours knows these bytes as Stealer",
        "ours knows these bytes as Loader",
    }

    bundle, inside = str(tmp_path / "feeds.zip"), ("--home", str(tmp_path / "inside"))
    assert run("feed", "export", bundle, *where)[0] == 0
    assert run("feed", "import", bundle, *inside)[0] == 0
    assert run("feed", "check", BAD, *inside)[0] == exits.FAILED
    assert run("feed", "rm", "ours", *inside)[0] == 0
    assert run("feed", "check", BAD, *inside)[0] == 0


def test_what_was_given_is_refused_once_a_feed_names_it(double: HubDouble, run: Run, tmp_path: Path) -> None:
    inside, outside = ("--home", str(tmp_path / "home")), ("--home", str(tmp_path / "outside"))
    listed, bundle = tmp_path / "bad.csv", str(tmp_path / "feeds.zip")
    listed.write_text(f"{BAD},Stealer\n{BAD_LOADER},Loader\n")
    assert run("feed", "add", "ours", str(listed), "--kind", "hashes", *outside)[0] == 0
    assert run("feed", "refresh", *outside)[0] == 0
    assert run("feed", "export", bundle, *outside)[0] == 0
    names = ("model.safetensors", "loader.py")
    with Gateway(tmp_path / "home", double.url, cdn=double.cdn_netloc) as gateway:
        for name in names:
            assert ask(gateway.url, f"/acme/tiny/resolve/main/{name}").status == 200
        assert run("feed", "import", bundle, *inside)[0] == 0
        # What upstream names by its sha256 is refused at once; the small file once it was judged again.
        at_once = ask(gateway.url, f"/acme/tiny/resolve/main/{names[0]}")
        for name in names:
            answer = until(
                lambda name=name: ask(gateway.url, f"/acme/tiny/resolve/main/{name}"),
                lambda answer: answer.status == 403,
            )
            assert answer.headers["x-error-code"] == "RefusedByPolicy"
            assert "ours knows these bytes" in answer.headers["x-error-message"]
        assert at_once.status == 403
        verdicts = until(
            lambda: ask(gateway.url, "/api/moongate/v1/verdicts?verdict=dangerous").json()["verdicts"],
            lambda verdicts: len(verdicts) == len(names),
        )
        for verdict in verdicts:
            told = ask(gateway.url, f"/api/moongate/v1/verdicts/{verdict['etag']}").json()["verdicts"][0]
            assert told["findings"][0]["rule"] == "intel-hash"
            assert told["findings"][0]["evidence"]["feed"] == "ours"
        assert run("feed", "rm", "ours", *inside)[0] == 0
        for name in names:
            until(
                lambda name=name: ask(gateway.url, f"/acme/tiny/resolve/main/{name}").status,
                lambda status: status == 200,
            )


def test_requirements_are_held_against_advisories(double: HubDouble, run: Run, tmp_path: Path) -> None:
    where, osv = ("--home", str(tmp_path / "home")), tmp_path / "osv.zip"
    package = {"package": {"ecosystem": "PyPI", "name": "tensorthief"}, "versions": ["1.0"]}
    advisory = {"id": "MAL-2026-1", "summary": "steals tokens", "affected": [package]}
    with zipfile.ZipFile(osv, "w") as archive:
        archive.writestr("MAL-2026-1.json", json.dumps(advisory))
    repo = double.add_repo("acme/space", "space")
    repo.commit({"requirements.txt": "numpy==2.4\ntensorthief==1.0\n", "app.py": "print('hello')\n"})
    assert run("feed", "add", "pypi", str(osv), "--kind", "osv", *where)[0] == 0
    assert run("feed", "refresh", *where)[0] == 0
    with Gateway(tmp_path / "home", double.url, cdn=double.cdn_netloc) as gateway:
        answer = ask(gateway.url, "/spaces/acme/space/resolve/main/requirements.txt")
        assert answer.status == 403
        assert "tensorthief" in answer.headers["x-error-message"]
        assert ask(gateway.url, "/spaces/acme/space/resolve/main/app.py").status == 200


def until(look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """What is seen once it is so; what is done in the background takes some seconds."""
    deadline = time.monotonic() + 60
    while not is_so(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert is_so(seen), seen
    return seen


def test_a_poisoned_list_waits_until_somebody_approves(run: Run, tmp_path: Path) -> None:
    where = ("--home", str(tmp_path / "home"))
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(f"{number:064x}" for number in range(300)))
    assert run("feed", "add", "ours", str(bad), "--kind", "hashes", *where)[0] == 0
    assert run("feed", "refresh", *where)[0] == 0
    bad.write_text(f"{1:064x}")
    code, _, err = run("feed", "refresh", *where)
    assert code == exits.FAILED
    assert "ours: waits for approval (1 indicator): it held 300 statements, and now 1" in err
    assert run("feed", "check", f"{7:064x}", *where)[0] == exits.FAILED
    assert run("feed", "approve", "ours", *where)[0] == 0
    assert run("feed", "check", f"{7:064x}", *where)[0] == 0
    assert run("feed", "refuse", "ours", *where)[0] == exits.FAILED


def test_a_service_is_asked_behind_what_is_given_and_never_of_what_lives_here(
    double: HubDouble, run: Run, tmp_path: Path
) -> None:
    """The first reader waits for nobody; what the service says counts for the next, and in every list."""
    home, path = tmp_path / "home", "/acme/tiny/resolve/main/loader.py"
    with FeedServer() as server:
        stats = {"malicious": 40, "suspicious": 0, "undetected": 20, "harmless": 0}
        server.virustotal({BAD_LOADER: {"sha256": BAD_LOADER, "last_analysis_stats": stats}}, KEY)
        key = ("--key", "env:FEED_KEY", "--home", str(home))
        assert run("feed", "add", "vt", server.url, "--kind", "virustotal", *key)[0] == 0
        with Gateway(home, double.url, cdn=double.cdn_netloc, env={"FEED_KEY": KEY}) as gateway:
            assert ask(gateway.url, path).status == 200
            refused = until(lambda: ask(gateway.url, path), lambda answer: answer.status == 403)
            assert "vt knows these bytes: 40 of 60 engines" in refused.headers["x-error-message"]
            verdict = until(
                lambda: ask(gateway.url, "/api/moongate/v1/verdicts?verdict=dangerous").json()["verdicts"],
                bool,
            )[0]
            told = ask(gateway.url, f"/api/moongate/v1/verdicts/{verdict['etag']}").json()["verdicts"][0]
            assert told["findings"][0]["rule"] == "intel-service"
            assert ask(gateway.url, path).status == 403
        assert server.paths() == [f"/api/v3/files/{BAD_LOADER}"]
