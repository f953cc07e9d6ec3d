"""Real clients upload through Xet to hosted repositories, and everybody reads the same bytes back.

There is no Hub behind the gateway (but where a test says so), and the setting `xet` is off: it concerns what
upstream has.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble, LfsFile
from support.clients import run_client, run_script
from support.front import until
from support.gateway import Gateway
from support.raw import ask
from support.xet_talk import XetTalk
from support.xet_writing import make_token

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

MIB = 1 << 20
VERSIONS = ("hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36")
BASE = random.Random(1).randbytes(12 * MIB + 5)
CHANGED = 300_000
TUNED = BASE[: 5 * MIB] + random.Random(2).randbytes(CHANGED) + BASE[5 * MIB + CHANGED :]
CHUNK = 128 * 1024
NAME = "model.safetensors"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    env = {"MOONGATE_HOSTED_NAMESPACES": "lab"}
    with Gateway(tmp_path / "home", "http://127.0.0.1:9", env=env) as running:
        yield running


@pytest.fixture
def alice(gateway: Gateway) -> str:
    return make_token(gateway.home, "alice")


def folder_of(path: Path, **contents: bytes) -> Path:
    path.mkdir()
    for name, content in contents.items():
        (path / name.replace("_", ".")).write_bytes(content)
    return path


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept_bytes(gateway: Gateway) -> int:
    """What the xorbs of the store take: every byte that was uploaded is in one, and none is sent twice."""
    store = gateway.home / "store" / "v1" / "xorbs"
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def asked(gateway: Gateway, pattern: str) -> int:
    """How many requests were like this until now."""
    mark = f"/lab/{uuid.uuid4().hex}/resolve/main/x"
    ask(gateway.url, mark)  # lines are written in batches, and in order
    until(lambda: mark in Path(gateway.log_path).read_text())
    return len(re.findall(pattern, Path(gateway.log_path).read_text()))


def put(
    client: Path, gateway: Gateway, token: str, home: Path, folder: Path, repo: str, **more: object
) -> dict[str, Any]:
    plan = {"put": str(folder), "repo": repo, **more}
    script, env = "xet_round_trip.py", {"HF_TOKEN": token}
    return dict(run_script(client, script, plan, home=home, endpoint=gateway.url, env=env))


def tree(gateway: Gateway, repo: str) -> dict[str, Any]:
    told = ask(gateway.url, f"/api/models/{repo}/tree/main?recursive=true").json()
    return {one["path"]: one for one in told if one["type"] == "file"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_generation_uploads_and_reads_back(
    version: str,
    client_python: Callable[[str], Path],
    gateway: Gateway,
    alice: str,
    tmp_path: Path,
) -> None:
    client = client_python(version)
    content = {"config_json": b"{}", "model_safetensors": BASE, "weights_bin": BASE[:400_000][::-1]}
    folder = folder_of(tmp_path / "folder", **content)
    told = put(client, gateway, alice, tmp_path / "a", folder, "lab/first", one=str(folder / "weights.bin"))
    whole = {path.name: digest(path.read_bytes()) for path in folder.iterdir()}
    assert told["back"] == whole | {"one/file.bin": whole["weights.bin"]}
    assert asked(gateway, r"200 \S* +POST /cas/~\w+/v2/shards") == 2
    assert not asked(gateway, r"PUT /api/moongate/v1/uploads|PUT \S*/info/lfs"), "nothing went past Xet"

    entry = tree(gateway, "lab/first")[NAME]
    assert entry["lfs"]["oid"] == digest(BASE)
    assert XetTalk(gateway.url, "lab/first").file_id(NAME) == entry["xetHash"]
    assert XetTalk(gateway.url, "lab/first").read(NAME) == BASE
    assert XetTalk(gateway.url, "lab/first").read(NAME, version=1, span=(777, MIB)) == BASE[777:MIB]
    part = ask(gateway.url, f"/lab/first/resolve/main/{NAME}", headers={"Range": "bytes=5000000-9000000"})
    assert (part.status, digest(part.body)) == (206, digest(BASE[5_000_000:9_000_001]))
    assert ask(gateway.url, f"/lab/first/resolve/main/{NAME}").body == BASE
    for other in VERSIONS:
        plan = {"get": ["lab/first"]}
        back = run_script(
            client_python(other),
            "xet_round_trip.py",
            plan,
            home=tmp_path / f"plain {other}",
            endpoint=gateway.url,
            env={"HF_HUB_DISABLE_XET": "1" if other != version else "0"},
        )
        assert back["lab/first"] == whole | {"one/file.bin": whole["weights.bin"]}


@pytest.mark.parametrize("version", ["hub-2.4", "hub-0.36"])
def test_what_is_known_is_not_sent_again(
    version: str, client_python: Callable[[str], Path], gateway: Gateway, alice: str, tmp_path: Path
) -> None:
    """The same client again: a shard. Another machine, by its first chunk: a shard. Changed: what changed."""
    client, old = client_python(version), folder_of(tmp_path / "old", model_safetensors=BASE)
    put(client, gateway, alice, tmp_path / "a", old, "lab/base")
    sent, xorbs = kept_bytes(gateway), r"PUT /cas/granted|POST /cas/\S+/xorbs/"
    count = asked(gateway, xorbs)
    assert len(BASE) <= sent < 1.01 * len(BASE)
    for home, repo in ((tmp_path / "a", "lab/again"), (tmp_path / "b", "lab/elsewhere")):
        told = put(client, gateway, alice, home, old, repo)
        assert told["back"] == {NAME: digest(BASE)}
        assert (kept_bytes(gateway), asked(gateway, xorbs)) == (sent, count)

    tuned = folder_of(tmp_path / "tuned", model_safetensors=TUNED)
    told = put(client, gateway, alice, tmp_path / "c", tuned, "lab/tuned")
    assert told["back"] == {NAME: digest(TUNED)}
    assert CHANGED <= kept_bytes(gateway) - sent <= CHANGED + 3 * CHUNK


def test_another_user_pays_for_what_they_may_not_read(
    client_python: Callable[[str], Path], gateway: Gateway, alice: str, tmp_path: Path
) -> None:
    client, bob = client_python("hub-2.4"), make_token(gateway.home, "bob")
    folder = folder_of(tmp_path / "folder", model_safetensors=BASE)
    make = "import huggingface_hub as h; h.HfApi().create_repo('lab/secret', private=True)"
    run_client([client, "-c", make], home=tmp_path / "a", endpoint=gateway.url, env={"HF_TOKEN": alice})
    put(client, gateway, alice, tmp_path / "a", folder, "lab/secret")
    told = put(client, gateway, bob, tmp_path / "a", folder, "lab/mine")
    assert told["back"] == {NAME: digest(BASE)}
    assert asked(gateway, "PUT /cas/granted") == 2, "from one machine, and yet each brought their own"
    assert kept_bytes(gateway) < 1.01 * len(BASE), "and it is kept once"
    tuned = folder_of(tmp_path / "tuned", model_safetensors=TUNED)
    put(client, gateway, bob, tmp_path / "c", tuned, "lab/tuned")
    assert kept_bytes(gateway) < 1.01 * len(BASE) + CHANGED + 3 * CHUNK


def test_tokens_are_refreshed(client_python: Callable[[str], Path], tmp_path: Path) -> None:
    """Tokens end within the margin in which clients ask for the next one."""
    (tmp_path / "patch").mkdir()
    patch = "from moongate.app import xet_tokens\nxet_tokens.WRITE_TTL_SECONDS = 20.0\n"
    (tmp_path / "patch" / "sitecustomize.py").write_text(patch)
    env = {"MOONGATE_HOSTED_NAMESPACES": "lab", "PYTHONPATH": str(tmp_path / "patch")}
    with Gateway(tmp_path / "home", "http://127.0.0.1:9", env=env) as gateway:
        folder = folder_of(tmp_path / "folder", model_safetensors=BASE)
        client, alice = client_python("hub-2.4"), make_token(gateway.home, "alice")
        told = put(client, gateway, alice, tmp_path / "a", folder, "lab/short")
        assert told["back"] == {NAME: digest(BASE)}
        assert asked(gateway, "GET /api/models/lab/short/xet-write-token/main") > 1


def test_a_pull_request(
    client_python: Callable[[str], Path], gateway: Gateway, alice: str, tmp_path: Path
) -> None:
    """Opened by somebody who may read the repository and not write to it; asked for as revision `None`."""
    client, carol = client_python("hub-2.4"), make_token(gateway.home, "carol")
    put(client, gateway, alice, tmp_path / "a", folder_of(tmp_path / "one", config_json=b"{}"), "lab/ours")
    from moongate.store.index import Index
    from moongate.store.layout import Layout

    with Index(Layout(gateway.home).index_path) as index:
        index.put_role("lab", "user:alice", "admin")  # so it is not everybody's to write to
    (tmp_path / "w.bin").write_bytes(BASE[:MIB])
    propose = (
        "import huggingface_hub as h, json;"
        "info = h.HfApi().upload_file(path_or_fileobj='w.bin', path_in_repo='w.bin', repo_id='lab/ours',"
        " create_pr=True); print(json.dumps(info.pr_revision))"
    )
    words, env = [client, "-c", propose], {"HF_TOKEN": carol}
    done = run_client(words, home=tmp_path / "b", endpoint=gateway.url, env=env, cwd=tmp_path)
    assert json.loads(done.stdout) == "refs/pr/1"
    assert asked(gateway, r"200 \S* +GET /api/models/lab/ours/xet-write-token/None")
    assert ask(gateway.url, "/lab/ours/resolve/refs%2Fpr%2F1/w.bin").body == BASE[:MIB]
    assert "w.bin" not in tree(gateway, "lab/ours")


def test_javascript(
    hub_js: Path, program: Callable[[str], Path], gateway: Gateway, alice: str, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(BASE)
    plan = {
        "modules": str(hub_js),
        "put": {"repo": "lab/js", "path": NAME, "from": str(tmp_path / "w.bin")},
    }
    told = run_script(
        program("node"),
        "xet_round_trip.mjs",
        plan,
        home=tmp_path / "a",
        endpoint=gateway.url,
        env={"HF_TOKEN": alice},
    )
    assert told == {"back": digest(BASE)}
    assert asked(gateway, r"200 \S* +POST /cas/~\w+/v1/shards") == 1
    assert XetTalk(gateway.url, "lab/js").read(NAME) == BASE


def test_a_fine_tune_of_an_upstream_model_costs_what_changed(
    client_python: Callable[[str], Path], tmp_path: Path
) -> None:
    """The base came from upstream through Xet; whoever may read it need not bring it again."""
    hub = HubDouble(tmp_path / "hub")
    hub.add_repo("acme/base", xet=True).commit({NAME: LfsFile(BASE)})
    env = {"MOONGATE_XET": "true", "MOONGATE_HOSTED_NAMESPACES": "lab"}
    with hub.running():
        names = f"{hub.cdn_netloc},{hub.cas_netloc}"
        with Gateway(tmp_path / "home", hub.url, cdn=names, env=env) as gateway:
            client, alice = client_python("hub-2.4"), make_token(gateway.home, "alice")
            plan = {"get": ["acme/base"]}
            home = tmp_path / "a"
            run_script(client, "xet_round_trip.py", plan, home=home, endpoint=gateway.url)
            before = kept_bytes(gateway)
            tuned = folder_of(tmp_path / "tuned", model_safetensors=TUNED)
            told = put(client, gateway, alice, tmp_path / "b", tuned, "lab/tuned")
            assert told["back"] == {NAME: digest(TUNED)}
            assert CHANGED <= kept_bytes(gateway) - before <= CHANGED + 3 * CHUNK
            with hub.away():
                assert XetTalk(gateway.url, "lab/tuned").read(NAME) == TUNED
            heard = [record.path for record in hub.meters.requests() if "lab" in record.path]
            assert heard == [], "upstream never hears of what lives here"
