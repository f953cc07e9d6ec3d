"""`CurrentPolicy`: the rules that hold now, read anew when their files change.

A broken edit changes nothing: the last good rules stay, and `trouble` says what is wrong until it is mended.
Only at the very start is a broken policy an error, for then there is nothing to stay with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from moongate.core.decisions import Decision
from moongate.policy.engine import Rules
from moongate.policy.facts import Facts
from moongate.policy.loading import PRESETS, load
from moongate.policy.yaml_lines import BadPolicy

Changed: TypeAlias = Callable[[Rules, Rules], None]
Broken: TypeAlias = Callable[[str], None]


class CurrentPolicy:
    """A policy whose rules may be replaced while it is asked. For any thread."""

    def __init__(self, source: str, changed: Changed | None = None, broken: Broken | None = None) -> None:
        """source: a preset's name, a file or a folder. changed, broken: told of every reading that was so.

        Raises:
            BadPolicy: there are no rules to begin with.
        """
        self.source = source
        self._changed = changed
        self._broken = broken
        self._lock = threading.Lock()
        self._seen = _look(source)
        self.rules = load(source).rules
        self.trouble = ""
        """What is wrong with the files as they are now; empty: they are what holds."""
        self._generation = 1

    @property
    def generation(self) -> int:
        return self._generation

    def decide(self, facts: Facts) -> Decision:
        """See `asking.Policy.decide`."""
        return self.rules.decide(facts)

    def foresee(self, facts: Facts) -> Decision | None:
        """See `asking.Policy.foresee`."""
        return self.rules.foresee(facts)

    def refresh(self, *, force: bool = False) -> bool:
        """Read the files again if they look different; whether other rules hold now. Blocks."""
        with self._lock:
            seen = _look(self.source)
            if seen == self._seen and not force:
                return False
            try:
                rules = load(self.source).rules
            except BadPolicy as error:
                self._seen = seen
                self._say(error.message)
                return False
            self._seen, self.trouble = seen, ""
            before, self.rules = self.rules, rules
            if rules.digest == before.digest:
                return False
            self._generation += 1
        if self._changed is not None:
            self._changed(before, rules)
        return True

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble and self._broken is not None:
            self._broken(trouble)
        self.trouble = trouble


def _look(source: str) -> object:
    """What tells an edit: names, times and lengths. A file that is replaced has another number, too."""
    if source in PRESETS:
        return source
    path = Path(source).expanduser()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        seen = []
        for file in files:
            if file == path or file.suffix in (".yaml", ".yml"):
                status = file.stat()
                seen.append((file.name, status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError as error:
        return (str(path), error.errno)
    return tuple(seen)
