"""Keyless signatures of sigstore, verified offline by the library of sigstore's own project.

The signer gets a certificate for some minutes from an authority (Fulcio) that writes it into a log of
certificates, signs, and has the signature written into another log (Rekor). Held against a trusted root, a
file that an operator put here:

    the certificate     leads to the authority, is in its log, and was in force when it signed
    the entry           is in the log, as the log's key says, and is about this signature
    the time            is the log's, or that of a timestamp authority; never the clock's here

Nobody is asked: no log, no TUF. Who of those that an authority vouches for is believed, `identities` says.
The library is the extra `moongate[sigstore]`, loaded by the first bundle that needs it.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from moongate.policy.provenance.keys import TRUSTED_ROOT, Untrusted

if TYPE_CHECKING:
    from sigstore.verify import Verifier

_ISSUER: Final = "1.3.6.1.4.1.57264.1.1"
_ISSUER_V2: Final = "1.3.6.1.4.1.57264.1.8"
_KEPT: Final = 64
_MOST_KEPT_BYTES: Final = 1 << 20
_MOST_WORDS: Final = 200
# The library says what is wrong with a bundle in errors of its own; of what nobody would write, those of
# whatever it stumbles over come through.
_BROKEN: Final = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError,
    struct.error, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension,
    x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proven:
    """A payload that was signed by somebody for whom an authority of the trusted root vouches."""

    identity: str
    issuer: str
    payload_type: str
    payload: bytes


class TrustedRoot:
    """The authorities and logs of one trusted root. For any thread."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._known: OrderedDict[bytes, Proven] = OrderedDict()

    def prove(self, bundle: bytes) -> Proven:
        """What a bundle proves; at all times the same, so it is remembered.

        Raises:
            Untrusted: nothing, and why.
        """
        digest = hashlib.sha256(bundle).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._prove(bundle)
            if len(bundle) <= _MOST_KEPT_BYTES:
                self._known[digest] = known
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known

    def _prove(self, bundle: bytes) -> Proven:
        from sigstore.errors import CertValidationError, Error  # noqa: PLC0415
        from sigstore.models import Bundle  # noqa: PLC0415

        try:
            told = Bundle.from_json(bundle)
            payload_type, payload = self._verifier.verify_dsse(told, _Anybody())
            identity, issuer = _who(told.signing_certificate)
        except CertValidationError as error:
            raise Untrusted(
                f"the keyless signature's certificate leads to no authority of {TRUSTED_ROOT}, or was not in "
                f"force when it signed ({printable(str(error))})"
            ) from None
        except (Error, *_BROKEN) as error:
            raise Untrusted(f"the keyless signature is wrong: {printable(str(error))}") from None
        return Proven(identity, issuer, payload_type, payload)


class _Anybody:
    """A policy of the library's: whoever signed is to be named, and is believed or not after that."""

    def verify(self, cert: x509.Certificate) -> None:
        pass


@lru_cache(maxsize=4)
def trusted_root(text: bytes) -> TrustedRoot:
    """The trusted root that a file holds, in sigstore's format.

    Raises:
        Untrusted: it holds none, or the library is not installed.
    """
    try:
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import ClientTrustConfig  # noqa: PLC0415
        from sigstore.verify import Verifier  # noqa: PLC0415
    except ImportError:
        raise Untrusted(
            "it is a keyless signature of sigstore, and what verifies those is not installed "
            "(pip install 'moongate[sigstore]')"
        ) from None
    try:
        # The library reads a root by itself from a path only, and what is at a path may change.
        config = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": orjson.loads(text),
            "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
        }
        root = ClientTrustConfig.from_json(orjson.dumps(config).decode()).trusted_root
        return TrustedRoot(Verifier(trusted_root=root))
    except (Error, *_BROKEN) as error:
        raise Untrusted(
            f"it is a keyless signature of sigstore, and {TRUSTED_ROOT} among the trusted signers holds no "
            f"trusted root ({printable(str(error))})"
        ) from None


def _who(certificate: x509.Certificate) -> tuple[str, str]:
    """The identity and its issuer."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = [*names]
    if len(held) != 1 or not isinstance(held[0], x509.RFC822Name | x509.UniformResourceIdentifier):
        raise Untrusted("the keyless signature names no e-mail address or URI, or several")
    return held[0].value, _issuer(certificate)


def _issuer(certificate: x509.Certificate) -> str:
    """As the newer of the two extensions says; many certificates have both, and they must agree."""
    from cryptography.hazmat import asn1  # noqa: PLC0415 - newer than what the gateway needs without this

    told = {
        one.oid.dotted_string: one.value.value
        for one in certificate.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
    }
    found = {told[_ISSUER].decode()} if _ISSUER in told else set()
    if _ISSUER_V2 in told:
        found.add(asn1.decode_der(str, told[_ISSUER_V2]))
    if len(found) != 1:
        raise Untrusted("the keyless signature does not say, or not clearly, who vouches for the signer")
    return found.pop()


def printable(words: str) -> str:
    """One short line; strangers write what certificates and bundles say."""
    line = " ".join(words.split())
    return "".join(char if char.isprintable() else "�" for char in line)[:_MOST_WORDS]
