from __future__ import annotations

from pathlib import Path

import pytest

from moongate.cli.doctor.clients import check_clients, check_variables

GATEWAY = "http://localhost:8080"


def _by_check(environment: dict[str, str]) -> dict[str, str]:
    return {item.check: item.level for item in check_variables(environment, GATEWAY)}


def test_without_hf_endpoint_the_line_to_type_is_given() -> None:
    (found,) = check_variables({}, GATEWAY)
    assert found.level == "note"
    assert found.advice == f"export HF_ENDPOINT={GATEWAY}"


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:8080", "http://localhost:8080/", "http://127.0.0.1:8080"]
)
def test_clients_that_come_to_the_gateway_are_well(endpoint: str) -> None:
    assert _by_check({"HF_ENDPOINT": endpoint}) == {"HF_ENDPOINT": "ok"}


def test_clients_that_go_elsewhere_are_noted() -> None:
    assert _by_check({"HF_ENDPOINT": "https://huggingface.co"}) == {"HF_ENDPOINT": "note"}


def test_an_endpoint_without_a_scheme_is_a_failure() -> None:
    assert _by_check({"HF_ENDPOINT": "localhost:8080"})["HF_ENDPOINT"] == "failed"


def test_a_proxy_in_the_way_is_a_warning_unless_no_proxy_says_otherwise() -> None:
    behind = {"HF_ENDPOINT": GATEWAY, "http_proxy": "http://proxy.invalid:3128"}
    assert _by_check(behind)["proxy"] == "warning"
    assert "proxy" not in _by_check({**behind, "NO_PROXY": "localhost,127.0.0.1"})
    assert "proxy" not in _by_check({**behind, "no_proxy": "*"})
    assert "proxy" not in _by_check({"HF_ENDPOINT": GATEWAY, "https_proxy": "http://proxy.invalid:3128"})


def test_a_proxy_in_the_way_of_a_gateway_elsewhere() -> None:
    behind = {"HF_ENDPOINT": "https://models.corp.test", "HTTPS_PROXY": "http://proxy.invalid:3128"}
    found = [item for item in check_variables(behind, "https://models.corp.test") if item.check == "proxy"]
    assert [item.advice for item in found] == ["export NO_PROXY=models.corp.test"]
    assert "proxy" not in _by_check({**behind, "NO_PROXY": ".corp.test"})
    assert _by_check({"HF_ENDPOINT": GATEWAY, "ALL_PROXY": "http://proxy.invalid:3128"})["proxy"] == "warning"


def test_a_token_in_the_clear_is_a_warning_and_is_not_printed() -> None:
    found = check_variables({"HF_ENDPOINT": "http://models.corp.test", "HF_TOKEN": "hf_secret"}, GATEWAY)
    assert [item.level for item in found if item.check == "HF_TOKEN"] == ["warning"]
    assert not any("hf_secret" in f"{item.words}{item.advice}" for item in found)
    assert "HF_TOKEN" not in _by_check({"HF_ENDPOINT": GATEWAY, "HF_TOKEN": "hf_secret"})


@pytest.mark.parametrize(
    ("variable", "value", "warned"),
    [
        ("HF_HUB_OFFLINE", "1", True),
        ("HF_HUB_OFFLINE", "0", False),
        ("TRANSFORMERS_OFFLINE", "yes", True),
        ("HUGGINGFACE_CO_STAGING", "1", True),
        ("HF_HUB_ENABLE_HF_TRANSFER", "1", True),
        ("HF_HUB_ETAG_TIMEOUT", "2", True),
        ("HF_HUB_ETAG_TIMEOUT", "60", False),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "5", True),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "many", False),
        ("MODEL_ENDPOINT", "https://huggingface.co/", True),
    ],
)
def test_variables_that_surprise(variable: str, value: str, warned: bool) -> None:
    found = [
        item.words for item in check_variables({variable: value}, GATEWAY) if item.check == "client variables"
    ]
    assert bool(found) is warned


def test_programs_are_found_with_their_versions(tmp_path: Path) -> None:
    for name, body in (
        ("git", "echo git version 2.47.3"),
        ("curl", "exit 3"),
        ("hf", "echo huggingface_hub 9.9.9"),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    words = " ".join(item.words for item in check_clients(path=str(tmp_path)))
    assert "git 2.47.3" in words
    assert "hf 9.9.9" in words
    assert "curl (version unknown)" in words
    assert "without git-lfs" in words
    assert "huggingface_hub " in words  # the library of this interpreter
