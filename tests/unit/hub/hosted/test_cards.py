"""What a hosted commit says of itself, worked out from files at rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoId, RepoPath, RepoType
from moongate.core.records import FileEntry
from moongate.hub.hosted.cards import CardFacts, Cards, refuse_bad_card
from moongate.store.at_rest import AtRest
from moongate.store.blobs import Blobs
from moongate.store.index import HostedRow, Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from support.weights import gguf, safetensors, string, uint32

FIRST, SECOND = CommitHash("1" * 40), CommitHash("2" * 40)


class House:
    """A store with some files, and the cards over it."""

    def __init__(self, home: Path) -> None:
        layout = Layout(home)
        layout.prepare()
        self.blobs = Blobs(layout)
        self.index = Index(layout.index_path)
        self.content = AtRest(self.blobs, Segments(layout), self.index)
        self.cards = Cards(self.index, self.content, lambda: 7.0)
        self.asked = 0

    def repo(self, name: str = "acme/tuned", repo_type: RepoType = "model") -> HostedRow:
        row = self.index.add_hosted(RepoId(repo_type, name), False, "alice", {}, 1.0)
        assert row is not None
        return row

    def entry(self, path: str, data: bytes) -> FileEntry:
        etag = Etag(hashlib.sha256(data).hexdigest())
        self.blobs.add(etag, len(data), iter([data]))
        return FileEntry(RepoPath(path), etag, len(data))

    def facts(self, row: HostedRow, files: dict[str, bytes], commit: CommitHash = FIRST) -> CardFacts:
        entries = [self.entry(path, data) for path, data in files.items()]

        def listed() -> list[FileEntry]:
            self.asked += 1
            return entries

        return self.cards.facts(row, commit, listed)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.index.close()


_CARD = b"---\nlicense: mit\nbase_model: acme/tiny\ntags: [chat]\n---\n# Tuned\n"
_CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode()


def test_a_fine_tune(house: House) -> None:
    facts = house.facts(
        house.repo(),
        {
            "README.md": _CARD,
            "config.json": _CONFIG,
            "model.safetensors": safetensors({"a": ("BF16", [10, 10]), "b": ("F32", [5])}),
        },
    )
    assert facts.base_models == ("acme/tiny",)
    assert facts.relation == "finetune"
    assert "base_model:finetune:acme/tiny" in facts.tags
    assert facts.told == {
        "cardData": {"license": "mit", "base_model": "acme/tiny", "tags": ["chat"]},
        "safetensors": {"parameters": {"BF16": 100, "F32": 5}, "total": 105},
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "transformersInfo": {"auto_model": "AutoModelForCausalLM", "pipeline_tag": "text-generation"},
        "baseModels": {"relation": "finetune", "models": [{"id": "acme/tiny"}]},
    }


def test_shards_are_added_up(house: House) -> None:
    index = json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).encode()
    files = {
        "model.safetensors.index.json": index,
        "m-1.safetensors": safetensors({"a": ("F16", [7])}),
        "m-2.safetensors": safetensors({"b": ("F16", [3]), "c": ("I8", [2])}),
        "other.safetensors": safetensors({"a": ("F32", [1000])}),
    }
    assert house.facts(house.repo(), files).told["safetensors"] == {
        "parameters": {"F16": 10, "I8": 2},
        "total": 12,
    }
    del files["m-2.safetensors"]
    assert "safetensors" not in house.facts(house.repo("acme/other"), files).told


def test_a_split_gguf_file(house: House) -> None:
    first = gguf(
        [
            ("general.architecture", string("llama")),
            ("llama.context_length", uint32(4096)),
            ("split.count", uint32(2)),
        ],
        [("a", [10], 12)],
    )
    files = {
        "mmproj.gguf": gguf([], [("p", [1], 0)]),
        "q4-00001-of-00002.gguf": first,
        "q4-00002-of-00002.gguf": gguf([], [("b", [5], 12)]),
        "q8.gguf": gguf([], [("c", [99], 8)]),
    }
    facts = house.facts(house.repo(), files)
    assert facts.told["gguf"] == {
        "total": 15,
        "architecture": "llama",
        "context_length": 4096,
        "quantization": "Q4_K",
    }
    assert facts.told["library_name"] == "gguf"


def test_bad_files_say_nothing_and_hide_nothing(house: House) -> None:
    facts = house.facts(
        house.repo(),
        {
            "README.md": b"---\na: &x [*x]\n---\n",
            "config.json": b"[" * 10_000,
            "model.safetensors": (1 << 50).to_bytes(8, "little") + b"{}" * 100,
            "model.gguf": b"GGUF" + b"\xff" * 100,
        },
    )
    assert set(facts.tags) == {"gguf", "safetensors"}
    assert not facts.told.keys() & {"cardData", "config", "safetensors", "gguf"}


def test_facts_are_worked_out_once(house: House, tmp_path: Path) -> None:
    row = house.repo()
    first = house.facts(row, {"README.md": _CARD})
    assert house.facts(row, {"README.md": b"another"}) == first
    again = Cards(house.index, house.content, lambda: 9.0)
    assert again.facts(row, FIRST, lambda: pytest.fail("the files were asked for")) == first
    assert house.facts(row, {"README.md": b"another"}, SECOND).told == {}
    assert house.asked == 2


def test_what_could_not_be_read_is_tried_again(house: House) -> None:
    row = house.repo()
    lost = FileEntry(RepoPath("README.md"), Etag("e" * 64), 100)
    assert house.cards.facts(row, FIRST, lambda: [lost]).told == {}
    assert house.facts(row, {"README.md": _CARD}).told["cardData"]


def test_a_dataset_and_a_space(house: House) -> None:
    card = b"---\nlicense: mit\nlanguage: [en]\n---\n"
    files = {"README.md": card, "model.safetensors": safetensors({"a": ("F32", [1])})}
    facts = house.facts(house.repo("acme/data", "dataset"), files)
    assert facts.told == {"cardData": {"license": "mit", "language": ["en"]}}
    assert facts.tags == ("language:en", "license:mit")
    card = b"---\nsdk: gradio\nmodels: [acme/tuned]\n---\n"
    facts = house.facts(house.repo("acme/space", "space"), {"README.md": card})
    assert facts.told["sdk"] == "gradio"
    assert facts.told["models"] == ["acme/tuned"]


def test_a_bad_card_is_not_committed() -> None:
    refuse_bad_card(_CARD, "model")
    refuse_bad_card(b"\xff\xfe no metadata at all", "model")
    with pytest.raises(BadRequest, match=r'README\.md: "license" must be one of'):
        refuse_bad_card(b"---\nlicense: nonsense\n---\n", "model")
