"""A furnished Hub double: every kind of repository that clients meet, small enough to build in a second.

    with furnished(tmp_path, minilm) as hub:
        hub.double.url                       # HF_ENDPOINT of the Hub itself
        hub["acme/tiny"].refs                # a repository of it; hub.dataset(...), hub.space(...)

Repositories with large files speak Xet, as the Hub's do; `hub.hosts` names where their bytes lie.
Pages are short, so that every list has a second one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moongate.double import HubDouble, LfsFile, Repo, Settings, big_file
from support.weights import safetensors

ADA = "hf_" + "Ada" * 12  # let in everywhere
BOB = "hf_" + "Bob" * 12  # a user without any grant
GUARDED = ("acme/gated-auto", "acme/gated-manual", "acme/private", "acme/gated-rows")
MIB = 1 << 20

MODEL_CARD = (
    "---\nlicense: apache-2.0\nlibrary_name: transformers\n"
    "pipeline_tag: {task}\ntags:\n- tiny\n---\n# {name}\n"
)
ODD_NAMES = (
    "sub dir/a+b.txt",
    "100%.txt",
    "50%25.txt",
    "ünï cödé/файл.json",
    "hash#tag.txt",
    "semi;colon,comma.txt",
    "a&b=c.txt",
    "quote'd.txt",
    "what?.txt",
    "brackets[1](2){3}.txt",
    "tilde~at@colon:.txt",
    "deep/er/and/deeper/leaf.txt",
)
MANY_FILES = 2_500
MANY_FOLDERS = 50


@dataclass(frozen=True, slots=True)
class FurnishedHub:
    """A running double and its repositories; tests read it and leave it as it is."""

    double: HubDouble
    folder: Path

    @property
    def url(self) -> str:
        return self.double.url

    @property
    def hosts(self) -> str:
        """The hosts besides the Hub's own that a gateway must be allowed to reach."""
        return f"{self.double.cdn_netloc},{self.double.cas_netloc}"

    def __getitem__(self, repo_id: str) -> Repo:
        return self.double.repo(repo_id)

    def dataset(self, repo_id: str) -> Repo:
        return self.double.repo(repo_id, "dataset")

    def space(self, repo_id: str) -> Repo:
        return self.double.repo(repo_id, "space")

    def content(self, repo: Repo, path: str, revision: str = "main") -> bytes:
        """The bytes of a file, as the Hub has them."""
        commit = repo.resolve(revision)
        assert commit is not None
        content = commit.files[path].content
        return content.path.read_bytes() if hasattr(content, "path") else content.data


@contextmanager
def furnished(folder: Path, minilm: Path) -> Iterator[FurnishedHub]:
    """A double with everything in it, running for the length of a block."""
    settings = Settings(list_page_size=6, commits_page_size=2, tree_page_size=1000)
    double = HubDouble(folder / "state", settings=settings)
    hub = FurnishedHub(double, folder)
    double.add_user(
        "ada", ADA, grants=("acme/gated-auto", "acme/gated-manual", "acme/private", "acme/gated-rows")
    )
    double.add_user("bob", BOB)
    _real_model(hub, minilm)
    _tiny(hub)
    _names(hub)
    _bare(hub)
    _doors(hub)
    _pipeline(hub)
    _gguf(hub)
    _many(hub)
    _rows(hub)
    _space(hub)
    with double.running():
        yield hub


def _real_model(hub: FurnishedHub, minilm: Path) -> None:
    repo = hub.double.add_repo("acme/minilm", xet=True, facts={"downloads": 1234, "likes": 56})
    files: dict[str, bytes | str | LfsFile] = {
        str(path.relative_to(minilm)): path.read_bytes()
        for path in sorted(minilm.rglob("*"))
        if path.is_file() and path.suffix != ".safetensors" and path.name != ".gitattributes"
    }
    files["README.md"] = MODEL_CARD.format(task="sentence-similarity", name="minilm")
    files["model.safetensors"] = LfsFile(minilm / "model.safetensors")
    repo.commit(files, message="Add the model")
    repo.tag("v1.0")


def _tiny(hub: FurnishedHub) -> None:
    repo = hub.double.add_repo("acme/tiny", xet=True)
    repo.commit(
        {
            "README.md": MODEL_CARD.format(task="text-generation", name="tiny"),
            "config.json": json.dumps({"model_type": "bert", "version": 1, "words": "long " * 400}),
            "model.safetensors": big_file(hub.folder / "tiny-1.bin", 3 * MIB + 17, seed=1),
            "pytorch_model.bin": LfsFile(b"pickle" * 1000),
            "onnx/model.onnx": LfsFile(b"onnx" * 5000),
            "onnx/config.json": "{}",
            "empty.txt": b"",
        },
        message="First weights\n\nWith a body.",
    )
    repo.tag("v1.0")
    repo.branch("feat/new-head")
    repo.commit({"config.json": '{"version": "head"}', "head/extra.txt": "extra"}, branch="feat/new-head")
    repo.commit({"config.json": '{"version": 2}'}, message="Second config")
    repo.commit({"notes.txt": "notes\n"}, message="Notes", delete=["pytorch_model.bin"])
    repo.tag("release/2.0")
    repo.pull_request()
    repo.commit({"config.json": '{"version": "pr"}'}, branch="refs/pr/1", message="Proposed")


def _names(hub: FurnishedHub) -> None:
    repo = hub.double.add_repo("acme/Odd_Names.v1-2", xet=True)
    files: dict[str, bytes | str | LfsFile] = {name: f"content of {name}\n" for name in ODD_NAMES}
    files["sub dir/größe + 100%.bin"] = LfsFile(b"odd lfs" * 3000)
    files["empty.txt"] = b""
    repo.commit(files)
    repo.branch("fix/a+b,c")


def _bare(hub: FurnishedHub) -> None:
    hub.double.add_repo("oldie").commit({"config.json": '{"bare": true}', "w.bin": LfsFile(b"bare" * 999)})
    hub.double.add_repo("rows1", "dataset").commit({"a.jsonl": '{"x": 1}\n'})
    hub.double.add_repo("openai-community/gpt0", legacy_id="gpt0").commit({"config.json": '{"gpt": 0}'})
    hub.double.add_repo("acme/before").commit(
        {
            "config.json": '{"renamed": true}',
            "w.safetensors": LfsFile(safetensors({"renamed": ("F32", [3500])})),
        }
    )
    hub.double.rename("acme/before", "acme/after")


def _doors(hub: FurnishedHub) -> None:
    secret: dict[str, bytes | str | LfsFile] = {
        "config.json": '{"secret": true}',
        "model.safetensors": LfsFile(safetensors({"secret": ("F32", [17_500])})),
    }
    hub.double.add_repo("acme/gated-auto", gated="auto", xet=True).commit(secret)
    hub.double.add_repo("acme/gated-manual", gated="manual").commit(secret)
    hub.double.add_repo("acme/private", private=True).commit(secret)
    hub.double.add_repo("acme/gated-rows", "dataset", gated="auto").commit({"rows.jsonl": '{"x": 1}\n' * 10})


def _pipeline(hub: FurnishedHub) -> None:
    """A diffusers pipeline with parts in folders, two variants, and files that a load must not fetch."""
    index = {
        "_class_name": "DDPMPipeline",
        "_diffusers_version": "0.30.0",
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    unet = {"_class_name": "UNet2DModel", "sample_size": 8, "block_out_channels": [32, 64]}
    full, half = (safetensors({"unet": (dtype, [50_000])}) for dtype in ("F32", "F16"))
    hub.double.add_repo("acme/pipeline", xet=True).commit(
        {
            "README.md": "---\nlibrary_name: diffusers\n---\n",
            "model_index.json": json.dumps(index),
            "unet/config.json": json.dumps(unet),
            "unet/diffusion_pytorch_model.safetensors": LfsFile(full),
            "unet/diffusion_pytorch_model.bin": LfsFile(b"unet pickle" * 20_000),
            "unet/diffusion_pytorch_model.fp16.safetensors": LfsFile(half),
            "scheduler/scheduler_config.json": '{"_class_name": "DDPMScheduler"}',
            "original.ckpt": LfsFile(b"the whole in one" * 9_000),
        }
    )


def _gguf(hub: FurnishedHub) -> None:
    repo = hub.double.add_repo("acme/tiny-GGUF", xet=True)
    repo.commit(
        {
            "README.md": MODEL_CARD.format(task="text-generation", name="tiny-GGUF"),
            "tiny-Q4_K_M.gguf": big_file(hub.folder / "q4.gguf", 4 * MIB + 321, seed=4),
            "tiny-Q8_0.gguf": big_file(hub.folder / "q8.gguf", 6 * MIB + 5, seed=8),
        }
    )
    hub.double.add_repo("acme/sharded-GGUF").commit(
        {f"big-Q4_0-0000{n}-of-00002.gguf": LfsFile(b"GGUF%d" % n * 100) for n in (1, 2)}
    )


def _many(hub: FurnishedHub) -> None:
    files = {f"part{n % MANY_FOLDERS:02}/file{n:05}.txt": str(n) for n in range(MANY_FILES)}
    hub.double.add_repo("acme/many", "dataset").commit(files, message="Many")


def _rows(hub: FurnishedHub) -> None:
    repo = hub.double.add_repo("acme/rows", "dataset", xet=True)
    train = [json.dumps({"id": n, "text": f"row {n} é"}, ensure_ascii=False) for n in range(500)]
    test = [json.dumps({"id": n, "text": f"test {n}"}) for n in range(20)]
    repo.commit(
        {
            "README.md": "---\nlicense: mit\n---\n# rows\n",
            "train.jsonl": "\n".join(train) + "\n",
            "test.jsonl": "\n".join(test) + "\n",
            "extra/blob.bin": LfsFile(b"blob" * 1000),
        }
    )
    repo.tag("v1")
    repo.commit(
        {"default/train/0000.parquet": LfsFile(b"PAR1" * 100)}, branch="refs/convert/parquet", fresh=True
    )


def _space(hub: FurnishedHub) -> None:
    hub.double.add_repo("acme/demo", "space").commit(
        {
            "README.md": "---\nsdk: gradio\ntitle: Demo\n---\n",
            "app.py": "print('hello')\n",
            "assets/picture.png": LfsFile(b"\x89PNG" * 700),
        }
    )
