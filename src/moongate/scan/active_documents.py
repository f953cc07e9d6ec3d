"""Judges documents that can act when they are opened: OLE files, RTF, pages, and text that a desktop runs.

None of them is part of a model. What acts on opening is told, what starts a program then is dangerous.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Ledger
from moongate.weights.ranged import Ranged

_MOST_BYTES: Final = 32 << 20
_MACROS = tuple(word.encode("utf-16-le") for word in ("_VBA_PROJECT", "Macros", "_VBA_PROJECT_CUR"))
_RUN_ON_OPENING = re.compile(rb"(?i)Auto_?Open|Document_Open|Workbook_Open|AutoExec|Auto_Close")
_STARTS = re.compile(rb"(?i)WScript\.Shell|Shell\.Application|powershell|cmd\.exe|URLDownloadToFile|mshta")
_INSTALLER = bytes.fromhex("84100c0000000000c000000000000046")
_RTF_OBJECT = re.compile(
    rb"\\objupdate|\\objdata|\\object\b|\\\*\\template|DDEAUTO|INCLUDEPICTURE", re.IGNORECASE
)
_TEXTS: Final[tuple[tuple[re.Pattern[str], re.Pattern[str], str, Severity], ...]] = (
    (
        re.compile(r"Windows Registry Editor|REGEDIT4"),
        re.compile(
            r"\[HK[\s\S]{0,400}?\\(?:CurrentVersion\\\\?(?:Run|Policies|Winlogon|Image File)|"
            r"shell\\\\?open\\\\?command|Services)",
            re.IGNORECASE,
        ),
        "it has a program started whenever somebody signs in",
        Severity.HIGH,
    ),
    (
        re.compile(r"Windows Registry Editor|REGEDIT4"),
        re.compile(r"\[-?HK"),
        "it changes the registry",
        Severity.MEDIUM,
    ),
    (
        re.compile(r"\[Desktop Entry\]"),
        re.compile(r"^Exec\s*=", re.MULTILINE),
        "opening it starts a program",
        Severity.MEDIUM,
    ),
    (
        re.compile(r"\[(?:InternetShortcut|\{000214A0)[^\]]*\]"),
        re.compile(r"^(?:URL|IconFile|WorkingDirectory)\s*=\s*(?:file:|\\\\)", re.MULTILINE | re.IGNORECASE),
        "it leads to a file of another machine",
        Severity.MEDIUM,
    ),
    (
        re.compile(r"<(?:HTA:APPLICATION|package|job|\?XML-SCRIPTLET|scriptlet)\b", re.IGNORECASE),
        re.compile(r"<script\b|<HTA:APPLICATION", re.IGNORECASE),
        "Windows runs it as a program",
        Severity.HIGH,
    ),
    (
        re.compile(r"\[(?:autorun|shell)\]", re.IGNORECASE),
        re.compile(r"^(?:open|shellexecute|command|iconfile)\s*=", re.MULTILINE | re.IGNORECASE),
        "Windows acts on it when its folder is opened",
        Severity.MEDIUM,
    ),
)


def scan_office(inspection: Inspection, content: Ranged, place: Place) -> None:
    """An OLE file: the macros of a document, or a program that installs something."""
    ledger = inspection.ledger
    ledger.saw("office")
    data = content.read(ByteSpan(0, min(content.size_bytes, _MOST_BYTES)))
    if any(name in data for name in _MACROS):
        starts = _RUN_ON_OPENING.search(data) and _STARTS.search(data)
        level = Severity.HIGH if starts else Severity.MEDIUM
        words = "its macros start programs when it is opened" if starts else "it has macros"
        ledger.add("active-content", words, member=place.member, severity=level)
    elif _INSTALLER in data or place.name.lower().endswith((".msi", ".msp")):
        ledger.add("native-library", "it installs programs", member=place.member)
    elif content.size_bytes > _MOST_BYTES:
        ledger.add("too-large", f"only its first {_MOST_BYTES} bytes were looked at", member=place.member)


def judge_rtf(text: str, ledger: Ledger, member: str) -> None:
    if text.startswith("{\\rt") and (found := _RTF_OBJECT.search(text.encode("utf-8", "replace"))):
        words = f"it carries an object ({found.group().decode('ascii')})"
        ledger.add("active-content", words, member=member)


_OPENS_SCRIPT = re.compile(r"<script|\son\w{1,30}\s{0,9}=|javascript:", re.IGNORECASE)
_TAKES = re.compile(
    r"document\.cookie|localStorage|\beval\s{0,9}\(|\batob\s{0,9}\(|XMLHttpRequest|\bfetch\s{0,9}\(\s{0,9}['\"`]https?:",
    re.IGNORECASE,
)
_SENDS = re.compile(
    r"\bfetch\s{0,9}\(|XMLHttpRequest|sendBeacon|WebSocket|\.src\s{0,9}=|location(?:\.href)?\s{0,9}=",
    re.IGNORECASE,
)
_STEALS = re.compile(r"document\.cookie", re.IGNORECASE)
_NEAR_CHARS = 300
_STARTS_HERE = re.compile(
    r"ActiveXObject\s{0,9}\(\s{0,9}[\"'](?:WScript\.Shell|Shell\.Application|ADODB\.Stream)", re.IGNORECASE
)
_REACH_CHARS = 4000
_MOST_TRIED = 200


def script_that_acts(page: str, takes: re.Pattern[str] = _TAKES) -> str | None:
    """The first script of a page that takes something of its reader, or runs what it puts together."""
    for found in islice(takes.finditer(page), _MOST_TRIED):
        reach = max(0, found.start() - _REACH_CHARS)
        if begun := list(_OPENS_SCRIPT.finditer(page, reach, found.start())):
            return page[begun[-1].start() : found.end()]
    return None


def judge_page(text: str, ledger: Ledger, member: str) -> None:
    """A page or a card with a script that takes what its readers' browser keeps, and sends something."""
    if found := _STARTS_HERE.search(text):
        words = f"a script in it starts programs: {found.group()[:60]!r}"
        ledger.add("active-content", words, member=member, severity=Severity.HIGH)
        return
    for found in islice(_STEALS.finditer(text), _MOST_TRIED):
        near = text[max(0, found.start() - _NEAR_CHARS) : found.end() + _NEAR_CHARS]
        if _SENDS.search(near) and script_that_acts(text, _STEALS):
            words = "a script in it takes the cookies of its readers and sends something"
            ledger.add("active-content", words, member=member)
            return


def judge_desktop_text(text: str, ledger: Ledger, member: str) -> None:
    """Small files of a desktop that do something when they are opened."""
    head = text[:4096]
    if "[" not in head and "<" not in head:
        return
    for begins, acts, words, level in _TEXTS:
        if begins.search(head) and acts.search(text[: 1 << 20]):
            ledger.add("active-content", words, member=member, severity=level)
            return
