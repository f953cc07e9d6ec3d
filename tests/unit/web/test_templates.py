"""Pages as text: everything from outside is escaped, nothing is fetched from elsewhere, assets are kept."""

from __future__ import annotations

import re
from dataclasses import replace

from moongate.web import assets
from moongate.web.frame import SECURITY_HEADERS, Frame, Visitor
from moongate.web.templating import render
from moongate.web.views import FillLine, HomeView, RepoLine

FRAME = Frame(Visitor("This machine", "admin", is_local=True, signed_in=False), "", "0" * 40, "/")
LINE = RepoLine(
    name="acme/tiny",
    href="/acme/tiny",
    kind="model",
    hosted=False,
    files=3,
    size_bytes=5_000_000,
    own_bytes=5_000_000,
    idle_seconds=30.0,
    pinned=True,
)
VIEW = HomeView(
    endpoint="http://localhost:8080",
    upstream="https://huggingface.co",
    offline=False,
    upstream_trouble="",
    upstream_heard=True,
    served_bytes=3e9,
    fetched_bytes=1e9,
    requests=200,
    hits=150,
    store_bytes=10**9,
    quota_bytes=0,
    free_bytes=10**11,
    repo_count=1,
    repos=[LINE],
    more_repos=0,
    filling=[],
    live=True,
)


def home(view: HomeView, frame: Frame = FRAME) -> str:
    return render("home", frame, "Moongate", view=view).decode()


def test_upstream_is_called_fine_only_once_it_has_answered() -> None:
    assert "which is fine" in home(VIEW)
    assert "was not asked yet" in home(replace(VIEW, upstream_heard=False))


def test_it_says_how_to_use_it_and_what_is_kept() -> None:
    text = home(VIEW)
    for words in ("export HF_ENDPOINT=http://localhost:8080", "acme/tiny", "pinned", "5.0 MB", "75%"):
        assert words in text
    assert "Nothing yet" in home(replace(VIEW, repos=[]))


def test_nothing_from_outside_becomes_markup() -> None:
    evil = "<script>alert(1)</script>\"&'"
    view = replace(
        VIEW,
        endpoint=evil,
        upstream=evil,
        upstream_trouble=evil,
        repos=[replace(LINE, name=evil, href=evil)],
        filling=[FillLine(evil, 1, 2)],
    )
    visitor = Visitor(evil, evil, is_local=False, signed_in=True)
    frame = replace(FRAME, visitor=visitor, path=evil, notice=evil)
    for page in (home(view, frame), home(replace(view, offline=True), frame)):
        assert len(re.findall("<script", page)) == 1
        assert 'href="<' not in page


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = home(VIEW)
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", text)
    assert 'style="' not in text
    policy = dict(SECURITY_HEADERS)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_assets_are_found_by_the_address_that_pages_have() -> None:
    for name in ("moongate.css", "main.js", "moon.svg"):
        found = assets.find(assets.address(name))
        assert found is not None
        assert found.body
    assert assets.find(f"{assets.PREFIX}{'0' * 16}/main.js") is None
    assert assets.find(assets.address("../frame.py")) is None


def test_every_module_that_a_module_asks_for_is_there() -> None:
    for name, asset in assets.assets().items():
        if name.endswith(".js"):
            for wanted in re.findall(rb'from "\./([a-z_]+\.js)"', asset.body):
                assert wanted.decode() in assets.assets()
