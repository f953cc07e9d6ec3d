"""A tiny model and a dataset pushed by their own libraries, and read back: what was sent and what came."""

from __future__ import annotations

import torch
from datasets import Dataset, load_dataset
from plain import PLAN, tell
from transformers import BertConfig, BertModel

torch.manual_seed(0)
torch.set_num_threads(1)
small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
model = BertModel(BertConfig(vocab_size=100, **small)).eval()
model.push_to_hub(PLAN["model"], token=PLAN["token"])
model.push_to_hub(PLAN["model"], token=PLAN["token"], revision="next", commit_message="The same again")
again = BertModel.from_pretrained(PLAN["model"], token=PLAN["token"]).eval()

rows = Dataset.from_dict({"n": list(range(500)), "word": [f"word {n}" for n in range(500)]})
rows.push_to_hub(PLAN["dataset"], token=PLAN["token"], max_shard_size="4KB", private=True)
back = load_dataset(PLAN["dataset"], split="train", token=PLAN["token"])
sent, came = model.state_dict(), again.state_dict()
tell(
    {
        "weights": all(torch.equal(sent[name], came[name]) for name in sent),
        "rows": back.to_list() == rows.to_list(),
    }
)
