"""An Ed25519 key in a home: made when there is none, readable by its owner alone.

home/audit.key      the private key, PEM (PKCS 8)
home/audit.pub      the public key, PEM; fit to be given away
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from moongate.core.errors import StoreError


class PublicKey:
    """What signatures are checked with."""

    def __init__(self, raw: bytes) -> None:
        """`raw`: 32 bytes.

        Raises:
            ValueError: they are no key.
        """
        self.raw = raw
        self.id = hashlib.sha256(raw).hexdigest()[:16]
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """The key in a PEM file.

        Raises:
            StoreError: it cannot be read, or is none.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read a public key in {path}: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise StoreError(f"{path} holds a key of another kind than Ed25519")
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def pem(self) -> str:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signed(self, signature: bytes, data: bytes) -> bool:
        """Whether this key's other half made that signature of the data."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key. It shows itself to nobody."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    @classmethod
    def of_home(cls, home: Path, name: str) -> SigningKey:
        """The key of this name in a home, made when there is none; of several makers the first one's stays.

        Raises:
            StoreError: it cannot be read or made, or is damaged.
        """
        path = home / f"{name}.key"
        try:
            if not path.exists():
                _make(path)
            key = load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise StoreError(f"cannot keep a key in {path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StoreError(f"{path} holds a key of another kind than Ed25519")
        signing = cls(key)
        public = path.with_suffix(".pub")
        if not public.exists():
            with suppress(OSError):  # anybody who has the key can write it again
                public.write_text(signing.public.pem)
        return signing


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
