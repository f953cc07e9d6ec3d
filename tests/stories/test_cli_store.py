"""What an operator does to a store from the command line, on a home with a few repositories in it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.app.settings import Settings
from moongate.app.wiring.stock import Stock, open_store
from moongate.cli import exits, main
from moongate.cli.terminal import size
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileEntry, RepoFacts
from store_house import make_house
from support.xorbs import make_xorb, xet_content

TINY = RepoId("model", "acme/tiny")
COPY = RepoId("model", "acme/copy")
SQUAD = RepoId("dataset", "acme/squad")
FIRST, SECOND = CommitHash("1" * 40), CommitHash("2" * 40)
SHARED, OLD, NEW, ROWS = b"shared weights" * 100, b"old config", b"new config!", b"rows" * 1000

Run = Callable[..., tuple[int, str, str]]


def _etag(data: bytes) -> Etag:
    return Etag(hashlib.sha256(data).hexdigest())


def _keep(stock: Stock, repo: RepoId, commit: CommitHash, files: dict[str, bytes], now: float) -> None:
    entries = [FileEntry(RepoPath(path), _etag(data), len(data)) for path, data in files.items()]
    stock.index.put_facts(RepoFacts(repo, False, False, now))
    stock.index.put_ref(repo, Revision("main"), commit, now)
    stock.index.put_files(repo, commit, entries, complete=True)
    for data in files.values():
        stock.blobs.add(_etag(data), len(data), iter([data]))
        stock.index.put_blob(_etag(data), len(data), now)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """tiny has two commits; copy shares its weights; squad is a dataset of its own."""
    home = tmp_path / "home"
    stock = open_store(Settings.load(home=home))
    _keep(stock, TINY, FIRST, {"config.json": OLD, "model.bin": SHARED}, 1000.0)
    _keep(stock, TINY, SECOND, {"config.json": NEW, "model.bin": SHARED}, 2000.0)
    _keep(stock, COPY, FIRST, {"model.bin": SHARED}, 3000.0)
    _keep(stock, SQUAD, FIRST, {"train.jsonl": ROWS}, 4000.0)
    stock.close()
    return home


@pytest.fixture
def run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run one command line on that home: exit code, stdout, stderr."""
    monkeypatch.setenv("MOONGATE_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


def test_01_ls_lists_what_is_kept(run: Run) -> None:
    code, out, _ = run("ls")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["datasets/acme/squad", "acme/copy", "acme/tiny"]
    assert [row[1] for row in rows] == ["1", "1", "3"]


def test_02_ls_takes_patterns_and_prints_json(run: Run) -> None:
    code, out, _ = run("ls", "acme/t*", "--json")
    assert code == 0
    (repo,) = json.loads(out)["repos"]
    assert repo["repo"] == "acme/tiny"
    assert repo["size_bytes"] == len(SHARED) + len(OLD) + len(NEW)
    assert repo["own_bytes"] == len(OLD) + len(NEW)
    assert repo["pinned"] is False


def test_03_ls_of_nothing_says_so_on_stderr(run: Run) -> None:
    code, out, err = run("ls", "nobody/*")
    assert (code, out) == (0, "")
    assert "nothing" in err


def test_04_du_counts_shared_content_once(run: Run) -> None:
    code, out, _ = run("du", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["total_bytes"] == sum(map(len, (SHARED, OLD, NEW, ROWS)))
    assert [repo["repo"] for repo in document["repos"]] == ["datasets/acme/squad", "acme/tiny", "acme/copy"]
    assert "total" in run("du")[1].splitlines()[-1]


def test_05_show_tells_revisions_and_files(run: Run, home: Path) -> None:
    code, out, _ = run("show", "acme/tiny", "--json")
    assert code == 0
    card = json.loads(out)
    assert card["commit_hash"] == SECOND
    assert card["listing_complete"] is True
    assert {file["path"]: file["kept"] for file in card["files"]} == {"config.json": True, "model.bin": True}
    old = json.loads(run("show", f"acme/tiny@{FIRST}", "--json")[1])
    assert {file["etag"] for file in old["files"]} == {_etag(OLD), _etag(SHARED)}
    assert "config.json" in run("show", "acme/tiny")[1]


def test_05b_a_commit_that_is_only_known_to_exist_is_no_revision(run: Run, home: Path) -> None:
    stock = open_store(Settings.load(home=home))
    stock.index.put_ref(TINY, Revision(FIRST), FIRST, 1.0)
    stock.close()
    card = json.loads(run("show", "acme/tiny", "--json")[1])
    assert [row["revision"] for row in card["revisions"]] == ["main"]


def test_06_show_of_what_is_not_here_says_what_to_type(run: Run) -> None:
    code, _, err = run("show", "acme/none")
    assert code == exits.FAILED
    assert "`moongate pull acme/none`" in err
    code, _, err = run("show", "acme/tiny@v9")
    assert code == exits.FAILED
    assert "known revisions: main" in err


def test_07_rm_frees_what_only_that_repository_has_and_says_how_much(run: Run, home: Path) -> None:
    code, out, err = run("rm", "acme/tiny", "--yes", "--json")
    assert code == 0
    assert json.loads(out)["freed_bytes"] == len(OLD) + len(NEW)
    assert f"{len(SHARED)}" not in out
    assert "others share" in err
    assert run("show", "acme/tiny")[0] == exits.FAILED
    left = {path.name for path in (home / "store").rglob("*") if path.is_file()}
    assert left >= {_etag(SHARED), _etag(ROWS)}
    assert not left & {_etag(OLD), _etag(NEW)}


def test_08_rm_of_a_revision_leaves_the_other(run: Run) -> None:
    code, out, _ = run("rm", f"acme/tiny@{FIRST}", "-y", "--json")
    assert code == 0
    assert json.loads(out)["freed_bytes"] == len(OLD)
    card = json.loads(run("show", "acme/tiny", "--json")[1])
    assert card["commits"] == [SECOND]


def test_09_a_dry_run_promises_what_rm_then_frees_and_changes_nothing(run: Run) -> None:
    promised = json.loads(run("rm", "acme/tiny", "--dry-run", "--json")[1])
    assert promised["dry_run"] is True
    assert promised == json.loads(run("rm", "acme/tiny", "--dry-run", "--json")[1])
    freed = json.loads(run("rm", "acme/tiny", "--yes", "--json")[1])
    assert promised["freed_bytes"] == freed["freed_bytes"]
    of_revision = json.loads(run("rm", "datasets/acme/squad@main", "--dry-run", "--json")[1])
    assert of_revision["freed_bytes"] == len(ROWS)


def test_10_rm_without_yes_and_without_a_terminal_deletes_nothing(run: Run) -> None:
    code, _, err = run("rm", "acme/*")
    assert code == exits.USAGE
    assert "--yes" in err
    assert len(json.loads(run("ls", "--json")[1])["repos"]) == 3


@pytest.mark.parametrize(("answer", "left"), [("n\n", 3), ("\n", 3), ("", 3), ("yes\n", 2)])
def test_10b_rm_asks_somebody_who_is_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    monkeypatch.setattr("moongate.cli.removal.may_ask", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, _, err = run("rm", "acme/tiny")
    assert "Delete acme/tiny? [y/N]" in err
    assert code == (exits.DONE if left == 2 else exits.FAILED)
    assert len(json.loads(run("ls", "--json")[1])["repos"]) == left


def test_11_rm_of_a_pattern_takes_only_its_type(run: Run) -> None:
    code, out, _ = run("rm", "acme/*", "--yes", "--json")
    assert code == 0
    assert {repo["repo"] for repo in json.loads(out)["repos"]} == {"acme/tiny", "acme/copy"}
    assert json.loads(out)["freed_bytes"] == len(SHARED) + len(OLD) + len(NEW)


def test_12_a_pin_protects_and_the_hint_says_how_to_lift_it(run: Run) -> None:
    assert run("pin", "acme/tiny")[0] == 0
    assert "pinned" in run("ls", "acme/tiny")[1]
    code, _, err = run("rm", "acme/tiny", "--yes")
    assert code == exits.FAILED
    assert "`moongate unpin acme/tiny`" in err
    assert run("unpin", "acme/tiny")[0] == 0
    assert run("rm", "acme/tiny", "--yes")[0] == 0


def test_13_unpinning_what_is_not_pinned_fails(run: Run) -> None:
    code, _, err = run("unpin", "acme/tiny", "acme/copy")
    assert code == exits.FAILED
    assert "acme/tiny, acme/copy" in err


def test_14_verify_finds_one_wrong_byte_and_quarantines_the_file(run: Run, home: Path) -> None:
    code, out, _ = run("verify", "--json")
    assert code == 0
    assert json.loads(out) == {
        "checked": 4,
        "checked_bytes": sum(map(len, (SHARED, OLD, NEW, ROWS))),
        "xet_files": 0,
        "wrong": [],
    }
    (blob,) = (home / "store").rglob(_etag(ROWS))
    blob.chmod(0o600)
    blob.write_bytes(b"x" + ROWS[1:])
    code, out, err = run("verify", "--json")
    assert code == exits.FAILED
    (wrong,) = json.loads(out)["wrong"]
    assert wrong["etag"] == _etag(ROWS)
    assert Path(wrong["quarantined_at"]).exists()
    assert not blob.exists()
    assert "quarantined" in err
    assert run("verify")[0] == 0


def test_15_verify_of_what_was_just_verified_has_nothing_to_do(run: Run) -> None:
    run("verify")
    assert json.loads(run("verify", "--older-than", "1h", "--json")[1])["checked"] == 0
    assert run("verify", "--older-than", "soon")[0] == exits.USAGE


def test_16_gc_brings_disk_and_index_into_line(run: Run, home: Path) -> None:
    (blob,) = (home / "store").rglob(_etag(ROWS))
    blob.unlink()
    leftover = home / "store" / "v1" / "partial" / "x.tmp"
    leftover.write_bytes(b"12345")
    import os

    os.utime(leftover, (0, 0))
    code, out, _ = run("gc", "--json")
    assert code == 0
    done = json.loads(out)
    assert (done["rows_dropped"], done["temporaries"], done["freed_bytes"]) == (1, 1, 5)
    assert not leftover.exists()


def test_17_tokens_are_shown_once_listed_without_their_secret_and_revoked(run: Run) -> None:
    code, out, err = run("token", "create", "--user", "alice", "--scope", "write", "--expires", "30d")
    assert code == 0
    token = out.strip()
    assert token.startswith("hf_")
    assert len(token) == 51
    assert token not in err
    code, out, _ = run("token", "list", "--json")
    (row,) = json.loads(out)["tokens"]
    assert (row["user"], row["scope"], row["state"]) == ("alice", "write", "good")
    assert token not in out
    assert run("token", "revoke", row["id"])[0] == 0
    assert json.loads(run("token", "list", "--json")[1])["tokens"] == []
    assert json.loads(run("token", "list", "--all", "--json")[1])["tokens"][0]["state"] == "revoked"
    assert run("token", "revoke", row["id"])[0] == exits.FAILED


def test_18_a_token_as_json_is_the_contract_of_scripts(run: Run, home: Path) -> None:
    code, out, err = run("token", "create", "--user", "bob", "--json", "--home", str(home))
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["token"].startswith("hf_")
    assert (made["user"], made["scope"], made["expires_at"]) == ("bob", "read", None)
    assert made["created_at"].endswith("Z")


def test_19_grants_are_added_listed_and_taken_back(run: Run) -> None:
    assert run("grant", "add", "alice", "meta-llama/*")[0] == 0
    assert run("grant", "list")[1] == "alice\tmeta-llama/*\n"
    assert run("grant", "remove", "alice", "meta-llama/*")[0] == 0
    assert run("grant", "remove", "alice", "meta-llama/*")[0] == exits.FAILED
    assert run("grant", "add", "alice", "a/b/c/*")[0] == exits.USAGE


def test_20_a_home_that_is_not_there_is_said_plainly_and_not_made(run: Run, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for words in (["ls"], ["gc"], ["token", "list"], ["verify"]):
        code, _, err = run(*words, "--home", str(absent))
        assert code == exits.FAILED
        assert str(absent) in err
    assert not absent.exists()


def test_21_a_setting_that_makes_no_sense_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PORT", "many")
    code, _, err = run("ls")
    assert code == exits.USAGE
    assert "MOONGATE_PORT" in err


def test_22_commands_without_a_remote_form_refuse_to_act_on_the_wrong_store(
    run: Run, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("MOONGATE_URL", "http://127.0.0.1:9")
    code, _, err = run("show", "acme/tiny")
    assert code == exits.USAGE
    assert "MOONGATE_URL" in err
    assert run("show", "acme/tiny", "--home", str(home))[0] == 0
    for words in (["gc"], ["verify"], ["ls"], ["pin", "acme/tiny"], ["token", "list"]):
        assert run(*words)[0] == exits.UNREACHABLE  # nobody listens there, and this home is left alone


def test_23_two_processes_may_work_on_one_home(run: Run, home: Path) -> None:
    """One that has the index open, as a gateway has, sees what a command does, and the other way round."""
    gateway = open_store(Settings.load(home=home))
    try:
        token = run("token", "create", "--user", "carol")[1].strip()
        assert gateway.index.token_by_sha256(hashlib.sha256(token.encode()).hexdigest()) is not None
        fd = gateway.blobs.open(_etag(ROWS))
        assert fd is not None
        assert run("rm", "datasets/acme/squad", "--yes")[0] == 0
        import os

        assert os.pread(fd, len(ROWS), 0) == ROWS  # a reader finishes on what it has open
        os.close(fd)
        assert gateway.blobs.open(_etag(ROWS)) is None
    finally:
        gateway.close()


def test_24_settings_show_what_counts_and_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_UPSTREAM_TOKEN", "hf_very_secret")
    monkeypatch.setenv("MOONGATE_QUOTA_BYTES", "5000")
    code, out, _ = run("settings", "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["quota_bytes"]["value"] == 5000
    assert shown["quota_bytes"]["variable"] == "MOONGATE_QUOTA_BYTES"
    assert "hf_very_secret" not in out
    changed = run("settings", "--changed")[1]
    assert {line.split("\t")[0] for line in changed.splitlines()} == {"home", "quota_bytes", "upstream_token"}


def test_25_a_variable_that_sets_nothing_is_pointed_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PROT", "9000")
    code, _, err = run("settings")
    assert code == 0
    assert "MOONGATE_PORT" in err


XORBS = [make_xorb(number, chunks=12) for number in (1, 2)]
BASE = xet_content(XORBS, [(0, 0, 12), (1, 0, 4)])
TUNED = xet_content(XORBS, [(0, 0, 7), (1, 4, 6), (0, 8, 12)])
MODEL, FINE = RepoId("model", "nova/base"), RepoId("model", "nova/tuned")


def _chunk_bytes(*parts: tuple[int, int, int]) -> int:
    return sum(XORBS[number].span(first, end).length for number, first, end in parts)


@pytest.fixture
def family(home: Path) -> int:
    """A base and its fine-tune, in Xet; what their chunks take together."""
    house = make_house(home)
    for repo, file in ((MODEL, BASE), (FINE, TUNED)):
        house.put_xet(XORBS, file)
        entry = FileEntry(RepoPath("model.bin"), file.etag, len(file.content), file.file_id)
        house.index.put_facts(RepoFacts(repo, False, False, 5000.0))
        house.index.put_ref(repo, Revision("main"), FIRST, 5000.0)
        house.index.put_files(repo, FIRST, [entry], complete=True)
    house.index.close()
    return _chunk_bytes((0, 0, 12), (1, 0, 6))


def test_26_du_shows_what_files_come_to_what_they_take_and_what_is_saved(run: Run, family: int) -> None:
    document = json.loads(run("du", "--json")[1])
    blobs = sum(map(len, (SHARED, OLD, NEW, ROWS)))
    assert document["total_bytes"] == blobs + family
    assert (document["xet_files"], document["xorb_bytes"]) == (2, family)
    assert document["saved_bytes"] == document["logical_bytes"] - document["total_bytes"]
    (base,) = (repo for repo in document["repos"] if repo["repo"] == "nova/base")
    assert base["logical_bytes"] == len(BASE.content)
    assert base["size_bytes"] == _chunk_bytes((0, 0, 12), (1, 0, 4))
    assert base["own_bytes"] == _chunk_bytes((0, 7, 8), (1, 0, 4))
    assert base["saved_bytes"] == base["logical_bytes"] - base["size_bytes"]
    assert len(run("du")[1].splitlines()[-1].split("\t")) == 5
    assert {repo["repo"] for repo in json.loads(run("ls", "nova/*", "--json")[1])["repos"]} == {
        "nova/base",
        "nova/tuned",
    }


def test_27_rm_of_a_fine_tune_frees_its_own_chunks_and_says_what_others_need(run: Run, family: int) -> None:
    own = _chunk_bytes((1, 4, 6))
    promised = json.loads(run("rm", "nova/tuned", "--dry-run", "--json")[1])
    assert promised["freed_bytes"] == own
    code, out, err = run("rm", "nova/tuned", "--yes", "--json")
    assert code == 0
    assert json.loads(out)["freed_bytes"] == own
    assert size(_chunk_bytes((0, 0, 7), (0, 8, 12))) in err
    assert "need" in err
    assert json.loads(run("du", "--json")[1])["xorb_bytes"] == family - own
    assert json.loads(run("verify", "--json")[1])["xet_files"] == 1


def test_28_show_says_which_files_are_kept_in_chunks(run: Run, family: int) -> None:
    (file,) = json.loads(run("show", "nova/base", "--json")[1])["files"]
    assert (file["kept"], file["kept_as"], file["xet_hash"]) == (True, ["xet"], BASE.file_id)
    assert "\txet\t" in run("show", "nova/base")[1]
    for each in json.loads(run("show", "acme/tiny", "--json")[1])["files"]:
        assert (each["kept_as"], each["xet_hash"]) == (["blob"], None)


def test_29_verify_names_a_xet_file_that_is_wrong(run: Run, family: int, home: Path) -> None:
    (segment,) = (path for path in (home / "store").rglob("4-6_*") if path.is_file())
    segment.write_bytes(bytes(segment.stat().st_size))
    code, out, _ = run("verify", "--json")
    assert code == exits.FAILED
    (wrong,) = json.loads(out)["wrong"]
    assert (wrong["etag"], wrong["file"], wrong["kept_as"]) == (TUNED.etag, "nova/tuned/model.bin", "xet")
    assert wrong["xet_hash"] == TUNED.file_id
    assert "(1 in Xet)" in run("verify")[2]
    assert json.loads(run("show", "nova/base", "--json")[1])["files"][0]["kept_as"] == ["xet"]


def test_30_gc_counts_xet_files_that_lost_chunks(run: Run, family: int, home: Path) -> None:
    (segment,) = (path for path in (home / "store").rglob("4-6_*") if path.is_file())
    segment.unlink()
    done = json.loads(run("gc", "--json")[1])
    assert (done["doubted"], done["evicted_xet"]) == (1, 0)


def test_31_gc_evicts_xet_files_over_the_quota(
    run: Run, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONGATE_QUOTA_BYTES", "1")
    monkeypatch.setenv("MOONGATE_MIN_FREE_BYTES", "0")
    done = json.loads(run("gc", "--json")[1])
    assert done["evicted_xet"] == 2
    assert json.loads(run("du", "--json")[1])["total_bytes"] == 0
