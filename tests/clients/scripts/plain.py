"""What the scripts here have in common: a plan in, JSON out, any client object as plain values.

These run inside a client's own environment, so they use nothing but that client and the standard library.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

PLAN: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}


def tell(answer: object) -> None:
    """Print the answer as the last line."""
    print(json.dumps(answer, sort_keys=True))


def sha256(path: str | Path) -> str:
    """The digest of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def contents(folder: str | Path) -> dict[str, str]:
    """The digest of every file below a folder, by its path in it; but the client's own notes."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".cache" not in path.parts
    }


_OWN = re.compile("xet|security", re.IGNORECASE)
"""The gateway speaks of its own CAS, and of what its own scans found."""


def plain(value: object) -> Any:
    """Any client object as JSON values, by its public attributes, without what speaks of Xet or of scans."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if not _OWN.search(str(key))}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return plain({key: item for key, item in vars(value).items() if not key.startswith("_")})
    return str(value)


def outcome(call: Callable[[], object]) -> dict[str, Any]:
    """What a call gave, or the name of what it raised with its coded facts."""
    try:
        return {"gave": plain(call())}
    except Exception as error:  # noqa: BLE001 - the kind of error is the finding
        answer = getattr(error, "response", None)
        return {
            "raised": type(error).__name__,
            "status": getattr(answer, "status_code", None),
            "message": str(error),
        }
