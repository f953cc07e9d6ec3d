"""Every page, dark and light, wide and on a telephone: whole, calm, and for everybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from support.pages import COLOURS, Stage, Watched, overflow, serious, watched

PAGES = {
    "home": "/",
    "models": "/models",
    "datasets": "/datasets",
    "spaces": "/spaces",
    "search": "/models?search=tick",
    "everywhere": "/models?where=everywhere&search=tiny",
    "nothing": "/models?search=nothing-of-that-name",
    "namespace": "/lab",
    "hosted": "/lab/tickets",
    "proxied": "/acme/tiny",
    "dataset": "/datasets/acme/rows",
    "private": "/lab/secret",
    "files": "/lab/tickets/tree/main",
    "history": "/lab/tickets/commits/main",
    "text": "/lab/tickets/blob/main/config.json",
    "markdown": "/lab/tickets/blob/main/README.md",
    "tensors": "/lab/tickets/blob/main/model.safetensors",
    "tokens": "/-/tokens",
    "namespaces": "/-/namespaces",
    "sign-in": "/-/sign-in",
    "sign-out": "/logout",
    "security": "/-/security",
    "repo-security": "/-/security/repo?repo=lab/tickets",
    "provenance": "/-/provenance?repo=lab/tickets",
    "approvals": "/-/approvals",
    "policy": "/-/policy",
    "feeds": "/-/feeds",
    "audit": "/-/audit",
    "recalls": "/-/recalls",
    "webhooks": "/-/webhooks",
}
SCREENS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}, "has_touch": True},
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == "light" else pytest.mark.long) for name in SCREENS],
)
def context(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(**SCREENS[request.param])
    yield opened
    opened.close()


@pytest.fixture
def watch(context: BrowserContext, stage: Stage) -> Iterator[Watched]:
    watch = watched(context, stage.url)
    yield watch
    watch.page.close()


def is_dark_and_wide(page: Page) -> bool:
    """Whether nothing but colours differs from what the light screen shows."""
    return bool(page.evaluate("innerWidth > 999 && matchMedia('(prefers-color-scheme: dark)').matches"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_calm_and_for_everybody(name: str, watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + PAGES[name])
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == page.locator("footer").count() == 1
    assert serious(page, COLOURS if is_dark_and_wide(page) else None) == []
    assert overflow(page) <= 0
    watch.is_calm()


def test_an_open_menu_is_for_everybody_too(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/")
    page.locator(".menu > summary").click()
    assert page.get_by_role("link", name="Tokens").is_visible()
    assert serious(page) == []
    assert overflow(page) <= 0
    page.keyboard.press("Escape")
    assert not page.get_by_role("link", name="Tokens").is_visible()


def test_a_page_that_is_not_there_says_so(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/lab/nothing-here", status=404)
    assert "Repository not found" in page.locator("main").inner_text()
    assert serious(page) == []


def test_the_keyboard_goes_past_the_navigation_and_into_the_search(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/lab/tickets")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "search"
    page.keyboard.type("tick")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models?search=tick")
    assert page.get_by_role("link", name="lab/tickets").is_visible()


def test_what_a_repository_says_of_itself(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/lab/tickets")
    said = page.locator("main").inner_text()
    for words in (
        "A small model",
        "hf download lab/tickets",
        "apache-2.0",
        "acme/tiny",
        "1 image of",
    ):
        assert words in said
    assert page.locator("aside li", has_text="BF16").is_visible()
    chart = page.get_by_role("img", name="chart")
    assert chart.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    page.get_by_role("link", name="the notes").click()
    assert page.get_by_role("heading", name="Notes").is_visible()


def test_a_file_shows_its_tensors_and_can_be_had(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/lab/tickets/blob/main/model.safetensors")
    assert page.get_by_role("row", name="w BF16 64 × 32").is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "model.safetensors"
    assert download.value.path().stat().st_size > 4096


def test_the_first_page_follows_what_happens(watch: Watched, stage: Stage) -> None:
    page = watch.open(stage.url + "/")
    before = page.locator("[data-live=requests]").inner_text()
    other = page.context.request.get(stage.url + "/api/models/acme/tiny")
    assert other.ok
    page.wait_for_function("before => document.querySelector('[data-live=requests]').textContent !== before",
                           arg=before)  # fmt: skip


def test_the_theme_is_kept(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(stage.url + "/models")
    page.locator(".menu > summary").click()
    with page.expect_response("**/-/theme"):
        page.get_by_role("button", name="Dark").click()
    ink = page.evaluate("getComputedStyle(document.body).color")
    page.goto(stage.url + "/")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).color") == ink
    context.close()


def test_the_address_is_copied(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(stage.url + "/")
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("document.getElementById('said').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == f"export HF_ENDPOINT={stage.url}"
    context.close()
