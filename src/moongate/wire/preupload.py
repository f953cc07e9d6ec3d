"""The preupload question: which of these files go through LFS, and which are not wanted at all.

{"files":[{"path","sample":"<base64 of the first bytes>","size"}],"gitAttributes":"…","gitIgnore":"…"}
{"files":[{"path","uploadMode":"lfs"|"regular","shouldIgnore":false,"oid":"…"}],"commitOid":"…"}
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from moongate.core.errors import BadRequest
from moongate.core.names import RepoPath, parse_new_path, shown
from moongate.core.records import MAX_FILE_BYTES

MAX_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class Planned:
    """A file that somebody is about to upload; `sample` is how it begins."""

    path: RepoPath
    size_bytes: int
    sample: bytes

    @property
    def looks_binary(self) -> bool:
        """Whether its first bytes are no text."""
        if b"\0" in self.sample:
            return True
        try:
            self.sample.decode()
        except UnicodeDecodeError as error:
            # The sample may end inside a letter.
            return error.reason != "unexpected end of data" or error.start < len(self.sample) - 3
        return False


@dataclass(frozen=True, slots=True)
class PreuploadQuestion:
    """What is asked. `attributes` and `ignored` go before the repository's own files of these names."""

    files: Sequence[Planned]
    attributes: str | None = None
    ignored: str | None = None


def read_preupload(body: bytes) -> PreuploadQuestion:
    """The question that a body asks.

    Raises:
        BadRequest, BadName: it is none, or names something that cannot be.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the preupload question is not JSON") from None
    files = said.get("files") if isinstance(said, dict) else None
    if not isinstance(files, list):
        raise BadRequest("the preupload question names no files")
    if len(files) > MAX_FILES:
        raise BadRequest(f"preupload takes up to {MAX_FILES} files at a time")
    texts = [said.get("gitAttributes"), said.get("gitIgnore")]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise BadRequest("gitAttributes and gitIgnore are texts")
    return PreuploadQuestion([_planned(one) for one in files], *texts)


def _planned(one: object) -> Planned:
    if not isinstance(one, dict) or not isinstance(one.get("path"), str):
        raise BadRequest("a file of the preupload question has no path")
    path, size_bytes, sample = parse_new_path(one["path"]), one.get("size", 0), one.get("sample", "")
    if (
        not isinstance(size_bytes, int)
        or isinstance(size_bytes, bool)
        or not 0 <= size_bytes < MAX_FILE_BYTES
    ):
        raise BadRequest(f"{shown(path)} has no sensible size")
    text = sample if isinstance(sample, str) else ""
    try:
        return Planned(path, size_bytes, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise BadRequest(f"the sample of {shown(path)} is not base64") from None
