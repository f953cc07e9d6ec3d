"""Which group a licence belongs to, so that rules can speak of groups: permissive, copyleft, non-commercial.

Keys are the lower-case words of the Hub's cards; where such a word is an SPDX identifier, it is that one in
lower case. Groups follow the licences' own texts; a group is help with sorting, not legal advice.

Source: SPDX licence list (identifiers); the Hub's documentation of licences (the words of cards).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

LicenceGroup: TypeAlias = Literal[
    "permissive", "weak-copyleft", "copyleft", "use-restricted", "community", "no-derivatives",
    "non-commercial", "other", "unknown",
]  # fmt: skip
"""permissive: attribution at most. weak-copyleft: changes of the work itself are shared. copyleft: what
includes it is shared too. use-restricted: open, with a list of forbidden uses (RAIL). community: a vendor's
own terms, with thresholds or a policy of use. no-derivatives: may be used, not changed. non-commercial: no
business, or research only. other: a licence that the card names and that is on no list. unknown: none is
named."""

LICENCE_GROUPS: Final[tuple[LicenceGroup, ...]] = get_args(LicenceGroup)

_WORDS: Final[dict[LicenceGroup, str]] = {
    "permissive": """
        apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear 0bsd
        mit-0 cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
        ecl-2.0 etalab-2.0 isc odc-by openmdw-1.0 postgresql ofl-1.1 ncsa unlicense zlib pddl pddl-1.0
        odc-by-1.0 python-2.0 psf-2.0""",
    "weak-copyleft": """
        epl-1.0 epl-2.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-2.1-only lgpl-2.1-or-later lgpl-3.0-only
        lgpl-3.0-or-later lgpl-lr lppl-1.3c ms-pl mpl-2.0 cddl-1.0""",
    "copyleft": """
        agpl-3.0 agpl-3.0-only agpl-3.0-or-later gpl gpl-2.0 gpl-2.0-only gpl-2.0-or-later gpl-3.0
        gpl-3.0-only gpl-3.0-or-later gfdl eupl-1.1 eupl-1.2 osl-3.0 odbl odbl-1.0 cc-by-sa-3.0 cc-by-sa-4.0
        cdla-sharing-1.0 sspl-1.0""",
    "use-restricted": """
        openrail openrail++ bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
        bigcode-openrail-m c-uda""",
    "community": "llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma apple-ascl",
    "no-derivatives": "cc-by-nd-3.0 cc-by-nd-4.0",
    "non-commercial": """
        cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
        cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 deepfloyd-if-license fair-noncommercial-research-license
        h-research intel-research apple-amlr""",
    "unknown": "unknown",
    "other": "other cc",
}

_GROUPS: Final[dict[str, LicenceGroup]] = {
    word: group for group, words in _WORDS.items() for word in words.split()
}


def licence_group(licence: str | None) -> LicenceGroup:
    """The group of a licence as a card names it; letter case does not count."""
    if not licence:
        return "unknown"
    return _GROUPS.get(licence.lower(), "other")
