"""People who sign in with a real OpenID Connect provider, in a browser and for the Hub's own client."""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from moongate.double import HubDouble
from support.front import until
from support.gateway import Gateway
from support.raw import ask

pytestmark = pytest.mark.clients

MOONGATE = Path(sys.executable).parent / "moongate"
PEOPLE = {
    "alice": {
        "email": "Alice@acme.example", "email_verified": True, "groups": ["ml-engineers"],
        "preferred_username": "alice",
    },
    "eve": {"email": "eve@acme.example", "email_verified": True, "groups": ["security"]},
    "mallory": {"email": "mallory@acme.example", "email_verified": False, "groups": ["security"]},
    "twin": {"email": "alice@acme.example", "email_verified": True, "groups": ["ml-engineers"]},
    "stranger": {"email": "stranger@acme.example", "email_verified": True},
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """Follows redirects one by one, keeps cookies, fills in the provider's forms. One person's."""

    def __init__(self) -> None:
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), _NoRedirects()
        )
        self.visited: list[str] = []

    def ask(
        self, url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, str]:
        """Status, headers and text of one answer."""
        data = urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(url, data, headers or {})
        self.visited.append(url)
        try:
            answer = self._opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, answer.read().decode()

    def go(self, url: str, person: str = "", until: str = "") -> tuple[int, str, str]:
        """Follow where it leads, typing this name; where it ended. `until`: do not go to such an address."""
        form = None
        for _ in range(20):
            status, headers, text = self.ask(url, form)
            form = None
            if status in (302, 303):
                url = urljoin(url, headers["Location"])
                if until and until in url:
                    return status, url, text
                continue
            asked = re.search(r'<form[^>]*action="([^"]+)"', text)
            if person and "/interaction/" in url and asked:
                url = urljoin(url, html.unescape(asked[1]))
                prompt = re.search(r'name="prompt" value="([^"]+)"', text)
                assert prompt, text
                form = {"prompt": prompt[1], "login": person, "password": "any"}
                continue
            return status, url, text
        raise AssertionError(f"it leads nowhere: {self.visited}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@pytest.fixture(scope="module")
def provider_url(program: Callable[[str], Path], oidc_provider: Path) -> Iterator[tuple[str, int]]:
    """The provider's address, and the port that its client, the gateway, will have."""
    port = free_port()
    given = {"redirect_uris": [f"http://localhost:{port}/login/callback"], "people": PEOPLE}
    command = [str(program("node")), str(oidc_provider / "provider.mjs"), json.dumps(given)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield url, port
        process.stdin.close()


@pytest.fixture(scope="module")
def gateway(provider_url: tuple[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("sign-in")
    issuer, port = provider_url
    env = {
        "MOONGATE_OIDC_ISSUER": issuer,
        "MOONGATE_OIDC_CLIENT_ID": "moongate",
        "MOONGATE_OIDC_CLIENT_SECRET": "a secret of at least thirty-two bytes",
        "MOONGATE_HOSTED_NAMESPACES": "acme",
    }
    double = HubDouble(folder / "hub")
    with (
        double.running(),
        Gateway(
            folder / "home", double.url, env=env, cdn=double.cdn_netloc, arguments=["--port", str(port)]
        ) as running,
    ):
        for words in (
            ["group", "map", "ml-engineers", "research"],
            ["role", "add", "publisher", "team:research"],
            ["role", "add", "approver", "group:security", "--namespace", "acme"],
        ):
            subprocess.run([MOONGATE, *words, "--home", running.home], check=True, capture_output=True)
        yield running
        log = running.log_path.read_text(errors="replace")
        assert "eyJ" not in log, "an ID token in the log"
        assert "thirty-two" not in log, "the client's secret in the log"


def signed_in(gateway: Gateway, person: str, after: str = "/") -> Browser:
    browser = Browser()
    status, url, text = browser.go(f"{gateway.url}/login?next={after}", person)
    assert (status, urlsplit(url).path) == (200, urlsplit(after).path), text
    return browser


def session_of(browser: Browser) -> str:
    return next(cookie.value or "" for cookie in browser.jar if cookie.name == "moongate_session")


def as_admin(browser: Browser, gateway: Gateway) -> int:
    status, _, _ = browser.ask(
        f"{gateway.url}/api/moongate/v1/tokens", headers={"X-Forwarded-For": "10.0.0.1"}
    )
    return status


def test_a_person_signs_in_and_has_the_roles_of_their_groups(gateway: Gateway) -> None:
    browser = signed_in(gateway, "alice")
    cookie = next(one for one in browser.jar if one.name == "moongate_session")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    known = json.loads(subprocess.run(
        [MOONGATE, "user", "list", "--json", "--home", gateway.home], check=True, capture_output=True
    ).stdout)["accounts"]  # fmt: skip
    alice = next(one for one in known if one["name"] == "alice@acme.example")
    assert (alice["groups"], alice["teams"], alice["roles"]) == (
        ["ml-engineers"],
        ["research"],
        ["publisher"],
    )
    assert as_admin(browser, gateway) == 403, "a publisher is no administrator"


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("mallory", "did not verify"),
        ("stranger", "no role"),
        ("twin", "already somebody else"),
    ],
)
def test_who_may_not_come_in_is_told_why(gateway: Gateway, person: str, why: str) -> None:
    if person == "twin":
        signed_in(gateway, "alice")
    browser = Browser()
    status, url, text = browser.go(f"{gateway.url}/login", person)
    assert status == 403, text
    assert urlsplit(url).path == "/login/callback"
    assert why in text
    assert not [one for one in browser.jar if one.name == "moongate_session"]


def test_an_administrator_by_role_uses_the_admin_api_from_our_own_pages_alone(gateway: Gateway) -> None:
    def run(*words: str) -> None:
        subprocess.run([MOONGATE, "role", *words, "--home", gateway.home], check=True, capture_output=True)

    run("add", "admin", "user:alice@acme.example")
    try:
        browser = signed_in(gateway, "alice")
        tokens = f"{gateway.url}/api/moongate/v1/tokens"
        far = {"X-Forwarded-For": "10.0.0.1"}
        # What the gateway knew of alice is believed for a moment; a role given beside it counts after that.
        until(lambda: browser.ask(tokens, headers=far)[0] == 200)
        gc = f"{gateway.url}/api/moongate/v1/gc"
        for foreign in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
            {},
        ):
            assert browser.ask(gc, {}, {**far, **foreign})[0] == 403, foreign
        assert browser.ask(gc, {}, {**far, "Origin": gateway.url})[0] == 200
    finally:
        run("remove", "admin", "user:alice@acme.example")


def test_a_session_opens_nothing_that_hub_clients_ask(gateway: Gateway) -> None:
    browser = signed_in(gateway, "alice")
    status, _, _ = browser.ask(f"{gateway.url}/api/whoami-v2")
    assert status == 401


def test_the_form_offers_the_issuer_and_leads_to_where_one_wanted(gateway: Gateway) -> None:
    _, _, page = Browser().ask(f"{gateway.url}/-/sign-in?next=/-/tokens")
    offered = re.search(r'href="(/login\?next=[^"]+)">.*?Sign in with 127.0.0.1<', page)
    assert offered, page
    status, url, _ = Browser().go(gateway.url + offered[1], "alice")
    assert (status, urlsplit(url).path) == (200, "/-/tokens")


def test_signing_out_takes_a_form_of_our_own(gateway: Gateway) -> None:
    browser = signed_in(gateway, "alice")
    out, session = f"{gateway.url}/logout", session_of(browser)
    _, _, page = browser.ask(out)
    word = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert word
    right = {"csrf": word[1]}
    for form, headers in (
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        (right, {"Origin": "http://evil.example"}),
        (right, {"Sec-Fetch-Site": "cross-site"}),
    ):
        assert browser.ask(out, form, headers)[0] == 403, (form, headers)
    assert session_of(browser) == session
    status, headers, _ = browser.ask(out, right, {"Origin": gateway.url})
    assert (status, headers["Location"]) == (303, "/")
    header = {"Cookie": f"moongate_session={session}"}
    assert b"not signed in" in ask(gateway.url, "/logout", "GET", header).body, "the session lived on"


def test_a_disabled_person_is_out_at_once(gateway: Gateway) -> None:
    browser = signed_in(gateway, "eve")

    def user(word: str) -> None:
        command = [MOONGATE, "user", word, "eve@acme.example", "--home", gateway.home]
        subprocess.run(command, check=True, capture_output=True)

    assert "eve@acme.example" in browser.ask(f"{gateway.url}/logout")[2]
    user("disable")
    assert "not signed in" in browser.ask(f"{gateway.url}/logout")[2]
    status, _, text = Browser().go(f"{gateway.url}/login", "eve")
    assert (status, "may not sign in" in text) == (403, True)
    user("enable")
    signed_in(gateway, "eve")


def test_an_answer_counts_once_and_in_the_browser_that_asked(gateway: Gateway) -> None:
    """Replayed, handed to another browser (login CSRF), with another state, without one: nobody comes in."""
    browser = Browser()
    _, answer, _ = browser.go(f"{gateway.url}/login", "alice", until="/login/callback?")
    begun = {cookie.name: cookie.value or "" for cookie in browser.jar}
    code, state = (parse_qs(urlsplit(answer).query)[name][0] for name in ("code", "state"))
    path = answer.removeprefix(gateway.url)
    victim = Browser()
    assert victim.ask(answer)[0] == 403, "an answer that another browser asked for"
    other = Browser()
    other.go(f"{gateway.url}/login", until="/auth?")
    assert other.ask(answer)[0] == 403, "an answer to another sign-in"
    kept = {"Cookie": f"moongate_login={begun['moongate_login']}"}
    for query in (
        "", urlencode({"code": code}), urlencode({"state": state}),
        urlencode({"code": code, "state": state[:-1] + "_"}),
        urlencode({"code": code, "state": state, "iss": "https://evil.example"}),
        urlencode({"error": "access_denied<script>", "state": state, "iss": "http://x"}),
    ):  # fmt: skip
        refused = ask(gateway.url, f"/login/callback?{query}", "GET", kept)
        assert refused.status == 403, query
        assert refused.body.count(b"<script") == 1, "our own, and nothing of what came"
    sealed = begun["moongate_login"]
    tampered = sealed[:4] + ("A" if sealed[4] != "A" else "B") + sealed[5:]
    assert ask(gateway.url, path, "GET", {"Cookie": f"moongate_login={tampered}"}).status == 403
    status, headers, _ = browser.ask(answer)
    assert (status, headers["Location"]) == (303, "/")
    assert ask(gateway.url, path, "GET", kept).status == 403, "the same answer again"


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/%09/evil.example",
        "javascript:alert(1)", "evil.example", "/%0d%0aSet-Cookie:%20x=y", "%2f%2fevil.example", "",
        "/" + "a" * 5000, "http:evil.example",
    ],
)  # fmt: skip
def test_where_it_goes_then_is_never_elsewhere(gateway: Gateway, after: str) -> None:
    browser = Browser()
    _, answer, _ = browser.go(f"{gateway.url}/login?next={after}", "alice", until="/login/callback?")
    status, headers, _ = browser.ask(answer)
    assert status == 303
    assert headers["Location"].startswith("/")
    assert urlsplit(urljoin(gateway.url, headers["Location"])).netloc == urlsplit(gateway.url).netloc


def test_hf_auth_login_gets_a_token_by_a_browser(
    gateway: Gateway, client_python: Callable[[str], Path], tmp_path: Path
) -> None:
    """The Hub's own client shows a code, somebody allows it, and it acts as them, with their roles."""
    python = client_python("hub-2.4")
    script = (
        "import json, sys, huggingface_hub._login as login\n"
        "from huggingface_hub import HfApi, get_token\n"
        "login._device_code_login()\n"
        "api = HfApi()\n"
        "who = api.whoami()\n"
        "api.create_repo('acme/by-alice')\n"
        "print('\\n' + json.dumps({'name': who['name'], 'orgs': [o['name'] for o in who['orgs']]}))\n"
    )
    environment = {
        "HF_ENDPOINT": gateway.url, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"),
        "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with subprocess.Popen(
        [str(python), "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as client:
        assert client.stdout is not None
        said = ""
        while "user_code=" not in said:
            line = client.stdout.readline()
            assert line, said
            said += line
        page = re.search(r"(http://\S+/device\?user_code=\S+)", said)
        assert page
        browser = Browser()
        status, url, text = browser.go(page[1], "alice")
        assert (status, urlsplit(url).path) == (200, "/device"), text
        fields = dict(re.findall(r'name="(csrf|user_code)"[^>]*?value="([^"]*)"', text))
        assert browser.ask(url, {**fields, "csrf": "wrong", "answer": "allow"})[0] == 403
        assert browser.ask(url, {**fields, "user_code": "BBBB-BBBB", "answer": "allow"})[0] == 404
        status, _, text = browser.ask(url, {**fields, "answer": "allow"}, {"Origin": gateway.url})
        assert (status, "Device allowed" in text) == (200, True)
        assert browser.ask(url, {**fields, "answer": "allow"})[0] == 404, "a code is answered once"
        rest, _ = client.communicate(timeout=60)
        assert client.returncode == 0, said + rest
    told = json.loads(rest.strip().splitlines()[-1])
    assert told == {"name": "alice@acme.example", "orgs": ["acme"]}


def test_a_code_that_nobody_typed_gets_nothing(gateway: Gateway) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    begun = ask(gateway.url, "/oauth/device", "POST", form, b"client_id=x").json()
    body = urlencode({
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"],
    }).encode()  # fmt: skip
    assert ask(gateway.url, "/oauth/token", "POST", form, body).json()["error"] == "authorization_pending"
    wrong = body.replace(begun["device_code"].encode(), b"guessed")
    assert ask(gateway.url, "/oauth/token", "POST", form, wrong).json()["error"] == "expired_token"
    assert ask(gateway.url, "/device", "POST", form, b"user_code=BBBB-BBBB&answer=allow").status == 401
