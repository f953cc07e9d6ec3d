"""What a client finds in lists, pages and infos of models and datasets."""

from __future__ import annotations

from typing import Any

from huggingface_hub import HfApi
from plain import PLAN, tell

api = HfApi(token=PLAN["token"])


def ids(**question: Any) -> list[str]:
    return [model.id for model in api.list_models(**question)]


info = api.model_info("acme/tuned")
weights: Any = info.safetensors  # a mapping for the oldest clients
tell(
    {
        "all": ids(),
        "limits": [ids(limit=limit) for limit in (1, 2, 3, 4)],
        "by_author": ids(author="acme"),
        "by_search": ids(search="tuned"),
        "by_filter": ids(filter=["license:mit", "base_model:up/base"]),
        "by_task": ids(filter="fill-mask"),
        "sorted": ids(author="acme", sort="lastModified"),
        "full": [
            [model.id, model.sha, sorted(file.rfilename for file in model.siblings or [])]
            for model in api.list_models(author="acme", full=True)
        ],
        "datasets": [dataset.id for dataset in api.list_datasets()],
        "parameters": weights["total"] if isinstance(weights, dict) else weights.total,
        "tags": sorted(info.tags or []),
        "license": (info.card_data or {}).get("license"),
    }
)
