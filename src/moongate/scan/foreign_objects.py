"""Judges objects that other languages serialize: Java, .NET, R, Lua.

None of these is read here as its own language reads it, so nothing of it is ever clean. What is known from
attacks, the classes and functions that call others while they are made, is dangerous.
"""

from __future__ import annotations

import re
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.inspection import Inspection, Place
from moongate.weights.ranged import Ranged

_MOST_BYTES: Final = 16 << 20
_JAVA = re.compile(
    rb"org[./]apache[./]commons[./](?:collections4?[./](?:functors|keyvalue|map[./]LazyMap)|beanutils)|"
    rb"com[./]sun[./]org[./]apache[./]xalan|org[./]codehaus[./]groovy[./]runtime|TemplatesImpl|"
    rb"java[./]lang[./](?:Runtime|ProcessBuilder)|javax[./]management[./]BadAttributeValue|"
    rb"org[./]springframework[./](?:core[./]SerializableTypeWrapper|beans[./]factory)|bsh[./]XThis|"
    rb"com[./]mchange[./]v2[./]c3p0|com[./]sun[./]rowset[./]JdbcRowSetImpl|sun[./]rmi[./]server[./]UnicastRef|"
    rb"java[./]rmi[./]server[./]RemoteObject|org[./]python[./]core[./]Py(?:Method|Function)|javax[./]script[./]ScriptEngine"
)
_DOTNET = re.compile(
    rb"System\.Diagnostics\.Process|ObjectDataProvider|System\.Windows\.(?:Data|Markup)|ActivitySurrogate|"
    rb"System\.Management\.Automation|TypeConfuseDelegate|WindowsIdentity|ClaimsIdentity|"
    rb"System\.Configuration\.Install\.AssemblyInstaller|System\.Web\.UI\.(?:LosFormatter|ObjectStateFormatter)|"
    rb"SessionSecurityToken|TextFormattingRunProperties|System\.Reflection\.Assembly"
)
# A symbol, by its type and the text that follows: what R would call is named so.
_R_SYMBOL = re.compile(
    rb"\x00\x00\x00\x01\x00[\x00-\x0f][\x00-\xff]\x09\x00\x00\x00[\x01-\x20]"
    rb"(system2?|shell(?:\.exec)?|eval(?:q|\.parent)?|parse|source|pipe|socketConnection|dyn\.load|download\.file|"
    rb"readRDS|Sys\.setenv|file\.remove|unlink|do\.call)(?=\x00)"
)
_R_TEXT_SYMBOL = re.compile(
    rb"\n1\n\d{1,7}\n\d{1,2}\n(system2?|shell(?:\.exec)?|eval|source|pipe|socketConnection|dyn\.load|download\.file)\n"
)
# What is called so is in every model that keeps its call.
_R_COMMON = frozenset((b"eval", b"evalq", b"eval.parent", b"parse", b"do.call", b"readRDS", b"unlink"))
_LUA = re.compile(
    rb"\bos\.(?:execute|remove|rename)\b|\bio\.popen\b|\bloadstring\s*\(|\bpackage\.loadlib\b|\x1bLua|\x1bLJ"
)
_TORCH7 = re.compile(rb"(?:\x04\x00\x00\x00|4\n)[\s\S]{4,12}V 1[\s\S]{1,12}(?:torch|nn|cunn|cudnn)\.")


def scan_java(inspection: Inspection, content: Ranged, place: Place) -> None:
    _judge(inspection, content, place, _JAVA, "Java")


def scan_dotnet(inspection: Inspection, content: Ranged, place: Place) -> None:
    _judge(inspection, content, place, _DOTNET, ".NET")


def scan_r(inspection: Inspection, content: Ranged, place: Place) -> None:
    data = _told(inspection, content, place, "R")
    names = {found.group(1) for found in (*_R_SYMBOL.finditer(data), *_R_TEXT_SYMBOL.finditer(data))}
    for name in sorted(names - _R_COMMON):
        words = f"its expressions call {name.decode('ascii')}"
        inspection.ledger.add("schema-type", words, member=place.member)


def is_torch7(head: bytes) -> bool:
    """Whether data begins as Torch of Lua wrote it, in either of its two modes."""
    return _TORCH7.match(head) is not None


def scan_torch7(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Tensors and layers, as a rule; but a function is kept as the bytes that Lua runs."""
    inspection.ledger.saw("torch7")
    data = content.read(ByteSpan(0, min(content.size_bytes, _MOST_BYTES)))
    if found := _LUA.search(data):
        shown = found.group().decode("ascii", "replace").strip("\x1b")
        words = f"it holds code of Lua ({shown})"
        inspection.ledger.add("schema-type", words, member=place.member, offset=found.start())


def _judge(
    inspection: Inspection, content: Ranged, place: Place, known: re.Pattern[bytes], language: str
) -> None:
    data = _told(inspection, content, place, language)
    if found := known.search(data):
        words = f"it makes {found.group().decode('ascii')[:80]}"
        inspection.ledger.add("schema-type", words, member=place.member, offset=found.start())


def _told(inspection: Inspection, content: Ranged, place: Place, language: str) -> bytes:
    """The beginning; that nobody reads all of it is told."""
    inspection.ledger.add("foreign-objects", f"it holds objects of {language}", member=place.member)
    return content.read(ByteSpan(0, min(content.size_bytes, _MOST_BYTES)))
