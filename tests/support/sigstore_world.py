"""A sigstore that exists for one test: an authority, a log of certificates, a log of signatures, their root.

Nothing in it was ever served by anybody. What `Sigstore.bundle` makes is right; its arguments make one thing
wrong each. Formats: RFC 6962 (signed certificate timestamps, hashes of a tree), the checkpoints of
transparency-dev, Rekor's entries `dsse` 0.0.1 and `hashedrekord` 0.0.2, sigstore's root 0.1 and bundle 0.3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moongate.policy.provenance.dsse import Envelope
from moongate.policy.provenance.keys import PrivateKey
from moongate.policy.provenance.model_signing import sign
from support.signers import DAY, NOW
from support.timestamps import Timestamps

IDENTITY: Final = "release@acme.example"
ISSUER: Final = "https://accounts.acme.example"

_SCTS: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_V1: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SHA256_ECDSA: Final = b"\x04\x03"


def new_ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Sigstore:
    """Its root signs leaves itself, as an authority without one below it may."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_ec)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=new_ec)
    rekor_key: ec.EllipticCurvePrivateKey = field(default_factory=new_ec)
    times: Timestamps = field(default_factory=Timestamps.new)

    def __post_init__(self) -> None:
        self.root = _root(self.root_key)

    @property
    def trusted_root(self) -> bytes:
        """As `trusted_root.json` holds it."""
        begins = {"start": "2020-01-01T00:00:00Z"}

        def authority(name: str, *chain: x509.Certificate) -> dict[str, Any]:
            return {
                "subject": {"organization": "acme", "commonName": name},
                "uri": f"https://{name}.acme.example",
                "certChain": {"certificates": [{"rawBytes": _b64(_der(one))} for one in chain]},
                "validFor": begins,
            }

        def log(name: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            return {
                "baseUrl": f"https://{name}.acme.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": _b64(_spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": begins,
                },
                "logId": {"keyId": _b64(_key_id(key))},
            }

        told = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("rekor", self.rekor_key)],
            "certificateAuthorities": [authority("fulcio", self.root)],
            "ctlogs": [log("ct", self.ct_key)],
            "timestampAuthorities": [authority("times", self.times.leaf, self.times.root)],
        }
        return json.dumps(told).encode()

    @property
    def client_config(self) -> bytes:
        """As the reference tool's `--trust_config` reads it."""
        told = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": json.loads(self.trusted_root),
            "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
        }
        return json.dumps(told).encode()

    def bundle(
        self,
        files: Mapping[str, str],
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        signed_at: datetime = NOW,
        entered_after: timedelta = timedelta(seconds=5),
        *,
        ct_key: ec.EllipticCurvePrivateKey | None = None,
        promise_key: ec.EllipticCurvePrivateKey | None = None,
        checkpoint_key: ec.EllipticCurvePrivateKey | None = None,
        logged: bytes | None = None,
        older_issuer: str = "",
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        with_sct: bool = True,
    ) -> dict[str, Any]:
        """A bundle over files (path and sha256), with a certificate of ten minutes.

        Args:
            ct_key, promise_key, checkpoint_key: who signs in the place of a log.
            logged: another payload, which the log's entry is about.
            older_issuer: what the older of the two extensions says, when it is something else.
        """
        key = new_ec()
        held: dict[str, Any] = json.loads(sign("model", files, PrivateKey(key), ignored=["model.sig"]))
        envelope = Envelope.of(held["dsseEnvelope"])
        issuers = (older_issuer or issuer, issuer)
        unlogged = self._unlogged(key, identity, issuers, signed_at, purpose)
        log_key = (ct_key or self.ct_key) if with_sct else None
        leaf = self._certified(unlogged, signed_at, log_key)
        body = _entry(envelope, leaf, envelope.payload if logged is None else logged)
        held["verificationMaterial"] = {
            "certificate": {"rawBytes": _b64(_der(leaf))},
            "tlogEntries": [
                self._logged(
                    body,
                    signed_at + entered_after,
                    promise_key or self.rekor_key,
                    checkpoint_key or self.rekor_key,
                )
            ],
        }
        return held

    def stamped_bundle(
        self,
        files: Mapping[str, str],
        stamped_after: timedelta = timedelta(seconds=5),
        *,
        times: Timestamps | None = None,
        stamped: bytes | None = None,
    ) -> dict[str, Any]:
        """As the log's second version has it: it states no time itself, a timestamp authority does.

        Args:
            times: another authority than ours. stamped: what it saw, in place of the signature.
        """
        held = self.bundle(files)
        material = held["verificationMaterial"]
        envelope = Envelope.of(held["dsseEnvelope"])
        body = _second_entry(envelope, material["certificate"]["rawBytes"])
        entry = self._logged(body, NOW, self.rekor_key, self.rekor_key)
        del entry["integratedTime"], entry["inclusionPromise"]
        entry["kindVersion"] = {"kind": "hashedrekord", "version": "0.0.2"}
        seen = envelope.signatures[0] if stamped is None else stamped
        response = (times or self.times).stamp(seen, NOW + stamped_after)
        material["tlogEntries"] = [entry]
        material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": _b64(response)}]}
        return held

    def _unlogged(
        self,
        key: ec.EllipticCurvePrivateKey,
        identity: str,
        issuers: tuple[str, str],
        begins: datetime,
        purpose: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        """All of a leaf but what a log of certificates says of it. issuers: the older word's, the newer's."""
        named = (
            x509.RFC822Name(identity)
            if "@" in identity.split("/", 1)[0]
            else x509.UniformResourceIdentifier(identity)
        )
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(minutes=10))
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([named]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V1, issuers[0].encode()), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER_V2, b"\x0c%c" % len(issuers[1]) + issuers[1].encode()),
                critical=False,
            )
        )

    def _certified(
        self, unlogged: x509.CertificateBuilder, begins: datetime, log_key: ec.EllipticCurvePrivateKey | None
    ) -> x509.Certificate:
        bare = unlogged.sign(self.root_key, hashes.SHA256())
        if log_key is None:
            return bare
        # What the log signs is the certificate as it is without the extension that tells of it.
        scts = _scts(bare.tbs_certificate_bytes, begins, self.root_key, log_key)
        logged = unlogged.add_extension(x509.UnrecognizedExtension(_SCTS, scts), critical=False)
        return logged.sign(self.root_key, hashes.SHA256())

    def _logged(
        self,
        body: bytes,
        at: datetime,
        promise_key: ec.EllipticCurvePrivateKey,
        checkpoint_key: ec.EllipticCurvePrivateKey,
    ) -> dict[str, Any]:
        """The one entry of a log: of a tree of one, the root is the hash of the leaf."""
        log_id, seconds = _key_id(self.rekor_key), int(at.timestamp())
        promised = {
            "body": _b64(body), "integratedTime": seconds, "logID": log_id.hex(), "logIndex": 0
        }  # fmt: skip
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        root = hashlib.sha256(b"\x00" + body).digest()
        note = f"rekor.acme.example - 1\n1\n{_b64(root)}\n"
        noted = _b64(log_id[:4] + _signed(checkpoint_key, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_signed(promise_key, canonical))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n— rekor.acme.example {noted}\n"},
            },
            "canonicalizedBody": _b64(body),
        }


def packed(bundle: dict[str, Any]) -> bytes:
    return json.dumps(bundle).encode()


def _entry(envelope: Envelope, leaf: x509.Certificate, payload: bytes) -> bytes:
    """What the log writes down of an envelope."""
    whole = json.dumps(envelope.as_json()).encode()
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(whole).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [
            {
                "signature": _b64(envelope.signatures[0]),
                "verifier": _b64(leaf.public_bytes(Encoding.PEM)),
            }
        ],
    }
    told = {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def _second_entry(envelope: Envelope, leaf: str) -> bytes:
    """What the second version of the log writes down of an envelope."""
    digest = hashlib.sha256(envelope.signed_bytes).digest()
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": leaf}}
    spec = {
        "data": {"algorithm": "SHA2_256", "digest": _b64(digest)},
        "signature": {"content": _b64(envelope.signatures[0]), "verifier": verifier},
    }
    told = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def _scts(
    bare: bytes, at: datetime, issuer: ec.EllipticCurvePrivateKey, log: ec.EllipticCurvePrivateKey
) -> bytes:
    """The list of one signed certificate timestamp, as its extension holds it (RFC 6962, 3.2 and 3.3)."""
    milliseconds = int(at.timestamp() * 1000)
    entry = hashlib.sha256(_spki(issuer)).digest() + len(bare).to_bytes(3, "big") + bare
    data = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
    signature = _signed(log, data)
    sct = struct.pack("!B32sQH", 0, _key_id(log), milliseconds, 0) + _SHA256_ECDSA
    sct += struct.pack("!H", len(signature)) + signature
    listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
    assert len(listed) < 256
    return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else b"\x81" + bytes([len(listed)])) + listed


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme root")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 365 * DAY)
        .not_valid_after(NOW + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
