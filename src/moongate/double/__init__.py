"""A small, faithful Hugging Face Hub on loopback: the upstream of tests, benches and the demo.

    from moongate.double import HubDouble, LfsFile, Cut, Match

    double = HubDouble(tmp_path)
    double.add_repo("acme/tiny").commit({"config.json": b"{}", "model.safetensors": LfsFile(b"weights")})
    with double.running() as url: ...

It speaks as the real Hub does, awkward parts included: relative redirects for small files, signed and
expiring URLs on another origin for large ones, Xet with a CAS of its own, coded and uncoded errors, absolute
page links. What it sent is metered to the byte, and everything that can go wrong with a Hub can be asked of
it (`faults`).
"""

from __future__ import annotations

from moongate.double.content import LfsFile, big_file
from moongate.double.double import HubDouble
from moongate.double.faults import (
    BigHeaders,
    Cut,
    DropHeaders,
    ExpireUrls,
    Fault,
    FlipByte,
    HangUp,
    IgnoreRange,
    Latency,
    LieAboutSize,
    LieAboutTerms,
    MalformedJson,
    Match,
    MoveRef,
    RedirectLoop,
    RedirectTo,
    SetHeaders,
    Stall,
    Status,
    Throttle,
    TooMany,
    Truncate,
    WrongContentRange,
    WrongLength,
)
from moongate.double.meters import Meters, RequestRecord
from moongate.double.repo import Commit, FileNode, Repo
from moongate.double.users import User
from moongate.double.world import Settings
from moongate.double.xet_files import XetFile

__all__ = [
    "BigHeaders",
    "Commit",
    "Cut",
    "DropHeaders",
    "ExpireUrls",
    "Fault",
    "FileNode",
    "FlipByte",
    "HangUp",
    "HubDouble",
    "IgnoreRange",
    "Latency",
    "LfsFile",
    "LieAboutSize",
    "LieAboutTerms",
    "MalformedJson",
    "Match",
    "Meters",
    "MoveRef",
    "RedirectLoop",
    "RedirectTo",
    "Repo",
    "RequestRecord",
    "SetHeaders",
    "Settings",
    "Stall",
    "Status",
    "Throttle",
    "TooMany",
    "Truncate",
    "User",
    "WrongContentRange",
    "WrongLength",
    "XetFile",
    "big_file",
]
