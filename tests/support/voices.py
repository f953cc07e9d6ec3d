"""A package that calls itself picklescan and does to whoever asks it what a test wants."""

from __future__ import annotations

from pathlib import Path

_SCANNER = """
import os, time

class SafetyLevel:
    Dangerous = "dangerous"

class _Told:
    globals = ()

class _Bad:
    module, name, safety = "posix", "system", SafetyLevel.Dangerous

def scan_bytes(file, name, ending):
    with open({asked!r}) as asked:
        wish = asked.read()
    if wish == "hang":
        time.sleep(3600)
    if wish == "crash":
        os.abort()
    told = _Told()
    if wish == "cry":
        told.globals = (_Bad(),)
    return told
"""


class FakePicklescan:
    """Put `folder` on PYTHONPATH, then `wish` for hang, crash, cry or nothing."""

    def __init__(self, folder: Path, version: str = "9.9") -> None:
        self.folder = folder
        self._asked = folder / "asked"
        (folder / "picklescan").mkdir(parents=True)
        (folder / "picklescan" / "__init__.py").write_text("")
        (folder / "picklescan" / "scanner.py").write_text(_SCANNER.format(asked=str(self._asked)))
        told = folder / f"picklescan-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: picklescan\nVersion: {version}\n")
        self.wish("")

    def wish(self, word: str) -> None:
        self._asked.write_text(word)
