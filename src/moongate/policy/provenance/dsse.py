"""DSSE envelopes, as sigstore bundles and in-toto attestations hold them. Source: DSSE v1."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from moongate.core.errors import BadRequest
from moongate.policy.provenance.keys import PrivateKey, PublicKey

IN_TOTO: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its signatures; nothing of it is believed until one verifies."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]

    @classmethod
    def of(cls, told: object) -> Envelope:
        """
        Raises:
            BadRequest: it is no envelope.
        """
        if not isinstance(told, dict):
            raise BadRequest("the signature holds no envelope")
        signatures = told.get("signatures")
        if not isinstance(signatures, list) or not 1 <= len(signatures) <= 16:
            raise BadRequest("the envelope holds no signature, or too many")
        return cls(
            str(told.get("payloadType", ""))[:200],
            unbase64(told.get("payload")),
            tuple(unbase64(one.get("sig") if isinstance(one, dict) else None) for one in signatures),
        )

    @property
    def signed_bytes(self) -> bytes:
        """What was really signed."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    def is_signed_by(self, key: PublicKey) -> bool:
        return any(key.verifies(signature, self.signed_bytes) for signature in self.signatures)

    def as_json(self, key_id: str = "") -> dict[str, Any]:
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"sig": base64.b64encode(signature).decode(), "keyid": key_id}
                for signature in self.signatures
            ],
        }


def sealed(payload: bytes, key: PrivateKey, payload_type: str = IN_TOTO) -> Envelope:
    """An envelope around a payload, signed."""
    bare = Envelope(payload_type, payload, ())
    return Envelope(payload_type, payload, (key.sign(bare.signed_bytes),))


def unbase64(text: object) -> bytes:
    """
    Raises:
        BadRequest: it is no base64.
    """
    if not isinstance(text, str):
        raise BadRequest("the signature lacks something that is base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("the signature holds something that is no base64") from None


def text_of(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""
