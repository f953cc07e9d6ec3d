"""A CycloneDX 1.6 ML-BOM of a commit. Source: the CycloneDX 1.6 JSON schema, `modelCard` among it."""

from __future__ import annotations

import uuid
from typing import Any, Final

from moongate import __version__
from moongate.core.hits import day_and_time
from moongate.policy.provenance.facts import CommitFacts, FileFacts
from moongate.policy.provenance.spdx_words import spdx_licence

_TYPES: Final = {"model": "machine-learning-model", "dataset": "data", "space": "application"}
_WEIGHTS: Final = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".keras", ".parquet")


def cyclonedx(facts: CommitFacts, now: float) -> dict[str, Any]:
    """The document, fit for JSON. The same commit has the same serial number."""
    serial = uuid.uuid5(uuid.NAMESPACE_URL, facts.purl)
    files = [_file(facts, file) for file in facts.files]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": day_and_time(now),
            "tools": {"components": [{"type": "application", "name": "moongate", "version": __version__}]},
            "component": _component(facts),
        },
        "components": files,
        "dependencies": [
            {"ref": facts.purl, "dependsOn": [file["bom-ref"] for file in files]},
            *({"ref": file["bom-ref"]} for file in files),
        ],
    }


def _component(facts: CommitFacts) -> dict[str, Any]:
    namespace, _, name = facts.repo.repo_id.rpartition("/")
    told: dict[str, Any] = {
        "type": _TYPES[facts.repo.repo_type],
        "bom-ref": facts.purl,
        "name": name,
        "version": facts.commit_hash,
        "purl": facts.purl,
        "externalReferences": [{"type": "distribution", "url": facts.origin}],
        "properties": [
            {"name": "moongate:hosted", "value": str(facts.hosted).lower()},
            {"name": "moongate:listing-complete", "value": str(facts.complete).lower()},
        ],
    }
    if namespace:
        told["group"] = namespace
        told["supplier"] = {"name": namespace}
    if facts.licence:
        known = spdx_licence(facts.licence)
        told["licenses"] = [{"license": {"id": known} if known else {"name": facts.licence}}]
    if facts.repo.repo_type == "model":
        told["modelCard"] = _model_card(facts)
        if bases := facts.texts("base_model"):
            told["pedigree"] = {
                "ancestors": [
                    {"type": "machine-learning-model", "name": base, "purl": f"pkg:huggingface/{base}"}
                    if _is_repo(base)
                    else {"type": "machine-learning-model", "name": base}
                    for base in bases
                ]
            }
    if facts.repo.repo_type == "dataset":
        told["data"] = [{"type": "dataset", "name": name}]
    return told


def _model_card(facts: CommitFacts) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if tasks := facts.texts("pipeline_tag"):
        parameters["task"] = tasks[0]
    if isinstance(family := facts.config.get("model_type"), str):
        parameters["architectureFamily"] = family
    architectures = facts.config.get("architectures")
    if isinstance(architectures, list) and architectures and isinstance(architectures[0], str):
        parameters["modelArchitecture"] = architectures[0]
    if datasets := facts.texts("datasets"):
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in datasets]
    return {
        "modelParameters": parameters,
        "properties": [
            {"name": f"huggingface:tag:{tag}", "value": "true"} for tag in facts.texts("tags")[:100]
        ],
    }


def _file(facts: CommitFacts, file: FileFacts) -> dict[str, Any]:
    """A file; weights and data are components of type data, the rest of type file."""
    told: dict[str, Any] = {
        "type": "data" if file.path.lower().endswith(_WEIGHTS) else "file",
        "bom-ref": f"{facts.purl}#{file.path}",
        "name": file.path,
        "properties": [
            {"name": "moongate:size-bytes", "value": str(file.size_bytes)},
            {"name": "moongate:verdict", "value": file.verdict or "unscanned"},
        ],
    }
    if file.sha256:
        told["hashes"] = [{"alg": "SHA-256", "content": file.sha256}]
    return told


def _is_repo(text: str) -> bool:
    return text.count("/") == 1 and not any(char in text for char in " ?#@:")
