"""The SPDX identifiers of the licences that cards name."""

from __future__ import annotations

from typing import Final

_IDENTIFIERS: Final = """
    AFL-3.0 AGPL-3.0-only Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0
    C-UDA-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-
    ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-
    BY-SA-4.0 CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 EPL-2.0
    EUPL-1.1 EUPL-1.2 GPL-2.0-only GPL-3.0-only ISC LGPL-2.1-only LGPL-3.0-only LPPL-1.3c MIT MPL-2.0
    MS-PL NCSA ODbL-1.0 OFL-1.1 OSL-3.0 PDDL-1.0 PostgreSQL Unlicense WTFPL Zlib etalab-2.0
"""
_ALIASES: Final = {
    "agpl-3.0": "AGPL-3.0-only", "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only", "c-uda": "C-UDA-1.0",
    "lgpl-2.1": "LGPL-2.1-only", "lgpl-3.0": "LGPL-3.0-only", "odbl": "ODbL-1.0", "pddl": "PDDL-1.0",
}  # fmt: skip
_BY_WORD: Final = {one.lower(): one for one in _IDENTIFIERS.split()}


def spdx_licence(word: str) -> str | None:
    """The SPDX identifier of a card's word; None where SPDX has none, as for vendors' own terms."""
    lower = word.lower()
    return _ALIASES.get(lower) or _BY_WORD.get(lower)


def licence_expression(word: str) -> str:
    """An SPDX expression for a card's word; a reference of our own where SPDX has none."""
    known = spdx_licence(word)
    if known is not None:
        return known
    safe = "".join(char if char.isalnum() or char in "-." else "-" for char in word).strip("-.")
    return f"LicenseRef-{safe}" if safe else "NOASSERTION"
