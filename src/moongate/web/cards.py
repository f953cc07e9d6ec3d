"""Strangers' markdown as HTML that can do nothing: no script, style, frame or form, and no request elsewhere.

Three steps, each enough against most of what is evil: markdown becomes HTML; an HTML5 parser rebuilds it from
a list of what is allowed (`nh3`); every address is read here and written anew, so that none keeps a scheme of
its own but http, https and mailto. Images come from the repository itself, by way of an address that sends
nothing but pictures, or not at all. The page's Content-Security-Policy would stop what got through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

MAX_CARD_CHARS: Final = 200_000
"""Longer cards are cut: reading markdown takes time that other requests wait for."""

_MOST_MARKS: Final = {"[": 3000, "<": 6000, "*": 10_000, "_": 10_000, "&": 10_000, "|": 20_000, "`": 10_000}
"""Each of these may begin something that a reader of markdown looks for the end of."""

_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "center", "cite", "code", "dd", "del", "details", "div",
    "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins",
    "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strong", "sub", "summary",
    "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var",
}  # fmt: skip
_UNSEEN = {"script", "style", "template", "noscript", "iframe", "object", "textarea", "title", "svg", "math"}
_ALIGNED = ("div", "p", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "img", "table")
_ATTRIBUTES = {
    **{tag: {"align"} for tag in _ALIGNED},
    "a": {"href", "title"},
    "abbr": {"title"},
    "details": {"open"},
    "div": {"align", "class", "tabindex"},
    "img": {"src", "alt", "title", "width", "height", "align"},
    "ol": {"start", "reversed"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
    **{f"h{level}": {"align", "id"} for level in range(1, 7)},
}
_SCHEMES = {"http", "https", "mailto"}
_NUMBER = re.compile(r"[0-9]{1,4}%?")
_NOT_IN_SLUGS = re.compile(r"[^\w\- ]+")
_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CardPlace:
    """Where a card stands, so that its relative addresses lead somewhere.

    base: the repository's page, `/acme/tiny`. images: where its pictures are had, up to the revision.
    upstream: an address whose links lead to the same place here. folder: of the file, in the repository.
    """

    base: str
    revision: str
    images: str
    upstream: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as HTML, how many images of other sites it wanted, and whether it was longer than we read."""

    html: Markup
    blocked_images: int
    is_cut: bool


def card_of(text: str, place: CardPlace) -> Card:
    """The card of a README; what stands in its front matter is left out."""
    body = _FRONT_MATTER.sub("", text, count=1)
    bounded = _bounded(body)
    rewriter = _Rewriter(place)
    html = _markdown().render(bounded)
    clean = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_UNSEEN - _TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=rewriter,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"pre": {"tabindex": "0"}, "img": {"loading": "lazy"}},
    )
    return Card(Markup(clean), len(rewriter.blocked), len(bounded) < len(body))  # noqa: S704 - it was rebuilt from what is allowed


def _bounded(text: str) -> str:
    """As much of a text as can be read in a moment, whatever is in it."""
    end = min(len(text), MAX_CARD_CHARS)
    for mark, most in _MOST_MARKS.items():
        if text.count(mark, 0, end) > most:
            end = [found.start() for found in re.finditer(re.escape(mark), text[:end])][most]
    return text[:end]


@dataclass(slots=True)
class _Rewriter:
    """Says what each attribute becomes; None leaves it out."""

    place: CardPlace
    blocked: set[str] = field(default_factory=set)

    def __call__(self, tag: str, name: str, value: str) -> str | None:
        if name == "href":
            return self._link(value.strip())
        if name == "src":
            return self._image(value.strip())
        if name == "id":
            return value if value.startswith("card-") else None
        if name in ("class", "tabindex"):
            return value if (name, value) in (("class", "scroll"), ("tabindex", "0")) else None
        if name in ("width", "height"):
            return value if _NUMBER.fullmatch(value) else None
        return value

    def _link(self, value: str) -> str | None:
        if value.startswith("#"):
            return f"#card-{quote(_slug(unquote(value[1:])))}"
        kind, rest = self._read(value)
        if kind == "elsewhere":
            return rest
        if kind == "here":
            return rest
        return (
            None if rest is None else f"{self.place.base}/blob/{quote(self.place.revision, safe='')}/{rest}"
        )

    def _image(self, value: str) -> str | None:
        kind, rest = self._read(value)
        if kind == "inside" and rest is not None:
            return f"{self.place.images}/{rest}"
        if kind == "here" and rest is not None:
            own = re.fullmatch(re.escape(self.place.base) + r"/(?:resolve|raw|blob)/[^/]+/(.+)", rest)
            if own is not None:
                return f"{self.place.images}/{own[1].partition('?')[0]}"
        self.blocked.add(value)
        return None

    def _read(self, value: str) -> tuple[str, str | None]:
        """An address as `elsewhere` (whole), `here` (a path of ours), or `inside` the repository (a path)."""
        upstream = self.place.upstream
        if upstream and (value == upstream or value.startswith(f"{upstream}/")):
            value = value[len(upstream) :] or "/"
        try:
            parts = urlsplit(value)
        except ValueError:
            return "inside", None
        if parts.scheme or parts.netloc:
            return "elsewhere", value if parts.scheme in _SCHEMES else None
        if value.startswith("/"):
            return "here", value if not value.startswith(("//", "/\\")) else None
        path = normpath(f"{self.place.folder}/{unquote(parts.path)}").lstrip("/")
        climbs = path.startswith("..") or path == "." or "\\" in path or any(char < " " for char in path)
        return "inside", None if climbs else quote(path)


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True, "maxNesting": 40}, renderer_cls=_Renderer)
    return markdown.enable(["table", "strikethrough"])


class _Renderer(RendererHTML):
    """Headings one level down, below the page's own, and with a place to link to; tables that scroll."""

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        slug = _slug(tokens[idx + 1].content)
        return f'<h{_level(tokens[idx].tag)} id="card-{quote(slug)}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"</h{_level(tokens[idx].tag)}>\n"

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="scroll" tabindex="0"><table>\n'

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[idx])

    td_open = th_open

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"


def _cell(token: Token) -> str:
    """A cell's start; how it is aligned as an attribute, since styles of its own are not kept."""
    align = str(token.attrGet("style") or "").partition("text-align:")[2]
    return f'<{token.tag} align="{align}">' if align else f"<{token.tag}>"


def _level(tag: str) -> int:
    return min(6, int(tag[1]) + 1)


def _slug(text: str) -> str:
    return _NOT_IN_SLUGS.sub("", text.strip().lower()).replace(" ", "-")[:120]
