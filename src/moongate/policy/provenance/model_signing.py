"""OpenSSF Model Signing: a sigstore bundle, a DSSE envelope, an in-toto statement of files and digests.

Verifying compares with digests that are known already; no file is read. The signer chose `ignore_paths`, and
the reference tool ignores `.git*` by default, so a signature may say nothing of a file that is there: such
files are named as not covered, whatever the signer calls them.

Source: the OMS specification and the reference implementation, predicate
https://model_signing/signature/v1.0.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from moongate.core.errors import BadRequest
from moongate.policy.provenance.dsse import IN_TOTO, Envelope, sealed, text_of, unbase64
from moongate.policy.provenance.keyless import printable, trusted_root
from moongate.policy.provenance.keys import (
    IDENTITIES,
    TRUSTED_ROOT,
    PrivateKey,
    Trust,
    Untrusted,
    certificate_of,
    verify_chain,
)

PREDICATE: Final = "https://model_signing/signature/v1.0"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE_NAMES: Final = ("model.sig", "model.sig.json", "model.sigstore.json")
MAX_BUNDLE_BYTES: Final = 64 << 20

_BUNDLES: Final = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(?:\.v0\.3\+json|\+json;version=0\.[123])"
)
_HEX_CHARS: Final = 64
_HEX: Final = re.compile(r"[0-9a-f]*")

Method = Literal["key", "certificate", "keyless"]


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature states: who signed which digest of which path. Believed: the signature was right."""

    signer: str
    method: Method
    digests: Mapping[str, str]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """A signature held against the files that are there.

    changed: signed with another digest. missing: signed, and not there. uncovered: there, and not signed;
    of these `ignored` were left out by the signer's own word. unknown: signed, and the digest of what is
    there is not known here. why: what is wrong with the signature itself; then nothing else is filled.
    """

    signer: str = ""
    method: Method | Literal[""] = ""
    covered: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    why: str = ""

    @property
    def valid(self) -> bool:
        """Whether it is right, in force, and true of every file that it names."""
        return bool(self.signer) and not (self.why or self.changed or self.missing or self.unknown)

    @property
    def complete(self) -> bool:
        """Whether it also covers every file that is there."""
        return self.valid and not self.uncovered

    def covers(self, path: str) -> bool:
        return self.valid and path in self.covered

    def as_json(self) -> dict[str, object]:
        return {
            "valid": self.valid,
            "complete": self.complete,
            "signer": self.signer or None,
            "method": self.method or None,
            "why": self.why or None,
            "covered": list(self.covered),
            "uncovered": list(self.uncovered),
            "ignored_by_signer": list(self.ignored),
            "changed": list(self.changed),
            "missing": list(self.missing),
            "unknown": list(self.unknown),
        }


def verify(
    bundle: bytes, files: Mapping[str, str | None], trust: Trust, at: float, own_path: str = ""
) -> Coverage:
    """A bundle held against files: path and sha256 (None where that is not known). Reads nothing.

    Args:
        own_path: the signature's own file, which cannot be part of what it signs.
        at: seconds since the epoch; a certificate must be in force then, a keyless one when it signed.
    """
    try:
        signed = read_bundle(bundle, trust, at)
    except BadRequest as error:
        return Coverage(why=error.message)
    return cover(signed, files, own_path)


def cover(signed: Signed, files: Mapping[str, str | None], own_path: str = "") -> Coverage:
    """What a signature says of these files."""
    covered, changed, uncovered, unknown = list[str](), list[str](), list[str](), list[str]()
    stated = signed.digests
    for path, digest in files.items():
        if path == own_path:
            continue
        wanted = stated.get(path)
        if wanted is None:
            uncovered.append(path)
        elif not digest:
            unknown.append(path)
        else:
            (covered if digest == wanted else changed).append(path)
    uncovered.sort()
    return Coverage(
        signed.signer,
        signed.method,
        covered=tuple(covered),
        changed=tuple(changed),
        missing=tuple(path for path in stated if path not in files or path == own_path),
        uncovered=tuple(uncovered),
        ignored=tuple(path for path in uncovered if _is_ignored(path, signed.ignored)),
        unknown=tuple(unknown),
    )


def _is_ignored(path: str, ignored: Sequence[str]) -> bool:
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in ignored)


def read_bundle(bundle: bytes, trust: Trust, at: float) -> Signed:
    """What a bundle states, once its signature is right and by somebody who is believed.

    Raises:
        Untrusted: it is not.
        BadRequest: it is no bundle of this kind.
    """
    told = _object(bundle, "the signature")
    if not _BUNDLES.fullmatch(text_of(told, "mediaType")):
        raise BadRequest("the signature is no sigstore bundle")
    envelope = Envelope.of(told.get("dsseEnvelope"))
    if envelope.payload_type != IN_TOTO:
        raise BadRequest("the signature is around something that is no in-toto statement")
    material = told.get("verificationMaterial")
    if not isinstance(material, dict):
        raise BadRequest("the signature does not say how to verify it")
    if isinstance(material.get("certificate"), dict):
        return _keyless(bundle, trust)
    try:
        signer, method = _signer(envelope, material, trust, at)
    except Untrusted:
        # Older bundles hold the certificate as a chain, and a log's entry tells it from an authority's own.
        if not (isinstance(material.get("x509CertificateChain"), dict) and material.get("tlogEntries")):
            raise
        return _keyless(bundle, trust)
    return _statement(envelope.payload, signer, method)


def _keyless(bundle: bytes, trust: Trust) -> Signed:
    if not trust.trusted_root:
        raise Untrusted(
            f"it is a keyless signature of sigstore; to verify those, put a {TRUSTED_ROOT} and an "
            f"{IDENTITIES} into the folder of trusted signers"
        )
    proven = trusted_root(trust.trusted_root).prove(bundle)
    if not trust.believes(proven.identity, proven.issuer):
        who = printable(f"{proven.identity} ({proven.issuer})")
        raise Untrusted(f"it is signed by {who}, who is not believed here; {IDENTITIES} says who is")
    if proven.payload_type != IN_TOTO:
        raise BadRequest("the signature is around something that is no in-toto statement")
    # What was proven is read, not what this file took out of the bundle: two readers may read it in two ways.
    return _statement(proven.payload, proven.identity, "keyless")


def _signer(envelope: Envelope, material: Mapping[str, Any], trust: Trust, at: float) -> tuple[str, Method]:
    named = material.get("publicKey")
    if isinstance(named, dict):
        candidates = trust.by_hint(text_of(named, "hint"))
        if not candidates:
            raise Untrusted("it is signed with a key that is not believed here")
        key = next((key for key in candidates if envelope.is_signed_by(key)), None)
        if key is None:
            raise Untrusted("the signature is wrong")
        return key.name or key.hint[:16], "key"
    held = material.get("x509CertificateChain")
    if isinstance(held, dict):
        chain = [_certificate(one) for one in _list(held.get("certificates"))]
        leaf = verify_chain(chain, trust.roots, at)
        if not envelope.is_signed_by(leaf):
            raise Untrusted("the signature is wrong")
        return leaf.name, "certificate"
    raise Untrusted("it is signed in a way that cannot be verified here")


def _certificate(told: object) -> x509.Certificate:
    return certificate_of(unbase64(told.get("rawBytes") if isinstance(told, dict) else None))


def _statement(payload: bytes, signer: str, method: Method) -> Signed:
    told = _object(payload, "the signed statement")
    if told.get("_type") != STATEMENT or told.get("predicateType") != PREDICATE:
        raise BadRequest("the signed statement is not about a model's files")
    predicate = told.get("predicate")
    subjects = _list(told.get("subject"))
    if not isinstance(predicate, dict) or len(subjects) != 1:
        raise BadRequest("the signed statement lacks its subject or its files")
    serialization = predicate.get("serialization")
    if not isinstance(serialization, dict) or serialization.get("method") != "files":
        raise BadRequest("the files were hashed in pieces; only whole files can be compared here")
    digests = _digests(_list(predicate.get("resources")))
    root = hashlib.sha256(bytes.fromhex("".join(digests.values()))).hexdigest()
    subject = subjects[0].get("digest") if isinstance(subjects[0], dict) else None
    if not digests or not isinstance(subject, dict) or subject.get("sha256") != root:
        raise BadRequest("the signed statement contradicts itself")
    ignored = tuple(str(one) for one in _list(serialization.get("ignore_paths")))
    return Signed(signer, method, digests, ignored)


def _digests(resources: Sequence[Any]) -> dict[str, str]:
    """The sha256 of every file, in the statement's order; looked at together, since there may be many."""
    wrong = BadRequest("the signed statement names a file twice, or without its sha256")
    try:
        digests: dict[Any, str] = {one["name"]: one["digest"] for one in resources}
        algorithms = {one["algorithm"] for one in resources}
        together = "".join(digests.values())
    except (TypeError, KeyError):
        raise wrong from None
    if len(digests) != len(resources) or algorithms - {"sha256"} or not _HEX.fullmatch(together):
        raise wrong
    if not all(isinstance(name, str) and name and len(digests[name]) == _HEX_CHARS for name in digests):
        raise wrong
    return digests


def sign(
    name: str,
    files: Mapping[str, str],
    key: PrivateKey,
    certificates: Sequence[x509.Certificate] = (),
    ignored: Sequence[str] = (),
) -> bytes:
    """A bundle over these files (path and sha256), as the reference tool reads it.

    Args:
        certificates: the key's own and those above it; then the signer is whom the first one names.
        ignored: paths that lie beside the files and are not signed, said so that others see it.

    Raises:
        BadRequest: there is nothing to sign, or the first certificate is another key's.
    """
    if not files:
        raise BadRequest("there is nothing to sign")
    if certificates and certificates[0].public_key() != key.key.public_key():
        raise BadRequest("the certificate is not that of the key")
    root = hashlib.sha256()
    resources = []
    for path in sorted(files, key=lambda path: path.split("/")):
        root.update(bytes.fromhex(files[path]))
        resources.append({"name": path, "algorithm": "sha256", "digest": files[path]})
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted(ignored),
            },
            "resources": resources,
        },
    }
    envelope = sealed(orjson.dumps(statement, option=orjson.OPT_INDENT_2), key)
    return orjson.dumps(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {**_material(key, certificates), "tlogEntries": []},
            "dsseEnvelope": envelope.as_json(),
        }
    )


def _material(key: PrivateKey, certificates: Sequence[x509.Certificate]) -> dict[str, object]:
    if not certificates:
        return {"publicKey": {"hint": key.public.hint}}

    chain = [{"rawBytes": base64.b64encode(one.public_bytes(Encoding.DER)).decode()} for one in certificates]
    return {"x509CertificateChain": {"certificates": chain}}


def _object(body: bytes, what: str) -> dict[str, Any]:
    if len(body) > MAX_BUNDLE_BYTES:
        raise BadRequest(f"{what} is longer than {MAX_BUNDLE_BYTES >> 20} MiB")
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest(f"{what} is not JSON") from None
    if not isinstance(told, dict):
        raise BadRequest(f"{what} is not a JSON object")
    return told


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
