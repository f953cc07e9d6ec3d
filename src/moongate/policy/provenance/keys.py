"""Keys and certificates, and which of them are believed.

ECDSA on P-256, P-384 and P-521, each with the hash of its size, as OpenSSF Model Signing uses it. A chain of
certificates is right when every link is signed by the next, every one is in force at the time, issuers are
authorities, the leaf is for signatures, and a root that we believe stands at its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from moongate.core.errors import BadRequest, StoreError
from moongate.policy.provenance.identities import Identity, read_identities

_HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()
}  # fmt: skip
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
IDENTITIES: Final = "identities.yaml"
TRUSTED_ROOT: Final = "trusted_root.json"
_MOST_FILE_BYTES: Final = 4 << 20
_LONGEST_CHAIN: Final = 8
_MOST_CERTIFICATE_BYTES: Final = 64 << 10
# What a critical extension may be, since we look at it; any other one refuses the certificate.
_UNDERSTOOD: Final = (
    ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
)  # fmt: skip


class Untrusted(BadRequest):
    """A signature that is not right, or not by anybody who is believed; the message says why."""


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies. `name` is what we call it."""

    key: ec.EllipticCurvePublicKey
    name: str = ""

    @classmethod
    def of(cls, key: object, name: str = "") -> PublicKey:
        """
        Raises:
            Untrusted: it is of a kind that is not used for models.
        """
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
            raise Untrusted("the key is not ECDSA on P-256, P-384 or P-521")
        return cls(key, name)

    @cached_property
    def pem(self) -> bytes:
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def hint(self) -> str:
        """How bundles name it: the sha256 of its PEM."""
        return hashlib.sha256(self.pem).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        try:
            self.key.verify(signature, data, ec.ECDSA(_HASHES[self.key.curve.key_size]))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs; never printed."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    name: str = ""

    @classmethod
    def read(cls, path: Path) -> PrivateKey:
        """The key in a PEM file.

        Raises:
            BadRequest: there is none, or it is of another kind, or has a password.
        """
        try:
            key = load_pem_private_key(_read(path), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise BadRequest(f"{path.name} holds no private key without a password, in PEM") from None
        PublicKey.of(key.public_key())
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101
        return cls(key, path.stem)

    @classmethod
    def own(cls, path: Path) -> PrivateKey:
        """The gateway's own key, made when there is none; only its owner can read the file.

        Raises:
            StoreError: it cannot be made.
        """
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                partial = path.with_name(f"{path.name}.{os.getpid()}")
                fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as opened:
                    opened.write(pem)
                    opened.flush()
                    os.fsync(opened.fileno())
                # Whoever came first has the name; two processes must not sign with two keys.
                with contextlib.suppress(FileExistsError):
                    os.link(partial, path)
                partial.unlink()
            except OSError as error:
                raise StoreError(f"cannot make the signing key {path}: {error.strerror}") from error
        return cls.read(path)

    @property
    def public(self) -> PublicKey:
        return PublicKey.of(self.key.public_key(), self.name)

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(_HASHES[self.key.curve.key_size]))


@dataclass(frozen=True, slots=True)
class Trust:
    """Which signers are believed: keys, the roots of certificate chains, and identities without a key.

    trusted_root: who vouches for those identities, as sigstore writes it; empty when nobody does.
    """

    keys: tuple[PublicKey, ...] = ()
    roots: tuple[x509.Certificate, ...] = ()
    identities: tuple[Identity, ...] = ()
    trusted_root: bytes = b""

    @classmethod
    def read(cls, folder: Path) -> Trust:
        """Every `*.pem`, `*.pub` and `*.crt` of a folder: public keys (named as their files), and roots.

        With them `identities.yaml` and `trusted_root.json`, for signatures without a key.

        Raises:
            BadRequest: one of them is something else.
        """
        keys: list[PublicKey] = []
        roots: list[x509.Certificate] = []
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix not in (".pem", ".pub", ".crt"):
                continue
            text = _read(path)
            try:
                if b"BEGIN CERTIFICATE" in text:
                    roots += x509.load_pem_x509_certificates(text)
                else:
                    keys.append(PublicKey.of(load_pem_public_key(text), path.stem))
            except (ValueError, UnsupportedAlgorithm):
                raise BadRequest(f"{path.name} is neither a public key nor a certificate, in PEM") from None
        named, root = folder / IDENTITIES, folder / TRUSTED_ROOT
        try:
            listed = _read(named).decode() if named.exists() else ""
        except UnicodeDecodeError:
            raise BadRequest(f"{IDENTITIES} is not UTF-8") from None
        identities = read_identities(IDENTITIES, listed)
        return cls(tuple(keys), tuple(roots), identities, _read(root) if root.exists() else b"")

    def believes(self, identity: str, issuer: str) -> bool:
        return any(one.names(identity, issuer) for one in self.identities)

    def by_hint(self, hint: str) -> list[PublicKey]:
        """The keys that a bundle may mean; all of them when it names none."""
        return [key for key in self.keys if not hint or key.hint == hint]


def verify_chain(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], at: float
) -> PublicKey:
    """The leaf's key, once the chain leads from it to a root that is believed.

    Raises:
        Untrusted: it does not, or one of it was not in force at that time.
    """
    if not 1 <= len(chain) <= _LONGEST_CHAIN:
        raise Untrusted("the certificate chain is empty, or absurdly long")
    when = datetime.fromtimestamp(at, UTC)
    for depth, certificate in enumerate(chain):
        _check_one(certificate, depth, when)
        issuer = next((root for root in roots if _issued(certificate, root)), None)
        if issuer is not None:
            if issuer != certificate:
                _check_one(issuer, depth + 1, when)
            return PublicKey.of(chain[0].public_key(), subject_of(chain[0]))
        if depth + 1 < len(chain) and not _issued(certificate, chain[depth + 1]):
            raise Untrusted("the certificate chain is broken")
    raise Untrusted("the certificate chain leads to no root that is believed here")


def _check_one(certificate: x509.Certificate, depth: int, when: datetime) -> None:
    name = subject_of(certificate)
    if when > certificate.not_valid_after_utc:
        raise Untrusted(f"the certificate of {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if when < certificate.not_valid_before_utc:
        raise Untrusted(f"the certificate of {name} is not in force yet")
    try:
        extensions = {one.oid: one for one in certificate.extensions}
    except ValueError:
        raise Untrusted(f"the certificate of {name} cannot be read") from None
    strange = [
        one.oid.dotted_string for one in extensions.values() if one.critical and one.oid not in _UNDERSTOOD
    ]
    if strange:
        raise Untrusted(f"the certificate of {name} demands something that is not known here ({strange[0]})")
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if depth == 0:
        purposes = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
        if usage is not None and not usage.value.digital_signature:
            raise Untrusted(f"the certificate of {name} is not for signatures")
        if purposes is not None and ExtendedKeyUsageOID.CODE_SIGNING not in list(purposes.value):
            raise Untrusted(f"the certificate of {name} is not for signing code")
        return
    if constraints is None or not constraints.value.ca or (usage and not usage.value.key_cert_sign):
        raise Untrusted(f"{name} is no certificate authority")
    most = constraints.value.path_length
    if most is not None and depth - 1 > most:
        raise Untrusted(f"the certificate chain below {name} is longer than it may be")


@lru_cache(maxsize=1024)
def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether one signed the other: the same at any time, so it is found out once."""
    if certificate == issuer:
        return True
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def certificate_of(der: bytes) -> x509.Certificate:
    """A certificate, parsed once however often it is met.

    Raises:
        Untrusted: it is none.
    """
    if len(der) > _MOST_CERTIFICATE_BYTES:
        raise Untrusted("the signature holds an absurdly large certificate")
    return _parsed(der)


@lru_cache(maxsize=256)
def _parsed(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise Untrusted("the signature holds something that is no certificate") from None


def subject_of(certificate: x509.Certificate) -> str:
    """Whose certificate it is: an e-mail address or URI when it names one, else its common name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for kind in (x509.RFC822Name, x509.UniformResourceIdentifier):
            if found := names.get_values_for_type(kind):
                return str(found[0])[:200]
    except (x509.ExtensionNotFound, ValueError):
        pass
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value)[:200] if common else certificate.subject.rfc4514_string()[:200]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise BadRequest(f"cannot read {path}: {error.strerror}") from None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, in their order.

    Raises:
        BadRequest: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise BadRequest(f"{path.name} holds no certificate, in PEM") from None
