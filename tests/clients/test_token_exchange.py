"""Workloads without a secret of ours: the Hub's own client in CI, and a cloud's identity tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble
from support.gateway import Gateway
from support.issuer import Issuer
from support.raw import RawAnswer, ask

pytestmark = pytest.mark.clients

MOONGATE = Path(sys.executable).parent / "moongate"
GOOGLE = {
    "sub": "113475438248934895348",
    "azp": "113475438248934895348",
    "email": "trainer@acme-project.iam.gserviceaccount.com",
    "email_verified": True,
    "repository": None,
    "ref": None,
}
"""What an identity token of Google says of a service account, besides issuer, audience and times."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("exchange")
    double = HubDouble(folder / "hub")
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme,other"}
    with double.running(), Gateway(folder / "home", double.url, env=env, cdn=double.cdn_netloc) as running:
        moongate(
            running, "trust", "add", issuer.url, "--claim", "repository=acme/tiny", "--claim",
            "ref=refs/heads/main", "--user", "ci", "--scope", "write", "--namespace", "acme",
        )  # fmt: skip
        moongate(
            running, "trust", "add", issuer.url, "--claim", f"email={GOOGLE['email']}", "--user", "trainer",
            "--scope", "write", "--repo", "acme/weights", "--direct",
        )  # fmt: skip
        yield running
        heard = [str(request.path) for request in double.meters.requests("*")]
        assert not [path for path in heard if "oauth" in path], "an exchange went upstream"


def moongate(gateway: Gateway, *words: str) -> Any:
    command = [MOONGATE, *words, "--json", "--home", gateway.home]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


CI = """
import json, os
from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError
api = HfApi()
who = api.whoami()
api.create_repo("acme/tiny", exist_ok=True)
api.upload_file(path_or_fileobj=b"from CI", path_in_repo="made.txt", repo_id="acme/tiny")
kept = open(api.hf_hub_download("acme/tiny", "made.txt"), "rb").read().decode()
refused = []
for repo in ("acme/other", "other/tiny"):
    try:
        api.create_repo(repo)
    except HfHubHTTPError as error:
        refused.append(error.response.status_code)
print(json.dumps({"name": who["name"], "kept": kept, "refused": refused}))
"""


def run_in_ci(python: Path, folder: Path, gateway: Gateway, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HF_ENDPOINT": gateway.url, "HOME": str(folder), "HF_HOME": str(folder / "hf"),
        "PATH": "/usr/bin:/bin",
        "HF_HUB_DISABLE_XET": "1", **more,
    }  # fmt: skip
    return subprocess.run(
        [str(python), "-c", CI], env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def on_a_runner(issuer: Issuer, resource: str) -> dict[str, str]:
    """What a job on GitHub Actions with `id-token: write` finds in its environment."""
    return {
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/mint",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of the runner",
        "HF_OIDC_RESOURCE": resource,
    }


def test_the_hubs_own_client_pushes_from_ci_without_a_secret(
    gateway: Gateway, issuer: Issuer, client_python: Callable[[str], Path], tmp_path: Path
) -> None:
    ran = run_in_ci(client_python("hub-2.4"), tmp_path, gateway, **on_a_runner(issuer, "acme/tiny"))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"name": "ci", "kept": "from CI", "refused": [403, 403]}
    tokens = [row for row in moongate(gateway, "token", "list")["tokens"] if row["user"] == "ci"]
    assert tokens
    assert all(row["origin"] == "exchange" and row["places"] == ["acme/tiny"] for row in tokens)
    assert all(row["expires_at"] for row in tokens)


@pytest.mark.parametrize(
    ("claims", "resource"),
    [
        ({"ref": "refs/heads/evil"}, "acme/tiny"),
        ({"repository": "evil/tiny"}, "acme/tiny"),
        ({}, "other/tiny"),
        ({}, "somebody"),
    ],
)
def test_another_branch_repository_or_resource_gets_nothing(
    gateway: Gateway,
    issuer: Issuer,
    client_python: Callable[[str], Path],
    tmp_path: Path,
    claims: dict[str, str],
    resource: str,
) -> None:
    issuer.runner_claims = claims
    try:
        ran = run_in_ci(client_python("hub-2.4"), tmp_path, gateway, **on_a_runner(issuer, resource))
    finally:
        issuer.runner_claims = {}
    assert ran.returncode != 0
    assert "invalid_" in ran.stderr, "the client tells what the gateway said"
    assert "eyJ" not in ran.stderr


def test_a_token_of_another_ci_is_handed_over(
    gateway: Gateway, issuer: Issuer, client_python: Callable[[str], Path], tmp_path: Path
) -> None:
    given = {"HF_OIDC_RESOURCE": "acme/tiny", "HF_OIDC_ID_TOKEN": issuer.token(aud=gateway.url)}
    ran = run_in_ci(client_python("hub-2.4"), tmp_path, gateway, **given)
    assert ran.returncode == 0, ran.stderr


def exchange(gateway: Gateway, token: str, **more: str) -> RawAnswer:
    body = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token, **more}
    headers = {"Content-Type": "application/json"}
    return ask(gateway.url, "/oauth/token", "POST", headers, json.dumps(body).encode())


class TestACloudsIdentityTokens:
    """In the shape that Google's metadata server gives them."""

    def test_they_are_exchanged(self, gateway: Gateway, issuer: Issuer) -> None:
        told = exchange(gateway, issuer.token(aud=gateway.url, **GOOGLE)).json()
        who = ask(gateway.url, "/api/whoami-v2", "GET", {"Authorization": f"Bearer {told['access_token']}"})
        assert who.json()["name"] == "trainer"

    def test_they_come_in_as_they_are(self, gateway: Gateway, issuer: Issuer) -> None:
        header = {"Authorization": f"Bearer {issuer.token(aud=gateway.url, **GOOGLE)}"}
        for _ in range(2):
            assert ask(gateway.url, "/api/whoami-v2", "GET", header).json()["name"] == "trainer"
        body = json.dumps({"name": "weights", "organization": "acme"}).encode()
        json_type = {**header, "Content-Type": "application/json"}
        assert ask(gateway.url, "/api/repos/create", "POST", json_type, body).status == 200
        elsewhere = body.replace(b"weights", b"elsewhere")
        assert ask(gateway.url, "/api/repos/create", "POST", json_type, elsewhere).status == 403

    @pytest.mark.parametrize(
        "claims",
        [
            {"email_verified": False}, {"email_verified": None}, {"email_verified": "yes"},
            {"email": "trainer@evil-project.iam.gserviceaccount.com"}, {"email": None},
        ],
        ids=str,
    )  # fmt: skip
    def test_an_address_counts_when_it_is_verified(
        self, gateway: Gateway, issuer: Issuer, claims: dict[str, Any]
    ) -> None:
        token = issuer.token(aud=gateway.url, **{**GOOGLE, **claims})
        assert exchange(gateway, token).status == 400
        assert ask(gateway.url, "/api/whoami-v2", "GET", {"Authorization": f"Bearer {token}"}).status == 401

    def test_a_disabled_account_is_out_at_once(self, gateway: Gateway, issuer: Issuer) -> None:
        token = issuer.token(aud=gateway.url, **GOOGLE)
        header = {"Authorization": f"Bearer {token}"}
        exchanged = exchange(gateway, token).json()["access_token"]
        moongate(gateway, "service-account", "create", "trainer")
        assert ask(gateway.url, "/api/whoami-v2", "GET", header).status == 200
        moongate(gateway, "service-account", "disable", "trainer")
        for worthless in (token, exchanged):
            bearer = {"Authorization": f"Bearer {worthless}"}
            assert ask(gateway.url, "/api/whoami-v2", "GET", bearer).status == 401
        assert exchange(gateway, token).status == 400
        moongate(gateway, "service-account", "enable", "trainer")
        assert ask(gateway.url, "/api/whoami-v2", "GET", header).status == 200

    def test_a_ci_token_that_is_not_direct_does_not(self, gateway: Gateway, issuer: Issuer) -> None:
        header = {"Authorization": f"Bearer {issuer.token(aud=gateway.url)}"}
        assert ask(gateway.url, "/api/whoami-v2", "GET", header).status == 401


def test_a_trust_that_is_taken_back_is_worth_nothing(gateway: Gateway) -> None:
    with Issuer() as other:
        trust = moongate(
            gateway, "trust", "add", other.url, "--claim", "repository=acme/*", "--user", "other"
        )["id"]  # fmt: skip
        until_worth(gateway, other, 200)
        moongate(gateway, "trust", "remove", trust)
        until_worth(gateway, other, 400)


def until_worth(gateway: Gateway, issuer: Issuer, status: int) -> None:
    """Until what was changed beside a running gateway is known to it: moments."""
    from support.front import until

    until(lambda: exchange(gateway, issuer.token(aud=gateway.url)).status == status)
