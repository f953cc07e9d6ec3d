"""Signing, verifying, stating and listing from the command line, on a home with a repository in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.app.settings import Settings
from moongate.app.wiring.provenance import open_vouching
from moongate.app.wiring.stock import open_store
from moongate.cli import exits, main
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileEntry
from moongate.policy.provenance.dsse import Envelope
from moongate.policy.provenance.keys import PrivateKey
from support.signers import new_key, write_key
from support.sigstore_world import IDENTITY, ISSUER, Sigstore, packed

Run = Callable[..., tuple[int, str, str]]

TINY, COMMIT = RepoId("model", "acme/tiny"), CommitHash("1" * 40)
README = b"---\nlicense: mit\npipeline_tag: text-generation\n---\n# Tiny\n"
FILES = {"README.md": README, "config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 99}


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def keep(home: Path, commit: str, files: dict[str, bytes]) -> None:
    """Files as the Hub tells them: small ones under git's object id."""
    with_etags = {
        path: hashlib.sha256(data).hexdigest() if path.endswith(".safetensors") else git_oid(data)
        for path, data in files.items()
    }
    stock = open_store(Settings.load(home=home))
    entries = [FileEntry(RepoPath(path), Etag(etag), len(files[path])) for path, etag in with_etags.items()]
    stock.index.put_files(TINY, CommitHash(commit), entries, complete=True)
    stock.index.put_ref(TINY, Revision("main"), CommitHash(commit), 1.0)
    for path, etag in with_etags.items():
        if stock.blobs.size_bytes(Etag(etag)) is None:
            stock.blobs.add(Etag(etag), len(files[path]), iter([files[path]]))
        stock.index.put_blob(Etag(etag), len(files[path]), 1.0)
    stock.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    keep(home, COMMIT, FILES)
    (home / "signers").mkdir()
    return home


@pytest.fixture
def run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.setenv("MOONGATE_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


def test_01_what_is_signed_verifies_once_the_signer_is_believed(run: Run, home: Path, tmp_path: Path) -> None:
    key = new_key()
    private, public = write_key(key, tmp_path, "release-team")
    assert run("verify-signature", "acme/tiny") == (1, "", f"nobody signed acme/tiny at {COMMIT[:12]}\n")
    code, _, err = run("sign", "acme/tiny", "--key", str(private), "--output", "model.sig")
    assert (code, err) == (0, f"signed acme/tiny at {COMMIT[:12]} as release-team\n")
    code, out, _ = run("verify-signature", "acme/tiny")
    assert (code, out) == (1, "signed here: not valid: it is signed with a key that is not believed here\n")
    (home / "signers" / public.name).write_bytes(public.read_bytes())
    code, out, _ = run("verify-signature", "acme/tiny")
    assert (code, out) == (0, "signed here: complete, by release-team (key), 3 files covered\n")


def test_02_a_signature_that_came_with_the_files_names_what_it_does_not_cover(
    run: Run, home: Path, tmp_path: Path
) -> None:
    key = new_key()
    private, public = write_key(key, tmp_path, "release-team")
    (home / "signers" / public.name).write_bytes(public.read_bytes())
    run("sign", "acme/tiny", "--key", str(private), "--output", "model.sig")
    more = {"model.sig": (tmp_path / "model.sig").read_bytes(), "loader.py": b"import os\n"}
    keep(home, "2" * 40, {**FILES, **more})
    code, out, _ = run("verify-signature", "acme/tiny")
    assert code == exits.FAILED
    assert out == "model.sig: valid, by release-team (key), 3 files covered\n  not covered: loader.py\n"
    assert run("verify-signature", "acme/tiny", "--partial")[0] == 0
    keep(home, "3" * 40, {**FILES, "model.sig": more["model.sig"], "config.json": b"{}"})
    code, out, _ = run("verify-signature", "acme/tiny", "--json")
    (told,) = json.loads(out)["signatures"]
    assert (code, told["valid"], told["changed"]) == (1, False, ["config.json"])

    stock = open_store(Settings.load(home=home))
    vouching = open_vouching(stock)
    second, third = CommitHash("2" * 40), CommitHash("3" * 40)
    covered = vouching.signature_of(TINY, second, "config.json")
    assert (covered.signed, covered.valid, covered.signer) == (True, True, "release-team")
    uncovered = vouching.signature_of(TINY, second, "loader.py")
    assert (uncovered.signed, uncovered.valid, uncovered.signer) == (True, False, None)
    assert vouching.signature_of(TINY, third, "README.md").valid is False
    assert vouching.signature_of(TINY, COMMIT, "README.md").signed is True
    assert vouching.signature_of(RepoId("model", "acme/other"), COMMIT, "x").signed is None
    stock.close()


def test_03_what_is_not_here_as_a_whole_is_not_signed(run: Run, home: Path) -> None:
    stock = open_store(Settings.load(home=home))
    stock.index.put_files(
        TINY, CommitHash("4" * 40), [FileEntry(RepoPath("a"), Etag("5" * 40), 1)], complete=True
    )
    stock.index.put_files(TINY, CommitHash("6" * 40), [FileEntry(RepoPath("a"), Etag("5" * 40), 1)])
    stock.close()
    code, _, err = run("sign", f"acme/tiny@{'4' * 40}")
    assert code == exits.USAGE
    assert "the content of a is not here" in err
    assert run("sign", f"acme/tiny@{'6' * 40}")[0] == exits.USAGE
    assert run("sign", "acme/nothing")[0] == exits.FAILED
    assert run("sign", "acme/tiny", "--key", "no-such-file")[0] == exits.USAGE


def test_04_the_gateway_s_own_key_is_made_once_and_read_by_its_owner_only(run: Run, home: Path) -> None:
    assert run("sign", "acme/tiny")[0] == 0
    own = home / "moongate-signing.pem"
    first = own.read_bytes()
    assert own.stat().st_mode & 0o777 == 0o600
    assert run("sign", "acme/tiny")[0] == 0
    assert own.read_bytes() == first
    assert run("verify-signature", "acme/tiny")[0] == 0


def test_05_a_commit_s_record_is_stated_in_signed_envelopes(run: Run, home: Path) -> None:
    code, out, _ = run("provenance", "acme/tiny", "--json")
    assert code == 0
    told = json.loads(out)
    key = PrivateKey.read(home / "moongate-signing.pem").public
    assert told["key"] == key.pem.decode()
    statements = []
    for one in told["envelopes"]:
        envelope = Envelope.of(one)
        assert envelope.is_signed_by(key)
        statements.append(json.loads(base64.b64decode(one["payload"])))
    assert [one["predicateType"] for one in statements] == [
        "https://slsa.dev/provenance/v1",
        "urn:moongate:record:1",
    ]
    subjects = {one["name"]: one["digest"]["sha256"] for one in statements[0]["subject"]}
    assert subjects == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    code, out, _ = run("provenance", "acme/tiny")
    assert f"from https://huggingface.co/acme/tiny/tree/{COMMIT}" in out


def test_06_bills_of_materials_tell_licence_task_and_digests(run: Run) -> None:
    code, out, _ = run("bom", "acme/tiny")
    bom = json.loads(out)
    assert code == 0
    assert bom["metadata"]["component"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert bom["metadata"]["component"]["modelCard"]["modelParameters"]["architectureFamily"] == "llama"
    assert all("hashes" in file for file in bom["components"])
    code, out, _ = run("bom", "acme/tiny", "--format", "spdx")
    assert code == 0
    assert json.loads(out)["@context"] == "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"


def test_07_a_signature_without_a_key_counts_once_its_root_and_its_signer_are_believed(
    run: Run, home: Path
) -> None:
    pytest.importorskip("sigstore")
    world = Sigstore()
    bundle = packed(world.bundle({path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}))
    keep(home, "7" * 40, {**FILES, "model.sig": bundle})
    code, out, _ = run("verify-signature", "acme/tiny")
    assert (code, "put a trusted_root.json and an identities.yaml" in out) == (exits.FAILED, True)
    (home / "signers" / "trusted_root.json").write_bytes(world.trusted_root)
    code, out, _ = run("verify-signature", "acme/tiny")
    assert code == exits.FAILED
    assert f"not valid: it is signed by {IDENTITY} ({ISSUER}), who is not believed here" in out
    identities = home / "signers" / "identities.yaml"
    identities.write_text(f"- identity: {IDENTITY}\n  issuer: {ISSUER}\n")
    code, out, _ = run("verify-signature", "acme/tiny")
    assert (code, out) == (0, f"model.sig: complete, by {IDENTITY} (keyless), 3 files covered\n")
    stock = open_store(Settings.load(home=home))
    told = open_vouching(stock).signature_of(TINY, CommitHash("7" * 40), "config.json")
    assert (told.signed, told.valid, told.signer) == (True, True, IDENTITY)
    stock.close()
    identities.write_text(f"- identity: {IDENTITY}\n")
    code, _, err = run("verify-signature", "acme/tiny")
    assert code == exits.USAGE
    assert "identities.yaml:1: the issuer is missing" in err
