"""The icons of all pages: strokes on a grid of 24, in the colour of the text around them."""

# ruff: noqa: E501 - a path is one word
from __future__ import annotations

from markupsafe import Markup

_SHAPES = {
    "model": "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
    "dataset": "M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zM4 6v6c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12v6"
    "c0 1.7 3.6 3 8 3s8-1.3 8-3v-6",
    "space": "M3 5h18v14H3zM3 9.5h18M6.2 7.3h.01M9 7.3h.01",
    "search": "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L20 20",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "check": "M5 12.5l4.5 4.5L19 7.5",
    "sun": "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3"
    "l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
    "moon": "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
    "screen": "M3 5h18v11H3zM8 20h8M12 16v4",
    "file": "M6 3h8l4 4v14H6zM14 3v4h4",
    "folder": "M3 6h6l2 2.5h10V19H3z",
    "commit": "M12 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM3 12h5.5M15.5 12H21",
    "branch": "M7 4v11M17 7.5c0 5-10 3-10 7.5M7 15a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5zM17 3a2.2 2.2 0 1 1 0 4.4"
    " 2.2 2.2 0 0 1 0-4.4z",
    "tag": "M3.5 3.5h8l9 9-8 8-9-9zM8 8h.01",
    "download": "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 20h14",
    "lock": "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
    "gate": "M5 21V11a7 7 0 0 1 14 0v10M3 21h18M9.5 21v-9.5a2.5 2.5 0 0 1 5 0V21",
    "shield": "M12 3l8 3v6c0 4.5-3.3 7.6-8 9-4.7-1.4-8-4.5-8-9V6z",
    "shield-check": "M12 3l8 3v6c0 4.5-3.3 7.6-8 9-4.7-1.4-8-4.5-8-9V6zM8.5 12l2.5 2.5 4.5-5",
    "alert": "M12 4l9 16H3zM12 10v4.5M12 17.3h.01",
    "stop": "M8 3h8l5 5v8l-5 5H8l-5-5V8zM9 9l6 6M15 9l-6 6",
    "question": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.4 2.4c-.6.3-.9.7-.9 1.6M12 16.6h.01",
    "user": "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4.5 20c.8-3.6 3.8-5.5 7.5-5.5s6.7 1.9 7.5 5.5",
    "team": "M9 5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM2.5 19.5c.6-3.2 3.2-5 6.5-5s5.9 1.8 6.5 5M15.5 5.4a3.5 3.5 0 "
    "0 1 0 6.2M18 14.9c1.9.7 3.1 2.3 3.5 4.6",
    "key": "M8 11a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM10.8 12.2L19 4M15.5 7.5l3 3",
    "clock": "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM12 7.5V12l3 2",
    "pin": "M9 3.5h6l-1 6 3.5 4h-11l3.5-4zM12 13.5v7",
    "home": "M4 11l8-7 8 7v9h-5.5v-6h-5v6H4z",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "arrow": "M5 12h14M13 6l6 6-6 6",
    "out": "M14 4h6v6M20 4l-9 9M17 14v6H4V7h6",
    "scales": "M12 4v16M7 20h10M5 7h14M5 7l-3 7h6zM19 7l-3 7h6z",
    "stack": "M12 3l9 4.5-9 4.5-9-4.5zM3 12l9 4.5 9-4.5M3 16.5L12 21l9-4.5",
    "bolt": "M13 3L5 13.5h6L10 21l8-10.5h-6z",
    "list": "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
    "bell": "M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 2h-15zM10 18.5a2 2 0 0 0 4 0",
    "seal": "M12 3l2.3 1.7 2.8-.2.8 2.7 2.3 1.6-.9 2.7.9 2.7-2.3 1.6-.8 2.7-2.8-.2L12 20l-2.3-1.7-2.8.2-.8-2.7-2.3-1.6"
    ".9-2.7-.9-2.7 2.3-1.6.8-2.7 2.8.2zM8.8 11.6l2.3 2.3 4.2-4.6",
    "refresh": "M19.5 12a7.5 7.5 0 0 1-13.6 4.3M4.5 12a7.5 7.5 0 0 1 13.6-4.3M18.5 3.5v4.4h-4.4M5.5 20.5v-4.4h4.4",
    "radar": "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM12 7.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM12 12l6-6",
    "send": "M4 12l16-8-5 16-3-7zM12 13l8-9",
    "undo": "M8 5L4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
}


def icon(name: str) -> Markup:
    """The icon of that name. It says nothing to a screen reader: words stand beside it, or a label on it."""
    return Markup(
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
        '<path d="{}" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" '
        'stroke-linejoin="round"/></svg>'
    ).format(_SHAPES[name])
