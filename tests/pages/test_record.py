"""The audit log searched, and a recall made and taken back, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from support.front import until
from support.pages import Stage, entered, overflow, serious, watched
from support.raw import ask

FILE = "/lab/tickets/resolve/main/config.json"


def read(stage: Stage, user: str) -> int:
    return ask(stage.url, FILE, headers={"Authorization": f"Bearer {stage.tokens[user]}"}).status


def shown(page: Page, url: str, words: str) -> None:
    """Wait until a page says something: deliveries are written down a moment after they end."""

    def is_said() -> bool:
        page.goto(url)
        return words in page.locator("main").inner_text()

    until(is_said)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_recall_is_made_after_a_look_at_who_received_it(
    closed: Stage, browser: Browser, script: bool
) -> None:
    assert read(closed, "bob") == 200
    page = entered(browser, closed, "root", script=script)
    shown(page, closed.url + "/-/audit?kind=file.deliver&actor=bob", "lab/tickets/config.json")
    page.goto(closed.url + "/-/recalls")
    page.get_by_label("Digest or repository").fill("lab/tickets@main/config.json")
    page.get_by_label("Why").fill("It names a customer.")
    page.get_by_role("button", name="Who received it?").click()
    assert page.get_by_role("row", name="bob").is_visible()
    assert read(closed, "bob") == 200
    page.get_by_role("button", name="Stop serving it").click()
    assert "Recalled by root" in page.locator("main").inner_text()
    assert read(closed, "bob") in (403, 410, 451)
    page.get_by_role("button", name="Serve it again").click()
    until(lambda: read(closed, "bob") == 200)
    page.goto(closed.url + "/-/audit?kind=recall.create")
    assert "It names a customer." in page.locator("main").inner_text()
    page.context.close()


def test_signing_in_is_written_down_and_found(closed: Stage, browser: Browser) -> None:
    page = entered(browser, closed, "root")
    page.goto(closed.url + "/-/audit")
    page.get_by_label("What happened").select_option("session.start")
    page.get_by_role("button", name="Search").click()
    assert page.locator(".audit li", has_text="root").count() >= 1
    page.locator(".audit summary").first.click()
    assert '"kind": "session.start"' in page.locator(".audit pre").first.inner_text()
    assert closed.tokens["root"] not in page.content()
    page.get_by_label("From").fill("2999-01-01")
    page.get_by_role("button", name="Search").click()
    assert "No line of the log fits." in page.locator("main").inner_text()
    page.context.close()


def test_others_see_neither(closed: Stage, browser: Browser) -> None:
    page = entered(browser, closed, "alice")
    for path in ("/-/audit", "/-/recalls", "/-/recalls/trace?target=lab/tickets"):
        answer = page.goto(closed.url + path)
        assert answer is not None
        assert answer.status == 403, path
    page.context.close()


def test_the_pages_are_whole_and_for_everybody(closed: Stage, browser: Browser) -> None:
    first = entered(browser, closed, "root")
    context = browser.new_context(
        viewport={"width": 360, "height": 800},
        storage_state=first.context.storage_state(),
    )
    watch = watched(context, closed.url)
    for path in ("/-/audit", "/-/recalls", "/-/recalls/trace?target=lab/tickets"):
        page = watch.open(closed.url + path)
        assert serious(page) == [], path
        assert overflow(page) <= 0, path
        watch.is_calm()
    first.context.close()
    context.close()
