"""Our readers of weight files say what the real libraries say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.weights.config import CONFIG_FILES, model_config
from moongate.weights.reading import facts_of
from moongate.weights.safetensors import SafetensorsFacts, read_safetensors
from support.clients import run_script
from support.weights import reader_of

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(240)]


def _read(path: Path) -> SafetensorsFacts:
    data = path.read_bytes()
    return facts_of(read_safetensors(len(data)), reader_of(data))


def test_safetensors_and_transformers_agree(client_python: Callable[[str], Path], tmp_path: Path) -> None:
    told = run_script(
        client_python("ml"),
        "make_weights.py",
        {"folder": str(tmp_path)},
        home=tmp_path / "home",
        endpoint="http://127.0.0.1:9",
    )
    mixed = _read(tmp_path / "mixed.safetensors")
    assert mixed.parameters == told["mixed"]
    assert mixed.metadata == {"format": "pt", "made": "by hand"}
    assert _read(tmp_path / "whole" / "model.safetensors").parameters == told["whole"]
    shards = [_read(path).parameters for path in sorted((tmp_path / "sharded").glob("*.safetensors"))]
    assert len(shards) == told["shards"] > 1
    assert sum((Counter(shard) for shard in shards), Counter()) == told["sharded"] == told["whole"]
    files = {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir() if path.name in CONFIG_FILES
    }
    assert model_config(files) == {"architectures": ["BertForMaskedLM"], "model_type": "bert"}
