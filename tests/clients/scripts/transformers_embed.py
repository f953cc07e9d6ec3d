"""A real sentence embedding, from a model named by its id (or, for comparison, from files in a folder)."""

from __future__ import annotations

import torch
from plain import PLAN, tell
from transformers import AutoModel, AutoTokenizer

torch.set_num_threads(1)
where, extra = PLAN["model"], {"revision": PLAN["revision"]} if "revision" in PLAN else {}
tokenizer = AutoTokenizer.from_pretrained(where, **extra)
model = AutoModel.from_pretrained(where, **extra).eval()
batch = tokenizer(PLAN["sentences"], padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    hidden = model(**batch).last_hidden_state
mask = batch["attention_mask"].unsqueeze(-1)
pooled = (hidden * mask).sum(1) / mask.sum(1)
vectors = torch.nn.functional.normalize(pooled, dim=1)
tell({"class": type(model).__name__, "vectors": vectors.tolist()})
