"""The status page at `/`: how to use this gateway, how it is, and what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from moongate.web.html import ago_words, page, size_words

_MOST_ROWS = 200
_HINT = (
    '<p class="soft">Set this where Hub clients run: <code>hf</code>, transformers, datasets, diffusers, '
    "llama.cpp and others then fetch through here.</p>"
)
_EMPTY = (
    '<h2>Kept here</h2><p class="soft">Nothing yet. The first client that asks for something brings it here; '
    "so does <code>moongate pull</code>.</p>"
)


@dataclass(frozen=True, slots=True)
class RepoLine:
    """One repository: its name as people type it, files and bytes here, seconds since it was last read."""

    name: str
    files: int
    size_bytes: int
    own_bytes: int
    idle_seconds: float | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class FillLine:
    """One file on its way."""

    name: str
    present_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StatusView:
    """All that the page shows.

    upstream_trouble: why upstream failed lately; empty when it did not. `repos` is None for a visitor who may
    not see what is kept.
    """

    endpoint: str
    upstream: str
    offline: bool
    upstream_trouble: str
    served_bytes: float
    fetched_bytes: float
    requests: float
    hits: float
    store_bytes: int
    quota_bytes: int
    free_bytes: int
    repos: Sequence[RepoLine] | None
    filling: Sequence[FillLine]


def status_page(view: StatusView) -> bytes:
    """The page, as UTF-8."""
    parts = [
        f'<code class="line">export HF_ENDPOINT={escape(view.endpoint)}</code>',
        _HINT,
        _cards(view),
    ]
    if view.filling:
        parts.append(_filling(view.filling))
    if view.repos is not None:
        parts.append(_repos(view.repos))
    return page("Moongate", _upstream_words(view), "".join(parts)).encode()


def _upstream_words(view: StatusView) -> str:
    return "offline" if view.offline else f"in front of {view.upstream}"


def _cards(view: StatusView) -> str:
    share = f"{view.hits / view.requests:.0%}" if view.requests else "–"
    quota = f" <small>of {size_words(view.quota_bytes)}</small>" if view.quota_bytes else ""
    if view.offline:
        upstream = "<span>not asked</span>"
    elif view.upstream_trouble:
        upstream = f'<span class="bad">failing</span> <small>{escape(view.upstream_trouble)}</small>'
    else:
        upstream = '<span class="good">fine</span>'
    cards = (
        ("Served to clients", size_words(view.served_bytes)),
        ("Fetched from upstream", size_words(view.fetched_bytes)),
        ("Answered from here", f"{share} <small>of {view.requests:,.0f} requests</small>"),
        ("Kept", size_words(view.store_bytes) + quota),
        ("Free on disk", size_words(view.free_bytes)),
        ("Upstream", upstream),
    )
    return '<dl class="cards">' + "".join(f"<div><dt>{t}</dt><dd>{d}</dd></div>" for t, d in cards) + "</dl>"


def _filling(lines: Sequence[FillLine]) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(line.name)}</td><td class="n">{size_words(line.present_bytes)}</td>'
        f'<td class="n">{size_words(line.size_bytes)}</td></tr>'
        for line in lines
    )
    head = '<tr><th>file</th><th class="n">here</th><th class="n">size</th></tr>'
    return f"<h2>Being fetched</h2>{_table(head, rows)}"


def _repos(lines: Sequence[RepoLine]) -> str:
    if not lines:
        return _EMPTY
    ordered = sorted(lines, key=lambda line: -line.size_bytes)[:_MOST_ROWS]
    rows = "".join(map(_repo_row, ordered))
    head = (
        '<tr><th>repository</th><th class="n">files</th><th class="n">size</th>'
        '<th class="n">alone</th><th class="n">last read</th></tr>'
    )
    more = len(lines) - len(ordered)
    rest = f'<p class="soft">and {more:,} more; <code>moongate ls</code> lists all.</p>' if more else ""
    return f"<h2>Kept here</h2>{_table(head, rows)}{rest}"


def _repo_row(line: RepoLine) -> str:
    pinned = " · pinned" if line.pinned else ""
    return (
        f'<tr><td class="name">{escape(line.name)}{pinned}</td><td class="n">{line.files:,}</td>'
        f'<td class="n">{size_words(line.size_bytes)}</td><td class="n">{size_words(line.own_bytes)}</td>'
        f'<td class="n">{ago_words(line.idle_seconds)}</td></tr>'
    )


def _table(head: str, rows: str) -> str:
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
