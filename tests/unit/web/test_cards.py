"""Cards as HTML: what is kept, where addresses lead, and that endless ones end."""

from __future__ import annotations

import pytest

from moongate.web.cards import MAX_CARD_CHARS, CardPlace, card_of

PLACE = CardPlace(
    "/acme/tiny", "v1", "/-/images/models/acme/tiny/blob/v1", "https://hub.example", folder="docs"
)


def html(text: str, place: CardPlace = PLACE) -> str:
    return str(card_of(text, place).html)


def test_markdown_is_kept_and_front_matter_is_not() -> None:
    said = html("---\nlicense: mit\n---\n# Title\n\n*a* **b** ~~c~~ `d`\n\n> e\n\n1. f\n")
    assert "license" not in said
    assert '<h2 id="card-title">Title</h2>' in said
    for part in (
        "<em>a</em>",
        "<strong>b</strong>",
        "<s>c</s>",
        "<code>d</code>",
        "<blockquote>",
        "<li>f</li>",
    ):
        assert part in said


def test_tables_scroll_and_keep_how_they_are_aligned() -> None:
    said = html("| a | b |\n|---|---:|\n| 1 | 2 |\n")
    assert '<div class="scroll" tabindex="0"><table>' in said
    assert '<td align="right">2</td>' in said


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        ("use.md", "/acme/tiny/blob/v1/docs/use.md"),
        ("../LICENSE", "/acme/tiny/blob/v1/LICENSE"),
        ("./a%20b.txt", "/acme/tiny/blob/v1/docs/a%20b.txt"),
        ("/acme/base", "/acme/base"),
        ("https://hub.example/acme/base", "/acme/base"),
        ("https://hub.example", "/"),
        ("https://other.example/x?y=1", "https://other.example/x?y=1"),
        ("mailto:a@b.example", "mailto:a@b.example"),
        ("#how-to", "#card-how-to"),
    ],
)
def test_where_links_lead(address: str, leads: str) -> None:
    assert f'href="{leads}"' in html(f"[x]({address})")


@pytest.mark.parametrize(
    "address", ["javascript:x", "data:text/html,x", "../../x", "/\\evil.example", "file:///x"]
)
def test_addresses_that_lead_nowhere(address: str) -> None:
    assert "href" not in html(f'<a href="{address}">x</a>')


def test_images_come_from_the_repository_or_not_at_all() -> None:
    card = card_of(
        "![a](a.png) ![b](https://hub.example/acme/tiny/resolve/main/b.png) ![c](https://evil.example/c.png) "
        "![d](https://hub.example/acme/other/resolve/main/d.png) ![e](data:image/png;base64,AA==)",
        PLACE,
    )
    assert str(card.html).count("src=") == 2
    assert 'src="/-/images/models/acme/tiny/blob/v1/docs/a.png"' in card.html
    assert 'src="/-/images/models/acme/tiny/blob/v1/b.png"' in card.html
    assert card.blocked_images >= 2


@pytest.mark.parametrize("mark", ["[", "<", "*a ", "_a*", "![](", "<div>", "`a", "&", "|a", "> ", "[a](<b"])
def test_a_card_that_would_take_for_ever_is_cut(mark: str) -> None:
    card = card_of(mark * (MAX_CARD_CHARS // len(mark) + 1), PLACE)
    assert card.is_cut


def test_a_long_honest_card_is_whole() -> None:
    assert not card_of("A [link](x.md) and *words*, `code`.\n\n" * 2000, PLACE).is_cut
