"""`.gitignore`: which paths somebody does not want in a repository, as git reads it.

Of several lines that match, the last one counts; `!` takes back what a line before it said, but nothing below
a folder that is ignored as a whole.

Source: gitignore(5).
"""

from __future__ import annotations

from typing import Final

from moongate.wire.git_patterns import Pattern, compiled, matches

NAME: Final = ".gitignore"
_MOST_LINES = 20_000


class Ignored:
    """The rules of one file's text."""

    def __init__(self, text: bytes) -> None:
        self._rules: list[tuple[Pattern, bool, bool, bool]] = []
        for raw in text.decode("utf-8", "replace").splitlines()[:_MOST_LINES]:
            line = raw if raw.endswith("\\ ") else raw.rstrip()
            if not line or line.startswith("#"):
                continue
            back = line.startswith("!")
            line = line.removeprefix("!").removeprefix("\\") if line[:2] in ("\\#", "\\!") or back else line
            folders_only = line.endswith("/")
            line = line.removesuffix("/")
            pattern = compiled(line)
            if pattern is not None and line:
                self._rules.append((pattern, "/" in line, folders_only, not back))
        self._rules.reverse()

    def __contains__(self, path: str) -> bool:
        """Whether a file at this path is ignored, itself or with a folder above it."""
        names = path.split("/")
        return any(
            self._said(names[:length], is_folder=length < len(names)) for length in range(1, len(names) + 1)
        )

    def _said(self, names: list[str], *, is_folder: bool) -> bool:
        for pattern, anchored, folders_only, ignored in self._rules:
            if folders_only and not is_folder:
                continue
            if matches(pattern, names if anchored else names[-1:]):
                return ignored
        return False
