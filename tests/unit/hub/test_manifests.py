from __future__ import annotations

import hashlib

import orjson
import pytest

from moongate.core.callers import ANONYMOUS
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, EntryAbsent, GatedRepo
from moongate.core.names import parse_repo
from moongate.double import LfsFile, Status
from moongate.hub.manifests import NO_COMMIT
from support.yard import ALICE, BOB, Gate, Yard

REPO = parse_repo("acme/tiny-gguf")
GATED = parse_repo("acme/gated")
WEIGHTS = LfsFile(b"GGUF" * 1000)


@pytest.fixture(autouse=True)
def repos(yard: Yard) -> None:
    yard.double.add_repo("acme/tiny-gguf").commit({"tiny-Q4_K_M.gguf": WEIGHTS})
    yard.double.add_repo("acme/gated", gated=True).commit({"tiny-Q4_K_M.gguf": WEIGHTS})


async def test_a_manifest_is_upstreams_byte_for_byte(yard: Yard, gate: Gate) -> None:
    truth = yard.fetch("/v2/acme/tiny-gguf/manifests/Q4_K_M")
    for each in (gate, yard.gate()):
        assert (await each.proxied.manifest(REPO, "Q4_K_M", ANONYMOUS, "ollama/0.34")).body == truth
    assert len(yard.asked("*/manifests/*")) == 2  # one of them the test's own
    yard.clock.advance(100)
    with yard.double.failing(Status(503)):
        stale = await gate.proxied.manifest(REPO, "Q4_K_M", ANONYMOUS, "ollama/0.34")
    assert (stale.body, stale.outcome) == (truth, "stale")


async def test_llama_cpp_is_told_its_file(gate: Gate) -> None:
    await gate.proxied.manifest(REPO, "latest", ANONYMOUS, "ollama/0.34")
    answer = await gate.proxied.manifest(REPO, "latest", ANONYMOUS, "llama-cpp")
    assert orjson.loads(answer.body)["ggufFile"]["rfilename"] == "tiny-Q4_K_M.gguf"


async def test_layers_are_content_of_known_size(yard: Yard, gate: Gate) -> None:
    manifest = orjson.loads((await gate.proxied.manifest(REPO, "latest", ANONYMOUS, "ollama")).body)
    for layer in [manifest["config"], *manifest["layers"]]:
        digest = Etag(layer["digest"].removeprefix("sha256:"))
        file = await gate.proxied.layer(REPO, digest, ANONYMOUS)
        assert (file.entry.etag, file.entry.size_bytes) == (digest, layer["size"])
        assert file.commit_hash == NO_COMMIT
    await gate.get("/api/models/acme/tiny-gguf/tree/main?recursive=true")
    file = await gate.proxied.layer(REPO, Etag(WEIGHTS.sha256), ANONYMOUS)
    assert file.entry.path == "tiny-Q4_K_M.gguf"
    with pytest.raises(EntryAbsent):
        await gate.proxied.layer(REPO, Etag(hashlib.sha256(b"else").hexdigest()), ANONYMOUS)


async def test_an_unknown_tag_is_the_callers_mistake(gate: Gate) -> None:
    with pytest.raises(BadRequest):
        await gate.proxied.manifest(REPO, "Q9_X", ANONYMOUS, "ollama")


async def test_gated_manifests_and_layers_are_for_those_let_in(gate: Gate) -> None:
    await gate.proxied.manifest(GATED, "latest", ALICE, "ollama")
    await gate.proxied.layer(GATED, Etag(WEIGHTS.sha256), ALICE)
    for stranger in (ANONYMOUS, BOB):
        with pytest.raises(GatedRepo):
            await gate.proxied.manifest(GATED, "latest", stranger, "ollama")
        with pytest.raises(GatedRepo):
            await gate.proxied.layer(GATED, Etag(WEIGHTS.sha256), stranger)
