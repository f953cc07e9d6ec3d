"""How to use a repository: the lines people copy, by what it is."""

from __future__ import annotations

from collections.abc import Sequence

from moongate.app.pages.asking import text
from moongate.app.pages.heads import Known

_TYPE_FLAGS = {"model": "", "dataset": " --repo-type dataset", "space": " --repo-type space"}
_BY_LIBRARY = {
    "transformers": "from transformers import AutoModel\nmodel = AutoModel.from_pretrained({id!r})",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer\n"
    "model = SentenceTransformer({id!r})",
    "diffusers": "from diffusers import DiffusionPipeline\npipe = DiffusionPipeline.from_pretrained({id!r})",
    "peft": "from peft import AutoPeftModel\nmodel = AutoPeftModel.from_pretrained({id!r})",
}
_BY_TASK = {
    "text-generation": "from transformers import pipeline\npipe = pipeline('text-generation', model={id!r})",
}


def uses_of(known: Known) -> Sequence[tuple[str, str]]:
    """Each a label and the lines."""
    name, kind = known.repo.repo_id, known.repo.repo_type
    found = [("Download", f"hf download {name}{_TYPE_FLAGS[kind]}")]
    if kind == "dataset":
        found.append(("datasets", f"from datasets import load_dataset\nrows = load_dataset({name!r})"))
    if kind != "model":
        return found
    if any(path.endswith(".gguf") for path in known.paths):
        found.append(("llama.cpp", f"llama-server -hf {name}"))
    library, task = text(known.info.get("library_name")), text(known.info.get("pipeline_tag"))
    lines = _BY_TASK.get(task) if library == "transformers" and task in _BY_TASK else _BY_LIBRARY.get(library)
    if lines:
        found.append((library, lines.format(id=name)))
    return found


def file_uses(known: Known, revision: str, path: str, endpoint: str) -> Sequence[tuple[str, str]]:
    """How to fetch one file of it."""
    kind = known.repo.repo_type
    pinned = "" if revision == "main" else f" --revision {revision}"
    address = f"{endpoint}{known.repo.file_path}/resolve/{revision}/{path}"
    return [
        ("hf", f"hf download {known.repo.repo_id} {path}{_TYPE_FLAGS[kind]}{pinned}"),
        ("curl", f"curl -LO {address}"),
    ]
