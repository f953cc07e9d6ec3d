"""Bills of materials are what the official schema and model say they are; statements are in-toto's."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from moongate.core.names import CommitHash, RepoId
from moongate.policy.provenance.cyclonedx import cyclonedx
from moongate.policy.provenance.facts import CommitFacts, FileFacts
from moongate.policy.provenance.spdx import spdx
from moongate.policy.provenance.spdx_words import licence_expression, spdx_licence
from moongate.policy.provenance.statements import provenance, record

NOW = 1_790_000_000.0
COMMIT = CommitHash("1" * 40)
FILES = (
    FileFacts("README.md", "2" * 40, 10, None),
    FileFacts("model.safetensors", "a" * 64, 1000, "a" * 64, "clean", NOW, "moongate-scan/1"),
    FileFacts("sub folder/ä#?.bin", "b" * 64, 5, "b" * 64, "dangerous"),
)
CARD = {
    "license": "apache-2.0",
    "pipeline_tag": "text-generation",
    "base_model": ["acme/base", "not a repo"],
    "datasets": "acme/squad",
    "tags": ["a", "b"],
}
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def facts(repo: RepoId, **more: object) -> CommitFacts:
    values = {
        "origin": f"https://huggingface.co{repo.file_path}/tree/{COMMIT}",
        "hosted": False,
        "complete": True,
        "files": FILES,
        "card": CARD,
        "config": CONFIG,
        **more,
    }
    return CommitFacts(repo, COMMIT, **values)  # type: ignore[arg-type]


CASES = [
    facts(RepoId("model", "acme/tiny")),
    facts(RepoId("dataset", "acme/squad")),
    facts(RepoId("space", "acme/app")),
    facts(RepoId("model", "gpt2"), card={}, config={}, files=()),
    facts(
        RepoId("model", "acme/own"), card={"license": "other", "license_name": "Acme Terms 1"}, hosted=True
    ),
]
each = pytest.mark.parametrize("told", CASES, ids=lambda told: str(told.repo))


@each
def test_a_cyclonedx_document_passes_the_strict_schema(told: CommitFacts) -> None:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(cyclonedx(told, NOW)))
    assert error is None, error


def test_a_cyclonedx_document_says_what_is_known() -> None:
    bom = cyclonedx(CASES[0], NOW)
    main = bom["metadata"]["component"]
    assert main["purl"] == f"pkg:huggingface/acme/tiny@{COMMIT}"
    assert main["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert main["modelCard"]["modelParameters"] == {
        "task": "text-generation",
        "architectureFamily": "llama",
        "modelArchitecture": "LlamaForCausalLM",
        "datasets": [{"type": "dataset", "name": "acme/squad"}],
    }
    assert [one.get("purl") for one in main["pedigree"]["ancestors"]] == ["pkg:huggingface/acme/base", None]
    assert bom["components"][1]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert bom["serialNumber"] == cyclonedx(CASES[0], NOW + 1)["serialNumber"]


@each
def test_an_spdx_document_fits_the_official_model(told: CommitFacts) -> None:
    from spdx_python_model import v3_0_1 as model

    objects = _read(spdx(told, NOW))
    assert not objects.link(), "an element names one that is not there"
    (document,) = objects.foreach_type(model.SpdxDocument)
    kinds = {
        "model": model.ai_AIPackage,
        "dataset": model.dataset_DatasetPackage,
        "space": model.software_Package,
    }
    (package,) = objects.foreach_type(kinds[told.repo.repo_type], match_subclass=False)
    assert document.rootElement == [package]
    assert package.software_packageVersion == COMMIT
    assert len(list(objects.foreach_type(model.software_File))) == len(told.files)


def _read(document: dict[str, Any]) -> Any:
    """The objects of a document, each with all that the official model demands of its class.

    Reading looks at names, types and words; only writing looks for what is missing.
    """
    from spdx_python_model import v3_0_1 as model

    objects = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(json.dumps(document).encode()), objects)
    model.JSONLDSerializer().write(objects, io.BytesIO())
    return objects


@pytest.mark.parametrize("missing", ["created", "createdBy", "relationshipType", "from", "specVersion"])
def test_what_the_official_model_demands_is_really_looked_for(missing: str) -> None:
    document = spdx(CASES[0], NOW)
    for element in document["@graph"]:
        element.pop(missing, None)
    with pytest.raises(ValueError, match=r"required|minimum"):
        _read(document)


def test_what_the_official_schema_forbids_is_really_refused() -> None:
    for path, value in (("version", "one"), ("bomFormat", "Other"), ("unknown", 1)):
        document = {**cyclonedx(CASES[0], NOW), path: value}
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None, path


def test_the_words_of_cards_become_spdx_s() -> None:
    assert (spdx_licence("mit"), spdx_licence("gpl-3.0"), spdx_licence("llama3")) == (
        "MIT",
        "GPL-3.0-only",
        None,
    )
    assert licence_expression("Acme Terms 1") == "LicenseRef-Acme-Terms-1"
    assert licence_expression("//") == "NOASSERTION"


def test_statements_name_every_file_by_its_digests() -> None:
    told = provenance(CASES[0], "urn:moongate:gateway:x", NOW)
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://slsa.dev/provenance/v1"
    assert [one["digest"] for one in told["subject"]] == [
        {"gitBlob": "2" * 40},
        {"sha256": "a" * 64},
        {"sha256": "b" * 64},
    ]
    (source,) = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": COMMIT}
    verdicts = record(CASES[0], NOW)["predicate"]["verdicts"]
    assert [one["verdict"] for one in verdicts] == ["unscanned", "clean", "dangerous"]
