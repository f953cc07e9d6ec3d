"""Names of refs, by git's rules.

Source: git `Documentation/git-check-ref-format.txt`.
"""

from __future__ import annotations

import re

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


def is_pull_ref(name: str) -> bool:
    """Whether this is where a pull request's commits stand: `refs/pr/7`."""
    return bool(_PULL.fullmatch(name))
