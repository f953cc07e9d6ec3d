"""The secret that a home's processes share: what Xet tokens and data addresses are signed with.

    home/xet.secret      32 random bytes, readable by its owner alone

It is made once, by whichever process comes first, and never changes: addresses given out by one worker, or
before a restart, hold in every other. Whoever removes it takes back all tokens and addresses at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from moongate.core.errors import StoreError

NAME = "xet.secret"
_BYTES = 32


def shared_secret(home: Path) -> bytes:
    """The home's secret, made when there is none.

    Raises:
        StoreError: it cannot be read or made, or is not what we made.
    """
    path = home / NAME
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot keep a secret in {path}: {error.strerror}") from error
    if len(secret) != _BYTES:
        raise StoreError(f"{path} is damaged; remove it, and a new one is made")
    return secret


def key_for(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none can be mistaken for another's."""
    return hmac.digest(secret, purpose.encode(), hashlib.sha256)


def _make(path: Path) -> None:
    """Writes it whole before it has its name; of several processes the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
