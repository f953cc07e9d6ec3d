"""Rules see what is true of repositories, signatures and changes, and `explain` tells the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from moongate.cli import main
from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.weights import safetensors

ADMIN = "/api/moongate/v1"
Run = Callable[..., tuple[int, str, str]]
RULES = """
moongate_policy: 1
rules:
  - {id: no-business, effect: deny, actions: [read], reason: Ask legal., when: {licence: cc-by-nc-4.0}}
  - {id: frozen, effect: deny, actions: [commit], reason: It is frozen., when: {repo: team/frozen}}
  - {id: kept, effect: deny, actions: [admin], reason: It stays., when: {repo: team/kept}}
  - id: signed-only
    effect: deny
    actions: [read]
    reason: Nobody vouches for it.
    when: {repo: [team/signed, team/unsigned], signature_valid: false}
"""
OPEN = "---\nlicense: mit\nbase_model: acme/base\n---\n# Mine\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("facts")
    double = HubDouble(folder / "hub")
    weights = {"model.safetensors": LfsFile(safetensors({"a": ("U8", [4])}))}
    double.add_repo("acme/open").commit({"README.md": OPEN, **weights})
    double.add_repo("acme/closed").commit({"README.md": "---\nlicense: cc-by-nc-4.0\n---\n", **weights})
    (folder / "rules.yaml").write_text(RULES)
    env = {"MOONGATE_HOSTED_NAMESPACES": "team", "MOONGATE_POLICY": str(folder / "rules.yaml")}
    with double.running(), Gateway(folder / "home", double.url, cdn=double.cdn_netloc, env=env) as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOONGATE_POLICY", gateway.env["MOONGATE_POLICY"])
    monkeypatch.setenv("MOONGATE_HOSTED_NAMESPACES", "team")

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


def create(gateway: Gateway, name: str) -> None:
    body = json.dumps({"name": name, "organization": "team", "type": "model"}).encode()
    assert ask(gateway.url, "/api/repos/create", "POST", JSON, body).status == 200


JSON = {"Content-Type": "application/json"}


def commit(gateway: Gateway, name: str, **files: str | None) -> RawAnswer:
    """Puts files, whose names are spelt with `_` for a dot; None deletes one."""
    lines: list[dict[str, object]] = [{"key": "header", "value": {"summary": "change"}}]
    for word, text in files.items():
        path = word.replace("_", ".")
        lines.append(
            {"key": "deletedFile", "value": {"path": path}}
            if text is None
            else {"key": "file", "value": {"path": path, "content": text, "encoding": "utf-8"}}
        )
    data = "\n".join(json.dumps(line) for line in lines).encode()
    kind = {"Content-Type": "application/x-ndjson"}
    return ask(gateway.url, f"/api/models/team/{name}/commit/main", "POST", kind, data)


def refused(answer: RawAnswer, words: str) -> None:
    assert (answer.status, answer.headers.get("x-error-code")) == (403, "RefusedByPolicy"), answer
    assert words in answer.headers["x-error-message"]


def told(gateway: Gateway, kind: str) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = ask(gateway.url, f"{ADMIN}/audit?kind={kind}").json()["lines"]
    return lines


def test_1_explain_knows_what_the_gateway_knows(
    gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "closed"):
        assert ask(gateway.url, f"/api/models/acme/{name}").status == 200
    assert ask(gateway.url, "/acme/open/resolve/main/model.safetensors").status == 200
    refused(ask(gateway.url, "/acme/closed/resolve/main/model.safetensors"), "Ask legal.")
    question = ("policy", "explain", "acme/open", "model.safetensors", "--json")
    here = json.loads(run(*question, "--home", str(gateway.home))[1])
    monkeypatch.setenv("MOONGATE_URL", gateway.url)
    there = json.loads(run(*question)[1])
    for answer in (here, there):
        facts = answer["facts"]
        assert answer["effect"] == "allow"
        assert facts["repo"]["licence"] == "mit"
        assert facts["repo"]["base_models"] == ["acme/base"]
        assert facts["repo"]["created_at"] is not None
        assert facts["content"]["verdict"] == "clean"
        assert facts["content"]["formats"] == ["safetensors"]
        assert facts["content"]["size_bytes"] == len(safetensors({"a": ("U8", [4])}))
    assert (
        "no model.safetensor that is known here"
        in run("policy", "explain", "acme/open", "model.safetensor")[2]
    )
    assert "nothing is known of acme/opn here" in run("policy", "explain", "acme/opn")[2]
    code, out, err = run("policy", "explain", "acme/closed", "model.safetensors")
    assert "note:" not in err
    assert code == 3
    assert "licence is cc-by-nc-4.0" in out


def test_2_what_is_refused_before_anybody_looked_is_in_the_audit_log(gateway: Gateway) -> None:
    ask(gateway.url, "/api/models/acme/closed")
    before = len(told(gateway, "file.deny"))
    refused(ask(gateway.url, "/acme/closed/resolve/main/README.md"), "Ask legal.")
    lines = told(gateway, "file.deny")
    assert len(lines) == before + 1
    assert "no-business" in json.dumps(lines[0])


def test_3_rules_about_commits_and_administration_are_asked(gateway: Gateway) -> None:
    for name in ("frozen", "kept"):
        create(gateway, name)
    refused(commit(gateway, "frozen", config_json="{}"), "refuses changes to team/frozen: It is frozen.")
    refused(commit(gateway, "frozen", _gitattributes=None), "It is frozen.")
    assert commit(gateway, "kept", config_json="{}").status == 200
    body = json.dumps({"name": "kept", "organization": "team", "type": "model"}).encode()
    refused(ask(gateway.url, "/api/repos/delete", "DELETE", JSON, body), "administration of team/kept")
    move = json.dumps({"fromRepo": "team/kept", "toRepo": "team/gone", "type": "model"}).encode()
    refused(ask(gateway.url, "/api/repos/move", "POST", JSON, move), "It stays.")
    hide = json.dumps({"private": True}).encode()
    refused(ask(gateway.url, "/api/models/team/kept/settings", "PUT", JSON, hide), "It stays.")
    assert ask(gateway.url, "/api/models/team/kept").json()["private"] is False
    assert len(told(gateway, "commit.deny")) == 2
    assert len(told(gateway, "repo.deny")) == 3


def test_4_a_hosted_repository_has_a_licence_too(gateway: Gateway) -> None:
    create(gateway, "licensed")
    assert commit(gateway, "licensed", config_json="{}").status == 200
    assert ask(gateway.url, "/team/licensed/resolve/main/config.json").status == 200
    assert commit(gateway, "licensed", README_md="---\nlicense: cc-by-nc-4.0\n---\n").status == 200
    refused(ask(gateway.url, "/team/licensed/resolve/main/config.json"), "Ask legal.")


def test_5_a_signature_counts_for_the_files_that_it_covers(gateway: Gateway, run: Run) -> None:
    for name in ("signed", "unsigned"):
        create(gateway, name)
        assert commit(gateway, name, config_json='{"a": 1}').status == 200
    assert run("sign", "team/signed", "--home", str(gateway.home))[0] == 0
    assert ask(gateway.url, "/team/signed/resolve/main/config.json").status == 200
    refused(ask(gateway.url, "/team/unsigned/resolve/main/config.json"), "Nobody vouches for it.")
