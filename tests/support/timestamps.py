"""A timestamp authority that exists for one test: it says when it saw something (RFC 3161, RFC 5652)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.signers import DAY, NOW

_SEQUENCE, _SET, _INTEGER, _OCTETS, _TIME = 0x30, 0x31, 0x02, 0x04, 0x18
_INNER: Final = 0xA0
_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")
_CONTENT_TYPE: Final = bytes.fromhex("06092a864886f70d010903")
_MESSAGE_DIGEST: Final = bytes.fromhex("06092a864886f70d010904")
_TST_INFO: Final = bytes.fromhex("060b2a864886f70d0109100104")
_POLICY: Final = bytes.fromhex("06032a0304")
_SHA256: Final = bytes.fromhex("0609608648016503040201")
_ECDSA_SHA256: Final = bytes.fromhex("06082a8648ce3d040302")


@dataclass
class Timestamps:
    """An authority with a root above it."""

    leaf: x509.Certificate
    root: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Timestamps:
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("times root", root_key, "times root", root_key, is_authority=True)
        return cls(_certificate("times", key, "times root", root_key, is_authority=False), root, key)

    def stamp(self, message: bytes, at: datetime) -> bytes:
        """A response that says: seen at that time."""
        imprint = _der(_SEQUENCE, _der(_SEQUENCE, _SHA256), _der(_OCTETS, hashlib.sha256(message).digest()))
        when = _der(_TIME, f"{at:%Y%m%d%H%M%S}Z".encode())
        info = _der(_SEQUENCE, _integer(1), _POLICY, imprint, _integer(7), when)
        attributes = (
            _der(_SEQUENCE, _CONTENT_TYPE, _der(_SET, _TST_INFO)),
            _der(_SEQUENCE, _MESSAGE_DIGEST, _der(_SET, _der(_OCTETS, hashlib.sha256(info).digest()))),
        )
        # Signed as the set that they are, written with the tag of the place where they stand.
        signature = self.key.sign(_der(_SET, *attributes), ec.ECDSA(hashes.SHA256()))
        signer = _der(
            _SEQUENCE,
            _integer(1),
            _der(_SEQUENCE, self.leaf.issuer.public_bytes(), _integer(self.leaf.serial_number)),
            _der(_SEQUENCE, _SHA256),
            _der(_INNER, *attributes),
            _der(_SEQUENCE, _ECDSA_SHA256),
            _der(_OCTETS, signature),
        )
        held = _der(_SEQUENCE, _TST_INFO, _der(_INNER, _der(_OCTETS, info)))
        data = _der(_SEQUENCE, _integer(3), _der(_SET, _der(_SEQUENCE, _SHA256)), held, _der(_SET, signer))
        granted = _der(_SEQUENCE, _integer(0))
        return _der(_SEQUENCE, granted, _der(_SEQUENCE, _SIGNED_DATA, _der(_INNER, data)))


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 365 * DAY)
        .not_valid_after(NOW + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(purpose, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())
