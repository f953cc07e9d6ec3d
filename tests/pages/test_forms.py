"""Signing in, tokens and themes without any JavaScript; and whose forms are believed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page

from support.pages import Stage
from support.raw import RawAnswer, ask

HTML = {"Accept": "text/html"}
ELSEWHERE = (
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
)


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=request.param)
    yield context.new_page()
    context.close()


def sign_in(page: Page, stage: Stage, user: str) -> None:
    page.get_by_label("Token").fill(stage.tokens[user])
    page.get_by_role("button", name="Sign in").click()


def test_a_closed_door_leads_to_the_form_and_from_there_where_one_wanted(page: Page, closed: Stage) -> None:
    page.goto(closed.url + "/lab/tickets")
    assert page.url.endswith("/-/sign-in?next=%2Flab%2Ftickets")
    page.get_by_label("Token").fill("hf_" + "a" * 48)
    page.get_by_role("button", name="Sign in").click()
    assert "unknown, revoked or expired" in page.get_by_role("alert").inner_text()
    sign_in(page, closed, "alice")
    assert page.url == closed.url + "/lab/tickets"
    assert page.locator(".menu > summary").inner_text() == "alice"
    page.goto(closed.url + "/lab/secret")
    assert "Secret plans" in page.locator("main").inner_text()
    page.goto(closed.url + "/lab/tickets/blob/main/config.json")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b'{"a": 1}'
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto(closed.url + "/lab/tickets")
    assert "/-/sign-in" in page.url


def test_a_private_repository_is_absent_for_others(page: Page, closed: Stage) -> None:
    page.goto(closed.url + "/-/sign-in")
    sign_in(page, closed, "bob")
    for path in ("/lab/secret", "/lab/secret/tree/main", "/lab/secret/blob/main/README.md", "/lab/absent"):
        answer = page.goto(closed.url + path)
        assert answer is not None
        assert answer.status == 404
        assert "Repository not found" in page.locator("main").inner_text()
    page.goto(closed.url + "/models")
    said = page.locator("main").inner_text()
    assert "tickets" in said
    assert "secret" not in said
    page.goto(closed.url + "/")
    assert "secret" not in page.locator("main").inner_text()


def test_tokens_are_made_shown_once_and_revoked(page: Page, closed: Stage) -> None:
    page.goto(closed.url + "/-/tokens")
    sign_in(page, closed, "alice")
    note = f"laptop {id(page)}"
    page.get_by_label("Note").fill(note)
    page.get_by_label("Scope").select_option("write")
    page.get_by_role("button", name="Make the token").click()
    secret = page.locator("#secret").inner_text()
    assert re.fullmatch(r"hf_[A-Za-z0-9]{48}", secret)
    bearer = {"Authorization": f"Bearer {secret}"}
    assert ask(closed.url, "/api/whoami-v2", headers=bearer).json()["name"] == "alice"
    page.goto(closed.url + "/-/tokens")
    assert secret not in page.content()
    assert closed.tokens["bob"] not in page.content()
    assert page.get_by_role("cell", name="bob").count() == 0
    page.get_by_role("button", name=f"Revoke {note}").click()
    assert page.get_by_role("row", name=note).get_by_text("revoked").is_visible()
    assert ask(closed.url, "/api/whoami-v2", headers=bearer).status == 401


def test_nobody_makes_a_token_that_may_more(page: Page, closed: Stage) -> None:
    page.goto(closed.url + "/-/tokens")
    sign_in(page, closed, "bob")
    assert page.get_by_label("Scope").locator("option").count() == 1
    word = page.locator("input[name=csrf]").first.get_attribute("value")
    answer = page.request.post(
        closed.url + "/-/tokens",
        form={"csrf": str(word), "scope": "admin", "days": "7", "note": ""},
        headers={"Origin": closed.url, "Accept": "text/html"},
    )
    assert answer.status == 400
    assert "may not do more" in answer.text()
    assert 'id="secret"' not in answer.text()


def test_a_session_ends_with_its_token(page: Page, closed: Stage) -> None:
    page.goto(closed.url + "/-/tokens")
    sign_in(page, closed, "alice")
    page.get_by_label("Note").fill("short")
    page.get_by_role("button", name="Make the token").click()
    secret = page.locator("#secret").inner_text()
    page.context.clear_cookies()
    page.goto(closed.url + "/-/sign-in?next=/-/tokens")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Revoke short").first.click()
    assert "/-/sign-in" in page.url


def test_a_theme_is_kept_without_a_script(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="light")
    page = context.new_page()
    page.goto(stage.url + "/models?search=x")
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Dark").click()
    assert page.url == stage.url + "/models?search=x"
    assert page.locator("html").get_attribute("data-theme") == "dark"
    context.close()


class Forger:
    """Sends the form for a new token by hand, with whatever a forger may have."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        shown = ask(stage.url, "/-/tokens", headers=HTML)
        self.cookie = shown.headers["set-cookie"].partition(";")[0]
        found = re.search(rb'name="csrf" value="([0-9a-f]{40})"', shown.body)
        assert found is not None
        self.word = found[1].decode()

    def send(self, word: str | None, **headers: str) -> RawAnswer:
        fields = {"user": "mallory", "scope": "admin", "days": "0", **({"csrf": word} if word else {})}
        sent = {"Content-Type": "application/x-www-form-urlencoded", **HTML}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.stage.url, "/-/tokens", "POST", sent, urlencode(fields).encode())


def test_only_our_own_forms_are_believed(stage: Stage) -> None:
    forger = Forger(stage)
    other = Forger(stage)
    ours, cookie = stage.url, forger.cookie
    refused = [
        forger.send(None, Origin=ours, Cookie=cookie),
        forger.send("0" * 40, Origin=ours, Cookie=cookie),
        forger.send(other.word, Origin=ours, Cookie=cookie),
        forger.send(forger.word, Origin=ours),
        forger.send(forger.word, Cookie=cookie),
        forger.send(forger.word, Origin="https://evil.example", Cookie=cookie),
        forger.send(forger.word, Origin="null", Cookie=cookie),
        forger.send(forger.word, Origin=ours, Cookie=cookie, Sec_Fetch_Site="cross-site"),
        forger.send(forger.word, Origin=ours, Cookie=cookie, Sec_Fetch_Site="same-site"),
        forger.send(forger.word, Origin=ours + "0", Cookie=cookie),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert b"mallory" not in ask(stage.url, "/-/tokens", headers=HTML).body
    assert forger.send(forger.word, Origin=ours, Cookie=cookie).status == 200
    assert b"mallory" in ask(stage.url, "/-/tokens", headers=HTML).body


def test_a_way_back_never_leads_to_another_site(closed: Stage) -> None:
    for target in ELSEWHERE:
        shown = ask(closed.url, f"/-/sign-in?{urlencode({'next': target})}", headers=HTML)
        cookie = shown.headers["set-cookie"].partition(";")[0]
        found = re.search(rb'name="csrf" value="([0-9a-f]{40})"', shown.body)
        assert found is not None
        body = urlencode({"csrf": found[1].decode(), "token": closed.tokens["bob"], "next": target}).encode()
        sent = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": closed.url,
            "Cookie": cookie,
            **HTML,
        }
        answer = ask(closed.url, "/-/sign-in", "POST", sent, body)
        assert answer.status == 303
        assert re.fullmatch(r"/(?![/\\])[!-~]*", answer.headers["location"])


def test_what_pages_are_sent_with(stage: Stage) -> None:
    for path in ("/", "/models", "/lab/tickets", "/-/tokens", "/lab/absent"):
        answer = ask(stage.url, path, headers=HTML)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert b"<style" not in answer.body
        assert not re.search(rb"""<script(?![^>]* src="/-/assets/)|\son[a-z]+=|style=["']""", answer.body)
    for line in ("/acme/tiny", "/models", "/lab/tickets"):
        assert ask(stage.url, line).status == 404, "no page for who asks for no HTML"
