"""Keys, and certificates of an authority that exists for one test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moongate.policy.provenance.keys import PrivateKey

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def new_key(curve: ec.EllipticCurve | None = None) -> PrivateKey:
    return PrivateKey(ec.generate_private_key(curve or ec.SECP256R1()), "release-team")


def write_key(key: PrivateKey, folder: Path, name: str = "key") -> tuple[Path, Path]:
    """Its private and its public file."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public.pem)
    return private, public


@dataclass
class Authority:
    """A root, and an authority below it that issues leaves."""

    root: x509.Certificate
    middle: x509.Certificate
    middle_key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, *, middle_is_authority: bool = True) -> Authority:
        root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _issue("Test Root", root_key.public_key(), "Test Root", root_key, is_authority=True)
        middle = _issue(
            "Test CA", middle_key.public_key(), "Test Root", root_key, is_authority=middle_is_authority
        )
        return cls(root, middle, middle_key)

    def leaf(
        self,
        key: PrivateKey,
        email: str = "release@acme.example",
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 30 * DAY,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> x509.Certificate:
        return _issue(
            "Release", key.key.public_key(), "Test CA", self.middle_key,
            email=email, begins=begins, ends=ends, purpose=purpose,
        )  # fmt: skip


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def _issue(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
    email: str = "",
    begins: datetime = NOW - 365 * DAY,
    ends: datetime = NOW + 365 * DAY,
    purpose: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if email:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
