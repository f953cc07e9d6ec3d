"""Lists as administrators have them: `sha256,label,source,tlp,expires`, or one value a line.

A first line that names columns is believed; besides those, `confidence` is known. Lines of sha256sum are
read, too. A value may also be `repo:ns/name`, `author:ns` or an address at the Hub. Lines that begin with
`#` or `;` are comments.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from moongate.core.errors import UpstreamBroken
from moongate.core.hits import Indicator
from moongate.scan.feeds.words import confidence_of, indicator_of, label_of, seconds_of, tlp_of

_COLUMNS: Final = ("sha256", "label", "source", "tlp", "expires")
_VALUES: Final = ("sha256", "sha256_hash", "md5", "hash", "indicator", "value", "ioc")
_MOST_UNREADABLE: Final = 0.5
_LONGEST_LINE: Final = 4096


def read_hash_list(body: bytes, confidence: int) -> list[Indicator]:
    """What the list says.

    Raises:
        UpstreamBroken: it is no text, or most of its lines are nothing that such a list holds.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UpstreamBroken("the list is not text") from None
    columns: tuple[str, ...] = _COLUMNS
    found: list[Indicator] = []
    unreadable = 0
    for number, cells in enumerate(_rows(text.splitlines())):
        if number == 0 and (named := _header(cells)):
            columns = named
            continue
        indicator = _indicator(dict(zip(columns, cells, strict=False)), cells, confidence)
        if indicator is None:
            unreadable += 1
        else:
            found.append(indicator)
    if unreadable > _MOST_UNREADABLE * (unreadable + len(found)):
        raise UpstreamBroken(f"{unreadable} lines of the list are neither hash, repository nor author")
    return found


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    kept = (
        line for line in lines if line.strip() and not line.lstrip().startswith(("#", ";"))
        and len(line) <= _LONGEST_LINE
    )  # fmt: skip
    try:
        for row in csv.reader(kept, skipinitialspace=True):
            yield [cell.strip() for cell in row]
    except csv.Error:
        raise UpstreamBroken("the list is not CSV") from None


def _header(cells: list[str]) -> tuple[str, ...] | None:
    names = tuple(cell.lower().strip(' "') for cell in cells)
    return names if any(name in _VALUES for name in names) else None


def _indicator(row: Mapping[str, str], cells: list[str], confidence: int) -> Indicator | None:
    value = next((row[name] for name in _VALUES if row.get(name)), "")
    label = label_of(row.get("label"), row.get("signature"), row.get("malware"))
    if len(cells) == 1 and " " in value:
        value, _, rest = value.partition(" ")
        label = label_of(rest.lstrip(" *"))
    told = Indicator(
        "sha256",
        "",
        label,
        confidence_of(row.get("confidence") or None, confidence),
        tlp_of([row.get("tlp", "")]),
        seconds_of(row.get("expires")),
        label_of(row.get("source")),
    )
    return indicator_of(value, told)
