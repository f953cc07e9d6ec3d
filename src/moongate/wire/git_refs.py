"""Names of refs, by git's rules.

Source: git `Documentation/git-check-ref-format.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADS = "refs/heads/"
TAGS = "refs/tags/"
PULLS = "refs/pr/"

_MAX_CHARS = 1024
_PULL = re.compile(r"refs/pr/[1-9][0-9]{0,8}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]")


def is_ref_name(name: str) -> bool:
    """Whether git takes this as the full name of a ref: `refs/heads/main`."""
    return (
        name.startswith("refs/")
        and len(name) <= _MAX_CHARS
        and not _FORBIDDEN.search(name)
        and ".." not in name
        and "@{" not in name
        and not name.endswith(".")
        and all(
            part and not part.startswith(".") and not part.endswith(".lock") for part in name.split("/")[1:]
        )
    )


def in_the_way(name: str, others: Iterable[str]) -> str | None:
    """One of the other refs that git cannot have beside this one: `a` and `a/b` exclude each other."""
    return next((other for other in others if _is_below(other, name) or _is_below(name, other)), None)


def is_pull_ref(name: str) -> bool:
    """Whether this is where a pull request's commits stand: `refs/pr/7`."""
    return bool(_PULL.fullmatch(name))


def _is_below(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/")
