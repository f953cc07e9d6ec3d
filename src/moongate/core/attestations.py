"""Signed statements about a commit, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

AttestationKind: TypeAlias = Literal["model-signature", "provenance"]
"""`model-signature`: a sigstore bundle over the files. `provenance`: an in-toto statement in its envelope."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """One of them, as it was made here. signer: the key's name, for people."""

    kind: AttestationKind
    signer: str
    made_at: float
    body: bytes
