"""Lines in the words of others: what OCSF's own schema demands, and what a reader of CEF makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from moongate import __version__
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.hub.audit import KINDS, Actor, AuditEvent
from moongate.hub.audit_line import draft, read_line
from moongate.hub.audit_reports import OCSF_VERSION, cef, ocsf

AT = 1_780_000_000.123456
HOSTILE = "a|b=c\\d\r\nCEF:0|x|y|z|1|e|10|act=forged\u2028\u0085 \x1b[31m é 𝄞 \" ' <b> %0a\t\x00end"
CLASSES = {3002: "authentication", 2004: "detection_finding", 6003: "api_activity", 6006: "file_hosting"}


def line(kind: str, hostile: str = "", *, bare: bool = False) -> dict[str, Any]:
    """A line of a kind, with everything in it, or with nothing that may be left out."""
    if bare:
        event = AuditEvent(kind, Actor("moongate", "system"), at=AT)
    else:
        event = AuditEvent(
            kind,
            Actor(f"ada{hostile}", "token", "3f9a1c04", "2001:db8::9", f"hf/1.0{hostile}"),
            RepoId("model", "acme/tiny"),
            CommitHash("c" * 40),
            RepoPath(f"dir/model{hostile}.bin"),
            "a" * 64 if kind != "git.fetch" else "b" * 40,
            effect="deny",
            rule=f"no-pickle{hostile}",
            reason=f"It runs code{hostile}",
            subject=f"subject{hostile}",
            request_id="0123abcd",
            details={"bytes": 1 << 40, "way": f"plain{hostile}", "rules": [hostile], f"k{hostile}": {"a": 1}},
            at=AT,
        )
    return read_line(draft(event, AT).row(42, bytes(32)).line)


CASES = [
    (kind, hostile, bare) for kind in KINDS for hostile, bare in (("", False), (HOSTILE, False), ("", True))
]


@pytest.fixture(scope="module")
def validators() -> dict[int, jsonschema.Draft202012Validator]:
    """One for each class, of the schema that OCSF publishes."""
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))
    return {
        uid: jsonschema.Draft202012Validator(schemas.get_class_schema(name)) for uid, name in CLASSES.items()
    }


@pytest.mark.parametrize(("kind", "hostile", "bare"), CASES)
def test_every_line_fits_the_official_schema_of_its_class(
    validators: dict[int, jsonschema.Draft202012Validator], kind: str, hostile: str, bare: bool
) -> None:
    told = json.loads(json.dumps(ocsf(line(kind, hostile, bare=bare))))
    problems = [
        f"{error.json_path}: {error.message[:200]}"
        for error in validators[told["class_uid"]].iter_errors(told)
    ]
    assert problems == []
    assert told["type_uid"] == told["class_uid"] * 100 + told["activity_id"]
    assert told["category_uid"] == told["class_uid"] // 1000
    assert told["time"] == 1_780_000_000_123
    assert told["metadata"]["version"] == OCSF_VERSION
    assert told["metadata"]["product"]["version"] == __version__
    assert told["metadata"]["uid"] == "42"
    assert told["severity_id"] in range(1, 7)


HEADER = re.compile(r"CEF:0\|((?:[^|\\\r\n]|\\[|\\])*\|){5}(\d+)\|")
KEY = re.compile(r"(?:^| )([A-Za-z0-9_]+)=")
CEF_KEYS = {
    "rt", "externalId", "act", "suser", "src", "c6a2", "c6a2Label", "requestClientApplication", "fname",
    "filePath", "fileHash", "outcome", "reason", "out", "dvchost",
    *(f"cs{number}" for number in range(1, 7)), *(f"cs{number}Label" for number in range(1, 7)),
}  # fmt: skip
"""Names of ArcSight's dictionary that are used."""


def parsed(text: str) -> tuple[list[str], dict[str, str]]:
    """What a reader of CEF makes of a line: the header's fields, and the extension."""
    assert len(text.splitlines()) == 1, "one event, one line"
    header = HEADER.match(text)
    assert header is not None, text
    fields = re.findall(r"((?:[^|\\]|\\.)*)\|", text)[:7]
    rest = text[header.end() :]
    return [re.sub(r"\\(.)", r"\1", one) for one in fields], dict(_pairs(rest))


def _pairs(rest: str) -> Iterator[tuple[str, str]]:
    starts = [(match.start(), match.end(), match[1]) for match in KEY.finditer(rest)]
    for number, (_, begin, name) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(rest)
        value = rest[begin:end]
        assert not re.search(r"(?<!\\)(?:\\\\)*=", value), "a bare = would be taken for another field"
        yield name, re.sub(r"\\(.)", lambda told: {"n": "\n", "r": "\r"}.get(told[1], told[1]), value)


@pytest.mark.parametrize(("kind", "hostile", "bare"), CASES)
def test_every_line_is_read_as_one_cef_event(kind: str, hostile: str, bare: bool) -> None:
    said = line(kind, hostile, bare=bare)
    text = cef(said).encode("utf-8", "backslashreplace").decode()
    (version, vendor, product, release, signature, name, severity), told = parsed(text)
    assert (version, vendor, product, release) == ("CEF:0", "Moongate", "Moongate", __version__)
    assert signature == kind
    assert name.startswith(kind)
    assert int(severity) in range(11)
    assert set(told) <= CEF_KEYS
    assert (told["act"], told["externalId"], told["rt"]) == (kind, "42", "1780000000123")
    assert told["suser"] == _shown(said["actor"]["name"])
    if not bare:
        assert told["reason"] == _shown(said["reason"])
        assert told["out"] == str(1 << 40)
        assert told["c6a2"] == "2001:db8::9"
        assert "src" not in told, "src holds an IPv4 address"


def _shown(text: str) -> str:
    """A text without what a reader might take for the end of a line."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]", " ", text)
