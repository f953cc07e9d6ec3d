"""git, git-lfs, ollama, uploads, and the double as a process."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

from moongate.double import HubDouble, LfsFile, Repo
from unit.double.plain import ALICE, BOB, WEIGHTS, call

LFS_TYPE = {"Content-Type": "application/vnd.git-lfs+json"}


def test_git_clones_the_commit_the_api_names(double: HubDouble, tiny: Repo, tmp_path: Path) -> None:
    words = [
        "git",
        "-c",
        "filter.lfs.smudge=cat",
        "-c",
        "filter.lfs.process=",
        "-c",
        "filter.lfs.required=false",
    ]
    subprocess.run([*words, "clone", "-q", f"{double.url}/acme/tiny", str(tmp_path / "c")], check=True)
    found = subprocess.run(
        ["git", "-C", str(tmp_path / "c"), "rev-parse", "HEAD"], capture_output=True, check=True
    )
    head = found.stdout.decode().strip()
    assert head == call(f"{double.url}/api/models/acme/tiny").json["sha"]
    assert (tmp_path / "c/sub dir/a+b.txt").read_text() == "hi"
    facts = tiny.commits[head].files["model.safetensors"].lfs
    assert facts is not None
    assert (tmp_path / "c/model.safetensors").read_bytes() == facts.pointer
    tiny.private = True
    refused = call(f"{double.url}/acme/tiny.git/info/refs?service=git-upload-pack")
    assert (refused.status, refused.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    basic = "Basic " + base64.b64encode(f"alice:{ALICE}".encode()).decode()
    let_in = call(
        f"{double.url}/acme/tiny.git/info/refs?service=git-upload-pack", headers={"Authorization": basic}
    )
    assert let_in.status == 200


def test_lfs_download_batch(double: HubDouble) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    wanted = [{"oid": digest, "size": len(WEIGHTS)}, {"oid": "0" * 64, "size": 1}]
    body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": wanted}).encode()
    got = call(f"{double.url}/acme/tiny.git/info/lfs/objects/batch", "POST", LFS_TYPE, body).json
    href = got["objects"][0]["actions"]["download"]["href"]
    assert href.startswith(double.cdn_url)
    assert call(href).body == WEIGHTS
    assert got["objects"][1]["error"]["code"] == 404


def test_ollama(double: HubDouble) -> None:
    double.add_repo("acme/gguf").commit(
        {f"m-{q}.gguf": LfsFile(b"GGUF" + q.encode()) for q in ("Q4_K_M", "Q8_0")}
    )
    base = f"{double.url}/v2/acme/gguf"
    manifest = call(f"{base}/manifests/q8_0")
    assert manifest.body == call(f"{base}/manifests/Q8_0").body
    assert manifest.headers["Docker-Content-Digest"] == "sha256:" + hashlib.sha256(manifest.body).hexdigest()
    for layer in [manifest.json["config"], *manifest.json["layers"]]:
        got = call(f"{base}/blobs/{layer['digest']}")
        body = call(got.headers["Location"]).body if got.status == 307 else got.body
        assert ("sha256:" + hashlib.sha256(body).hexdigest(), len(body)) == (layer["digest"], layer["size"])
    latest = call(f"{base}/manifests/latest", headers={"User-Agent": "llama-cpp"}).json
    assert latest["ggufFile"]["rfilename"] == "m-Q4_K_M.gguf"
    assert call(f"{base}/manifests/Q2_K").status == 400
    assert call(f"{double.url}/v2/acme/tiny/manifests/latest").status == 400


def test_an_upload_becomes_a_commit(double: HubDouble, tiny: Repo) -> None:
    base = f"{double.url}/api/models/acme/tiny"
    before = tiny.refs["refs/heads/main"]
    data = b"\0new" * 1000
    digest = hashlib.sha256(data).hexdigest()
    files = [
        {"path": "new.bin", "size": len(data), "sample": base64.b64encode(data[:512]).decode()},
        {"path": "a.txt", "size": 2, "sample": base64.b64encode(b"hi").decode()},
    ]
    body = json.dumps({"files": files}).encode()
    modes = call(f"{base}/preupload/main", "POST", body=body, token=ALICE).json["files"]
    assert [one["uploadMode"] for one in modes] == ["lfs", "regular"]
    wanted = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": digest, "size": len(data)}],
    }
    batch = f"{double.url}/acme/tiny.git/info/lfs/objects/batch"
    actions = call(batch, "POST", LFS_TYPE, json.dumps(wanted).encode(), ALICE).json["objects"][0]["actions"]
    assert call(actions["upload"]["href"], "PUT", body=b"wrong").status == 400
    assert call(actions["upload"]["href"], "PUT", body=data).status == 200
    verify = json.dumps({"oid": digest, "size": len(data)}).encode()
    assert call(actions["verify"]["href"], "POST", LFS_TYPE, verify, ALICE).status == 200
    lines = [
        {"key": "header", "value": {"summary": "New files", "parentCommit": before}},
        {"key": "lfsFile", "value": {"path": "new.bin", "algo": "sha256", "oid": digest, "size": len(data)}},
        {
            "key": "file",
            "value": {"path": "a.txt", "content": base64.b64encode(b"hi").decode(), "encoding": "base64"},
        },
        {"key": "deletedFolder", "value": {"path": "sub dir/"}},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    assert call(f"{base}/commit/main", "POST", body=body).status == 401
    assert call(f"{base}/commit/main", "POST", body=body, token=BOB).status == 403
    answer = call(f"{base}/commit/main", "POST", body=body, token=ALICE).json
    assert answer["commitOid"] == call(f"{double.url}/api/models/acme/tiny").json["sha"] != before
    location = call(f"{double.url}/acme/tiny/resolve/main/new.bin").headers["Location"]
    assert call(location).body == data
    assert "sub dir/a+b.txt" not in tiny.commits[answer["commitOid"]].files
    assert call(f"{base}/commit/main", "POST", body=body, token=ALICE).status == 412
    assert (
        call(f"{base}/commit/nope", "POST", body=body, token=ALICE).headers["X-Error-Code"]
        == "RevisionNotFound"
    )
    assert call(f"{base}/commit/main", "POST", body=b"{", token=ALICE).status == 400
    outside = b'{"key":"file","value":{"path":"a/../b","content":"eA=="}}'
    assert call(f"{base}/commit/main", "POST", body=outside, token=ALICE).status == 400
    names = ("dev", "dev", "a%0Ab", "a/../b")
    made = [call(f"{base}/branch/{name}", "POST", body=b"{}", token=ALICE).status for name in names]
    assert made == [200, 409, 400, 400]


def test_creating(double: HubDouble) -> None:
    def create(name: str, token: str | None) -> tuple[int, str | None]:
        body = json.dumps({"name": name, "organization": None, "type": "dataset", "private": True}).encode()
        got = call(f"{double.url}/api/repos/create", "POST", body=body, token=token)
        return got.status, got.json.get("url")

    url = f"{double.url}/datasets/alice/rows"
    seen = [create("rows", token) for token in (None, BOB, ALICE, ALICE)]
    assert seen == [(401, None), (403, None), (200, url), (409, url)]
    assert call(f"{double.url}/api/datasets/alice/rows", token=ALICE).json["private"] is True


def test_as_a_process(tmp_path: Path) -> None:
    for name, data in {
        "models/acme/tiny/config.json": b"{}",
        "models/acme/tiny/weights.bin": WEIGHTS,
        "models/bare/config.json": b"{}",
        "datasets/acme/rows/data/train.jsonl": b"{}\n",
        "double.json": json.dumps(
            {
                "users": [{"name": "alice", "token": ALICE, "grants": ["acme/tiny"]}],
                "repos": {"models/acme/tiny": {"gated": "auto", "tags": ["v1"]}},
            }
        ).encode(),
    }.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    words = [
        sys.executable,
        "-m",
        "moongate.double",
        "--root",
        str(tmp_path / "root"),
        "--lfs-threshold",
        "1000",
    ]
    with subprocess.Popen([*words, "--state", str(tmp_path / "state")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            assert ready["repos"] == ["models/acme/tiny", "models/bare", "datasets/acme/rows"]
            url = f"{ready['hub']}/acme/tiny/resolve/v1/weights.bin"
            assert call(url).status == 401
            location = call(url, token=ALICE).headers["Location"]
            assert location.startswith(ready["cdn"])
            assert call(location).body == WEIGHTS
            assert call(f"{ready['control']}/_double/meters").json["requests"] == 3
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    missing = subprocess.run(
        [*words[:3], "--root", str(tmp_path / "no")], capture_output=True, check=False, text=True
    )
    assert (missing.returncode, "is not a directory" in missing.stderr) == (1, True)
