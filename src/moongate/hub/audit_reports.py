"""A line of the audit log in the words of others: OCSF (1.3) for data lakes, CEF for old SIEMs.

    file.*, git.*          File Hosting Activity 6006        scan.detect            Detection Finding 2004
    token.use, session.*   Authentication 3002               everything else        API Activity 6003

One table says which class and activity a kind of event is; the rest is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from moongate import __version__

OCSF_VERSION: Final = "1.3.0"


class _Class(NamedTuple):
    """An OCSF class: its number and name, and those of its category."""

    uid: int
    name: str
    category_uid: int
    category: str


_API: Final = _Class(6003, "API Activity", 6, "Application Activity")
_FILES: Final = _Class(6006, "File Hosting Activity", 6, "Application Activity")
_SIGN_IN: Final = _Class(3002, "Authentication", 3, "Identity & Access Management")
_FINDING: Final = _Class(2004, "Detection Finding", 2, "Findings")

_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_API_ACTIVITIES: Final = {
    _CREATE: "Create",
    _READ: "Read",
    _UPDATE: "Update",
    _DELETE: "Delete",
    _OTHER: "Other",
}
_DOWNLOAD, _FILE_OTHER = 2, 99
_LOG_ON, _LOG_OFF = 1, 2
_OTHER_PROTOCOL = 99
_NEW = (1, "New")
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SEVERITIES: Final = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
_SUCCESS, _FAILURE = 1, 2

_ACTIVITY_OF_ACTION: Final[Mapping[str, int]] = {
    "create": _CREATE, "request": _CREATE, "grant": _CREATE, "commit": _CREATE, "import": _CREATE,
    "start": _CREATE, "change": _UPDATE, "move": _UPDATE, "sign": _UPDATE, "exchange": _CREATE,
    "delete": _DELETE, "revoke": _DELETE, "evict": _DELETE, "collect": _DELETE, "archive": _DELETE,
    "undo": _DELETE, "export": _READ,
}  # fmt: skip
_REFUSALS: Final = ("deny", "refuse")
_UNMAPPED: Final = ("repo", "commit", "path", "digest", "effect", "rule", "subject", "details", "prev")
"""What OCSF has no place for in every class, or only in some."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_BREAKS: Final = re.compile(r"[\t\r\n]")
_CEF_SEVERITY: Final = {_INFORMATIONAL: 1, _LOW: 3, _MEDIUM: 6, _HIGH: 8}


def ocsf(line: Mapping[str, Any]) -> dict[str, object]:
    """A line (as `read_line` tells it) as an OCSF event."""
    kind = str(line["kind"])
    group = _class_of(kind)
    activity, activity_name = _activity_of(kind, group)
    severity = _severity_of(kind)
    failed = kind.rpartition(".")[2] in _REFUSALS
    actor: Mapping[str, str] = line.get("actor", {})
    told: dict[str, object] = {
        "class_uid": group.uid,
        "class_name": group.name,
        "category_uid": group.category_uid,
        "category_name": group.category,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": group.uid * 100 + activity,
        "type_name": f"{group.name}: {activity_name}",
        "time": _milliseconds(str(line["at"])),
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "message": _message(line),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Moongate", "vendor_name": "Moongate", "version": __version__},
            "uid": str(line["seq"]),
            "sequence": line["seq"],
            "log_name": "audit",
            "event_code": kind,
            "correlation_uid": str(line.get("request", "")),
            "profiles": [],
        },
    }
    unmapped = {name: line[name] for name in _UNMAPPED if name in line}
    if line.get("reason"):
        told["status_detail"] = line["reason"]
    if group is _FINDING:
        told["status_id"], told["status"] = _NEW
    else:
        told["status_id"], told["status"] = (_FAILURE, "Failure") if failed else (_SUCCESS, "Success")
        told["src_endpoint"] = {"ip": actor["address"]} if actor.get("address") else {"name": "console"}
    if actor.get("agent"):
        if group in (_FILES, _FINDING):
            unmapped["user_agent"] = actor["agent"]
        else:
            told["http_request"] = {"user_agent": actor["agent"]}
    told["unmapped"] = unmapped
    user = _user(actor)
    if group is _SIGN_IN:
        told["user"] = user
        told["service"] = {"name": "moongate"}
        told["auth_protocol_id"] = _OTHER_PROTOCOL
        told["auth_protocol"] = "Bearer token" if kind.startswith("token") else "Session"
    elif group is _FINDING:
        told["finding_info"] = {
            "uid": f"{line['seq']}",
            "title": str(line.get("reason") or "suspicious or dangerous content"),
            "types": ["model content"],
        }
        told["resources"] = [_resource(line)]
    else:
        told["actor"] = {"user": user}
        if group is _FILES:
            told["file"] = _file(line)
        else:
            told["api"] = {"operation": kind, "service": {"name": "moongate"}}
            told["resources"] = [_resource(line)]
    return told


def cef(line: Mapping[str, Any]) -> str:
    """A line as Common Event Format, version 0."""
    kind = str(line["kind"])
    actor: Mapping[str, str] = line.get("actor", {})
    address = actor.get("address", "")
    is_v6 = ":" in address
    fields = {
        "rt": _milliseconds(str(line["at"])),
        "externalId": line["seq"],
        "act": kind,
        "suser": actor.get("name"),
        "src": None if is_v6 else address,
        "c6a2": address if is_v6 else None,
        "c6a2Label": "Source IPv6 Address" if is_v6 else None,
        "requestClientApplication": actor.get("agent"),
        "fname": line.get("path"),
        "fileHash": line.get("digest"),
        "outcome": line.get("effect"),
        "reason": line.get("reason"),
        "cs1": line.get("repo"),
        "cs1Label": "repo" if line.get("repo") else None,
        "cs2": line.get("commit"),
        "cs2Label": "commit" if line.get("commit") else None,
        "cs3": line.get("subject"),
        "cs3Label": "subject" if line.get("subject") else None,
        "cs4": line.get("rule"),
        "cs4Label": "rule" if line.get("rule") else None,
        "cs5": actor.get("token"),
        "cs5Label": "token" if actor.get("token") else None,
    }
    details = line.get("details")
    if isinstance(details, Mapping) and isinstance(details.get("bytes"), int):
        fields["out"] = details["bytes"]
    extension = " ".join(
        f"{name}={_cef_value(value)}" for name, value in fields.items() if value not in (None, "")
    )
    severity = _CEF_SEVERITY[_severity_of(kind)]
    head = "|".join(_cef_head(word) for word in ("Moongate", "Moongate", __version__, kind, _message(line)))
    return f"CEF:0|{head}|{severity}|{extension}"


def _class_of(kind: str) -> _Class:
    scope = kind.partition(".")[0]
    if kind == "scan.detect":
        return _FINDING
    if kind in ("token.use", "token.refuse", "token.exchange") or scope == "session":
        return _SIGN_IN
    return _FILES if scope in ("file", "git") else _API


def _activity_of(kind: str, group: _Class) -> tuple[int, str]:
    action = kind.rpartition(".")[2]
    if group is _FILES:
        is_read = action in ("deliver", "fetch", "deny", "warn")
        return (_DOWNLOAD, "Download") if is_read else (_FILE_OTHER, "Other")
    if kind == "session.lend":
        return _OTHER, "Other"
    if group is _SIGN_IN:
        return (_LOG_OFF, "Logoff") if kind == "session.end" else (_LOG_ON, "Logon")
    if group is _FINDING:
        return _CREATE, "Create"
    activity = _ACTIVITY_OF_ACTION.get(action, _OTHER)
    return activity, _API_ACTIVITIES[activity]


def _severity_of(kind: str) -> int:
    if kind in ("scan.detect", "recall.create", "audit.lose"):
        return _HIGH
    if kind.endswith((".deny", ".refuse")):
        return _MEDIUM
    return _LOW if kind == "file.warn" else _INFORMATIONAL


def _user(actor: Mapping[str, str]) -> dict[str, object]:
    user: dict[str, object] = {"name": actor.get("name", ""), "type": actor.get("kind", "")}
    if actor.get("token"):
        user["credential_uid"] = actor["token"]
    return user


def _file(line: Mapping[str, Any]) -> dict[str, object]:
    path = str(line.get("path") or line.get("repo") or "")
    told: dict[str, object] = {
        "name": path.rpartition("/")[2],
        "path": path,
        "type_id": 1,
        "type": "Regular File",
    }
    digest = str(line.get("digest", ""))
    if digest:
        is_sha256 = len(digest) == 64
        algorithm = (3, "SHA-256") if is_sha256 else (99, "git blob")
        told["hashes"] = [{"algorithm_id": algorithm[0], "algorithm": algorithm[1], "value": digest}]
    return told


def _resource(line: Mapping[str, Any]) -> dict[str, object]:
    name = str(line.get("repo") or line.get("subject") or "moongate")
    return {"name": name, "uid": str(line.get("digest") or name)}


def _message(line: Mapping[str, Any]) -> str:
    about = line.get("path") or line.get("repo") or line.get("subject") or ""
    return f"{line['kind']} {about}".strip()


def _milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


def _cef_head(text: str) -> str:
    """A field of the header: on one line, and without a bare bar."""
    plain = _BREAKS.sub(" ", _CONTROLS.sub(" ", text))
    return plain.replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(value: object) -> str:
    """A value of the extension, in which a line may break, escaped, and nothing looks like the next field."""
    plain = _CONTROLS.sub(" ", str(value)).replace("\\", "\\\\").replace("=", "\\=")
    return plain.replace("\r", "\\r").replace("\n", "\\n")
