"""From a template and values to the bytes of a page. Everything is escaped; an undefined name is an error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from moongate import __version__
from moongate.web import assets, plots
from moongate.web.frame import Frame
from moongate.web.icons import icon
from moongate.web.words import (
    ago_words,
    count_words,
    exact_words,
    iso_words,
    moment_words,
    sentence_words,
    share_words,
    since_words,
    size_words,
)

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, frame: Frame, title: str, **values: object) -> bytes:
    """A whole page, as UTF-8. `template` is a name in `templates/`, without its ending."""
    page = _environment().get_template(f"{template}.html")
    return page.render(frame=frame, title=title, **values).encode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - a start need not wait for it

    environment = Environment(
        loader=PackageLoader("moongate.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "size": size_words,
        "ago": ago_words,
        "since": since_words,
        "moment": moment_words,
        "exact": exact_words,
        "iso": iso_words,
        "count": count_words,
        "pathed": quote,
        "sentence": sentence_words,
    }
    environment.globals |= {
        "asset": assets.address,
        "icon": icon,
        "share": share_words,
        "plot_bar": plots.bar,
        "plot_ring": plots.ring,
        "plot_verdicts": plots.verdicts,
        "version": __version__,
    }
    return environment
