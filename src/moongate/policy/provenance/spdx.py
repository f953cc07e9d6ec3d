"""An SPDX 3.0.1 document of a commit in JSON-LD, by the AI, Dataset and Software profiles.

Every element is written once in `@graph` and named by its `spdxId`, which holds the package URL, so that the
same commit has the same names. Source: the SPDX 3.0.1 model.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from moongate import __version__
from moongate.core.hits import day_and_time
from moongate.policy.provenance.facts import CommitFacts, FileFacts
from moongate.policy.provenance.spdx_words import licence_expression

CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"

_CREATION: Final = "_:creation"
_PACKAGES: Final = {"model": "ai_AIPackage", "dataset": "dataset_DatasetPackage", "space": "software_Package"}
_PURPOSES: Final = {"model": "model", "dataset": "data", "space": "application"}
_PROFILES: Final = {
    "model": ["core", "software", "simpleLicensing", "ai"],
    "dataset": ["core", "software", "simpleLicensing", "dataset"],
    "space": ["core", "software", "simpleLicensing"],
}


def spdx(facts: CommitFacts, now: float) -> dict[str, Any]:
    """The document, fit for JSON."""
    base = f"urn:moongate:spdx:{quote(facts.purl, safe='')}"
    supplier, tool, package = f"{base}#supplier", f"{base}#moongate", f"{base}#package"
    files = [_file(base, file) for file in facts.files]
    elements: list[dict[str, Any]] = [
        _element("Organization", supplier, name=facts.repo.namespace or facts.repo.repo_id),
        _element("SoftwareAgent", tool, name=f"moongate {__version__}"),
        _package(facts, package, supplier),
        *files,
    ]
    if files:
        elements.append(_relation(f"{base}#contains", package, "contains", [one["spdxId"] for one in files]))
    expression = _element(
        "simplelicensing_LicenseExpression",
        f"{base}#licence",
        simplelicensing_licenseExpression=licence_expression(facts.licence)
        if facts.licence
        else "NOASSERTION",
    )
    elements += [
        expression,
        _relation(f"{base}#licensed", package, "hasDeclaredLicense", [expression["spdxId"]]),
    ]
    names = [one["spdxId"] for one in elements]
    document = _element(
        "SpdxDocument",
        f"{base}#document",
        name=f"{facts.repo}@{facts.commit_hash}",
        rootElement=[package],
        element=names,
        profileConformance=_PROFILES[facts.repo.repo_type],
    )
    creation = {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": day_and_time(now),
        "createdBy": [tool],
    }
    return {"@context": CONTEXT, "@graph": [creation, *elements, document]}


def _package(facts: CommitFacts, spdx_id: str, supplier: str) -> dict[str, Any]:
    kind = facts.repo.repo_type
    told = _element(
        _PACKAGES[kind],
        spdx_id,
        name=facts.repo.repo_id,
        software_packageVersion=facts.commit_hash,
        software_packageUrl=facts.purl,
        software_downloadLocation=facts.origin,
        software_primaryPurpose=_PURPOSES[kind],
        suppliedBy=supplier,
        originatedBy=[supplier],
    )
    if kind == "model":
        types = [str(facts.config["model_type"])] if isinstance(facts.config.get("model_type"), str) else []
        if types:
            told["ai_typeOfModel"] = types
        if tasks := facts.texts("pipeline_tag"):
            told["ai_domain"] = tasks
    if kind == "dataset":
        told["dataset_datasetType"] = ["noAssertion"]
    return told


def _file(base: str, file: FileFacts) -> dict[str, Any]:
    told = _element("software_File", f"{base}#file-{quote(file.path, safe='')}", name=file.path)
    if file.sha256:
        told["verifiedUsing"] = [{"type": "Hash", "algorithm": "sha256", "hashValue": file.sha256}]
    if file.verdict:
        told["comment"] = f"Moongate judged it {file.verdict}."
    return told


def _relation(spdx_id: str, origin: str, kind: str, to: list[str]) -> dict[str, Any]:
    return _element("Relationship", spdx_id, **{"from": origin, "relationshipType": kind, "to": to})


def _element(kind: str, spdx_id: str, **values: object) -> dict[str, Any]:
    return {"type": kind, "spdxId": spdx_id, "creationInfo": _CREATION, **values}
