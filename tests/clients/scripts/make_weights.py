"""Writes weight files with the real libraries, and says how many parameters of each dtype they hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
import transformers
from plain import PLAN, tell
from safetensors import safe_open
from safetensors.torch import save_file

folder = Path(PLAN["folder"])
dtypes = [
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.int8,
    torch.bool,
    torch.int64,
    torch.float8_e4m3fn,
]
mixed = {f"t{n}": torch.zeros(n, 3).to(dtype) for n, dtype in enumerate(dtypes)} | {
    "scalar": torch.tensor(1.0)
}
save_file(mixed, folder / "mixed.safetensors", metadata={"format": "pt", "made": "by hand"})

config = transformers.BertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=500
)
model = transformers.BertForMaskedLM(config)
model.save_pretrained(folder / "sharded", max_shard_size="20KB")
model.save_pretrained(folder / "whole")


def counted(*paths: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in list(file.keys()):
                tensor = file.get_slice(name)
                counts[tensor.get_dtype()] += torch.Size(tensor.get_shape()).numel()
    return dict(counts)


tell(
    {
        "mixed": counted(folder / "mixed.safetensors"),
        "sharded": counted(*sorted((folder / "sharded").glob("*.safetensors"))),
        "shards": len(list((folder / "sharded").glob("*.safetensors"))),
        "whole": counted(folder / "whole" / "model.safetensors"),
    }
)
