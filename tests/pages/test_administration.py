"""Webhooks, feeds and a repository's papers, looked after in a real browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page

from moongate.store.index import Index
from moongate.store.layout import Layout
from support.front import until
from support.pages import MOONGATE, Stage, entered, overflow, serious, watched


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of somebody who takes events, and the headers of what came."""
    came: list[dict[str, str]] = []

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            came.append(dict(self.headers))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Takes)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/in", came
    server.shutdown()
    server.server_close()


def saved(page: Page, name: str) -> str:
    """What a download holds."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    return Path(download.value.path()).read_text()


def test_a_webhook_is_added_tried_and_removed(
    closed: Stage, browser: Browser, received: tuple[str, list[dict[str, str]]]
) -> None:
    url, came = received
    page = entered(browser, closed, "root", script=False)
    page.goto(closed.url + "/-/webhooks")
    page.get_by_label("Address").fill("http://10.0.0.1/")
    page.get_by_role("button", name="Add the webhook").click()
    assert page.get_by_role("alert").is_visible()
    page.get_by_label("Address").fill(url)
    page.get_by_label("Note").fill("<b>ours</b>")
    page.get_by_text("Only some events").click()
    page.get_by_label("recall.started").check()
    page.get_by_role("button", name="Add the webhook").click()
    secret = page.locator("#secret").inner_text()
    assert len(secret) > 30
    page.get_by_role("button", name="Send a test event").click()
    assert page.get_by_text("The test event was taken.").is_visible()
    assert came[-1]["Moongate-Signature"].startswith("t=")
    assert secret not in page.content(), "shown once"
    told = page.locator("section", has_text=url).first
    assert told.get_by_text("recall.started").first.is_visible()
    assert "<b>ours</b>" in told.inner_text()
    page.get_by_role("button", name="Remove").click()
    assert "Nobody is told" in page.locator("main").inner_text()
    page.goto(closed.url + "/-/audit?kind=webhook.create")
    assert page.locator(".audit li", has_text="root").count() == 1
    assert "/in" not in page.locator(".audit").inner_text(), "of the address its host alone"
    page.context.close()


def test_feeds_are_fetched_and_what_is_held_is_decided(
    closed: Stage, browser: Browser, tmp_path: Path
) -> None:
    listed = tmp_path / "bad.csv"
    listed.write_text("a" * 64 + "\n")
    add = [str(MOONGATE), "feed", "add", "ours", str(listed), "--kind", "hashes"]
    subprocess.run([*add, "--home", str(closed.gateway.home)], check=True, capture_output=True)
    page = entered(browser, closed, "root", script=False)
    page.goto(closed.url + "/-/feeds")
    index = Index(Layout(closed.gateway.home).index_path)

    def said_to_fetch() -> str:
        page.get_by_role("button", name="Fetch ours now").click()
        return page.get_by_role("status").first.inner_text()

    until(lambda: "nothing is new" in said_to_fetch())  # the gateway may have been first: it was due
    listed.write_text("b" * 64 + "\n")
    assert "what it holds now counts" in said_to_fetch()
    assert page.get_by_text("1 indicator", exact=True).is_visible()
    for decision, wanted in (("Forget", "1 indicator"), ("Let", "0")):
        feed = index.feed("ours")
        assert feed is not None
        index.hold_generation(
            "ours", index.begin_generation("ours", None), "it is empty now", feed.generation
        )
        page.goto(closed.url + "/-/feeds")
        assert page.get_by_text("it is empty now").is_visible()
        page.get_by_role("button", name=decision).click()
        said = page.locator("main").inner_text()
        assert "it is empty now" not in said
        assert ("1 indicator" in said) == (wanted != "0"), decision
    index.close()
    page.goto(closed.url + "/-/audit?kind=feed.change")
    assert "what was held: refuse" in page.locator("main").inner_text()
    page.context.close()


def test_a_commit_is_signed_and_its_papers_are_taken_along(closed: Stage, browser: Browser) -> None:
    page = entered(browser, closed, "root")
    page.goto(closed.url + "/lab/tickets")
    page.get_by_role("link", name="Provenance").click()
    assert page.get_by_role("heading", name="Not signed").is_visible()
    assert json.loads(saved(page, "Download CycloneDX"))["bomFormat"] == "CycloneDX"
    assert "@graph" in json.loads(saved(page, "Download SPDX"))
    page.get_by_role("button", name="Sign every file").click()
    assert page.get_by_role("heading", name="Signed", exact=True).is_visible()
    page.get_by_role("button", name="State what happened").click()
    statements = saved(page, "Download in-toto").splitlines()
    assert [json.loads(line)["payloadType"] for line in statements] == ["application/vnd.in-toto+json"] * 2
    signature = saved(page, "Download model.sig")
    closed.push("lab/tickets", {"model.sig": signature.encode(), "loader.py": b"x = 1\n"})
    page.goto(closed.url + "/-/provenance?repo=lab/tickets")
    assert page.get_by_role("heading", name="Signed, but for 1 file").is_visible()
    assert page.locator(".paths", has_text="Nobody vouches for").get_by_text("loader.py").is_visible()
    page.context.close()


def test_what_tells_who_received_it_is_for_administrators(closed: Stage, browser: Browser) -> None:
    page = entered(browser, closed, "bob")
    for path, status in (
        ("/-/provenance?repo=lab/tickets", 200),
        ("/-/provenance?repo=lab/secret", 404),
        ("/-/provenance/paper?repo=lab/tickets&what=statements", 403),
        ("/-/provenance/paper?repo=lab/secret&what=spdx", 404),
        ("/-/provenance/paper?repo=lab/tickets&what=nothing", 400),
        ("/-/provenance?repo=lab/tickets&revision=%00", 400),
        ("/-/webhooks", 403),
        ("/-/feeds", 403),
    ):
        answer = page.goto(closed.url + path)
        assert answer is not None
        assert answer.status == status, path
    page.goto(closed.url + "/-/provenance?repo=lab/tickets")
    assert page.get_by_role("button", name="Sign every file").count() == 0
    page.context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_the_pages_are_whole_and_for_everybody(
    closed: Stage, browser: Browser, scheme: str, width: int
) -> None:
    first = entered(browser, closed, "root")
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800},
        storage_state=first.context.storage_state(),
    )
    watch = watched(context, closed.url)
    for path in ("/-/provenance?repo=lab/tickets", "/-/feeds", "/logout"):
        page = watch.open(closed.url + path)
        assert page.locator("h1").count() == 1, path
        assert serious(page) == [], path
        assert overflow(page) <= 0, path
        watch.is_calm()
    first.context.close()
    context.close()
