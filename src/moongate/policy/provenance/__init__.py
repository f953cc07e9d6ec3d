"""Who vouches for content, and what this gateway can say of where it came from.

    dsse            envelopes: what exactly is signed
    keys            keys and certificates, and which of them are believed (`Trust`)
    identities      who signs without a key, as an issuer names them, and which of them are believed
    keyless         what a sigstore bundle without a key proves, offline
    model_signing   OpenSSF Model Signing: verify against digests that are known, and sign
    statements      in-toto statements: upstream commit → verdicts → approval → delivery
    cyclonedx · spdx    bills of materials

Signed says who, never that it is safe.
"""
