"""Cards that mean harm, in a real browser: none asks, runs, or reaches for anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support.pages import Stage, staged, watched

P = "window.pwned=1;alert(1)"
U = "https://elsewhere.example/x"

EVIL = (
    f"<script>{P}</script>",
    f"<script src={U}.js></script>",
    f"<scr<script>ipt>{P}</script>",
    f"<SCRIPT/XSS SRC={U}></SCRIPT>",
    f"<script\x0c>{P}</script>",
    f"<<script>{P};//<</script>",
    f"</p><script>{P}</script><p>",
    f"<img src=x onerror={P}>",
    f"<img src=x onerror=\"{P}\">",
    f"<img/src='x'/onerror='{P}'>",
    f"<img src={U}.png onload={P}>",
    f"<img src=\"javascript:{P}\">",
    f"<img srcset='{U} 1x'>",
    "<img src='//elsewhere.example/x.png'>",
    "<img src='/\\elsewhere.example/x.png'>",
    f"<img src='data:image/svg+xml,<svg onload={P}>'>",
    "<img src='data:text/html;base64,PHNjcmlwdD4='>",
    f"<img alt='`><script>{P}</script>'>",
    f"<svg onload={P}>",
    f"<svg><script>{P}</script></svg>",
    f"<svg><a xlink:href='javascript:{P}'><text y=20>x</text></a></svg>",
    f"<svg><animate onbegin={P} attributeName=x dur=1s>",
    f"<svg><set attributeName=href to=javascript:{P}>",
    f"<svg><use href='data:image/svg+xml,<svg id=x><script>{P}</script></svg>#x'/></svg>",
    f"<svg><foreignObject><iframe onload={P}></iframe></foreignObject></svg>",
    f"<svg><style><img src=x onerror={P}></style></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={P}></style></mglyph></table></mtext></math>",
    f"<math href='javascript:{P}'>x</math>",
    f"<iframe src='javascript:{P}'></iframe>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    f"<iframe src={U}></iframe>",
    f"<frameset onload={P}>",
    f"<object data='javascript:{P}'></object>",
    f"<object data={U}></object>",
    f"<embed src={U}>",
    f"<applet code={U}></applet>",
    f"<video src={U} onerror={P} autoplay></video>",
    f"<video poster={U}></video>",
    f"<video><source onerror={P}></video>",
    f"<audio src={U} onerror={P} autoplay></audio>",
    f"<body onload={P}>",
    f"<body background={U}>",
    f"<table background={U}><tr><td background={U}>x</td></tr></table>",
    f"<link rel=stylesheet href={U}.css>",
    f"<link rel=preload href={U} as=image>",
    f"<link rel=prefetch href={U}>",
    f"<link rel=import href={U}>",
    f"<meta http-equiv=refresh content='0;url={U}'>",
    f"<meta http-equiv=refresh content='0;url=javascript:{P}'>",
    "<base href=https://elsewhere.example/>",
    f"<style>@import '{U}.css';</style>",
    f"<style>body{{background:url({U})}}</style>",
    f"<style>@font-face{{font-family:x;src:url({U})}} *{{font-family:x}}</style>",
    f"<p style='background:url({U})'>x</p>",
    "<p style='position:fixed;inset:0;z-index:99'>x</p>",
    f"<div style=\"width:expression({P})\">x</div>",
    f"[x](javascript:{P})",
    f"[x](JaVaScRiPt:{P})",
    f"[x](&#106;avascript:{P})",
    f"[x](java\tscript:{P})",
    f"[x](vbscript:{P})",
    f"[x](data:text/html,<script>{P}</script>)",
    f"[x](<javascript:{P}>)",
    f"[x][y]\n\n[y]: javascript:{P}",
    f"![x](javascript:{P})",
    f"![x]({U}.png)",
    "![x](//elsewhere.example/y.png)",
    f"![x](\"onerror=\"{P})",
    f"<javascript:{P}>",
    f"<a href='javascript:{P}' autofocus onfocus={P}>x</a>",
    f"<a href='java&#10;script:{P}'>x</a>",
    f"<a href=' \x01javascript:{P}'>x</a>",
    f"<a href='&#x6A;avascript:{P}'>x</a>",
    f"<a onmouseover={P}>x</a>",
    f"<a href=x ping={U}>x</a>",
    f"<a href=x target=_top onclick={P}>x</a>",
    f"<form action={U}><button autofocus>x</button></form>",
    f"<form action='javascript:{P}'><input type=submit></form>",
    f"<input autofocus onfocus={P}>",
    f"<input type=image src={U}>",
    f"<button formaction='javascript:{P}'>x</button>",
    f"<select autofocus onfocus={P}>",
    f"<textarea autofocus onfocus={P}>",
    f"<keygen autofocus onfocus={P}>",
    f"<details open ontoggle={P}>x</details>",
    f"<marquee onstart={P}>x</marquee>",
    f"<isindex action='javascript:{P}' type=image>",
    f"<noscript><p title='</noscript><img src=x onerror={P}>'>",
    f"<template><script>{P}</script></template>",
    f"<xmp><img src=x onerror={P}></xmp>",
    f"<plaintext><img src=x onerror={P}>",
    f"<title><img title='</title><img src=x onerror={P}>'></title>",
    f"<textarea></textarea><img src=x onerror={P}>",
    f"<!--><img src=x onerror={P}>-->",
    f"<!--[if gte IE 4]><script>{P}</script><![endif]-->",
    f"<![CDATA[<img src=x onerror={P}>]]>",
    f"<?xml version='1.0'?><img src=x onerror={P}>",
    "<p id=said class=menu name=csrf tabindex=9>clobbered</p><img name=getElementById src=x>",
    "<h2 id='main'>x</h2><a name=said></a>",
    f"```html\n<script>{P}</script>\n```\n`<img src=x onerror={P}>`",
    f"<p title=\"x' onmouseover='{P}\">x</p>",
    f"|a|b|\n|-|-|\n|<img src=x onerror={P}>|[x](javascript:{P})|",
    f"---\ntitle: <script>{P}</script>\n---\n<img src=x onerror={P}>",
    f"<div><a href=\"https://ok.example\" style=\"position:fixed\" onclick={P}>x",
    f"<dialog open onclose={P}><form method=dialog></form></dialog>",
    f"<img src=x usemap=#m><map name=m><area href='javascript:{P}' shape=default></map>",
    f"<portal src={U}></portal><fencedframe src={U}></fencedframe>",
)  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(set(EVIL)) >= 100


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gateway that judges nothing, since one that does holds many of these cards before they are shown."""
    with staged(tmp_path_factory.mktemp("evil"), guard="off") as stage:
        stage.push("lab/evil", {f"cards/{number:03}.md": card.encode() for number, card in enumerate(EVIL)})
        stage.push("lab/evil", {"README.md": "\n\n".join(EVIL).encode()})
        yield stage


def test_no_evil_card_does_anything(evil: Stage, browser: Browser) -> None:
    context = browser.new_context()
    watch = watched(context, evil.url)
    for number, card in enumerate(EVIL):
        page = watch.open(f"{evil.url}/lab/evil/blob/main/cards/{number:03}.md")
        left = page.evaluate(
            """() => {
                const card = document.querySelector(".prose");
                const bad = [...card.querySelectorAll("*")].flatMap((one) => [
                    ...(/^(script|style|iframe|object|embed|form|input|svg|link|meta|base)$/i.test(one.tagName)
                        ? [one.tagName] : []),
                    ...[...one.attributes].map((a) => a.name).filter((a) => /^(on.*|style|ping)$/i.test(a)),
                    ...(/^(javascript|data|vbscript):/i.test(one.href || "") ? [one.href] : []),
                ]);
                for (const a of card.querySelectorAll("a")) a.dispatchEvent(new MouseEvent("mouseover"));
                return { bad, pwned: window.pwned };
            }"""
        )
        assert left == {"bad": [], "pwned": None}, card
        assert watch.dialogs == [], card
        assert watch.foreign == [], card
        blocked = [line for line in watch.said if "404" not in line]
        assert blocked == [], card
    context.close()


def test_all_of_them_in_one_card_do_nothing_either(evil: Stage, browser: Browser) -> None:
    context = browser.new_context()
    watch = watched(context, evil.url)
    page = watch.open(evil.url + "/lab/evil")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.pwned") is None
    assert watch.dialogs == watch.foreign == []
    # the page around it is still ours
    page.locator(".menu > summary").click()
    assert page.get_by_role("link", name="Tokens").is_visible()
    assert page.locator("#main").count() == page.locator("#said").count() == 1
    context.close()
