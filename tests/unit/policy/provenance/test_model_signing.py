"""Model signatures held against digests: who signed, what is covered, and every way in which it is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from moongate.core.errors import BadRequest
from moongate.policy.provenance.dsse import sealed
from moongate.policy.provenance.keys import PrivateKey, Trust
from moongate.policy.provenance.model_signing import Coverage, sign, verify
from support.signers import DAY, NOW, Authority, new_key

FILES = {
    path: hashlib.sha256(path.encode()).hexdigest()
    for path in ("README.md", "a/x.bin", "a.b", "w.safetensors")
}
AT = NOW.timestamp()
KEY = new_key()
TRUST = Trust((KEY.public,))


def check(bundle: bytes, files: dict[str, str | None] | None = None, trust: Trust = TRUST) -> Coverage:
    return verify(bundle, dict(FILES) if files is None else files, trust, AT, "model.sig")


class TestCoverage:
    def test_what_was_signed_is_covered_and_names_the_signer(self) -> None:
        told = check(sign("acme/tiny", FILES, KEY), {**FILES, "model.sig": "0" * 64})
        assert (told.valid, told.complete, told.signer, told.method) == (True, True, "release-team", "key")
        assert set(told.covered) == set(FILES)

    def test_a_changed_a_missing_and_an_unknown_file_each_end_it(self) -> None:
        bundle = sign("acme/tiny", FILES, KEY)
        changed = check(bundle, {**FILES, "a.b": "0" * 64})
        assert (changed.valid, changed.changed) == (False, ("a.b",))
        missing = check(bundle, {path: digest for path, digest in FILES.items() if path != "a.b"})
        assert (missing.valid, missing.missing) == (False, ("a.b",))
        unknown = check(bundle, {**FILES, "a.b": None})
        assert (unknown.valid, unknown.unknown) == (False, ("a.b",))
        assert not changed.covers("README.md")

    def test_files_that_are_not_signed_are_named_also_those_the_signer_ignored(self) -> None:
        bundle = sign("acme/tiny", FILES, KEY, ignored=[".gitattributes", "extra"])
        extra = {
            ".gitattributes": "1" * 64,
            "extra/loader.py": "2" * 64,
            "loader.py": "3" * 64,
            ".github/x": None,
        }
        told = check(bundle, {**FILES, **extra})
        assert (told.valid, told.complete) == (True, False)
        assert told.uncovered == (".gitattributes", ".github/x", "extra/loader.py", "loader.py")
        assert told.ignored == (".gitattributes", "extra/loader.py")
        assert not told.covers("extra/loader.py")

    @pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
    def test_every_curve(self, curve: ec.EllipticCurve) -> None:
        key = new_key(curve)
        assert check(sign("x", FILES, key), trust=Trust((KEY.public, key.public))).complete


class TestWho:
    def test_a_key_that_is_not_believed(self) -> None:
        told = check(sign("x", FILES, new_key()))
        assert told == Coverage(why="it is signed with a key that is not believed here")

    def test_a_keyless_identity_is_refused_by_name(self) -> None:
        bundle = json.loads(sign("x", FILES, KEY))
        leaf = base64.b64encode(Authority.new().leaf(KEY).public_bytes(Encoding.DER)).decode()
        for certificate in (leaf, "", None, 1):
            bundle["verificationMaterial"] = {
                "certificate": {"rawBytes": certificate},
                "tlogEntries": [{"logIndex": "1", "integratedTime": str(int(AT))}],
            }
            told = check(json.dumps(bundle).encode())
            assert (told.valid, told.signer) == (False, "")
            assert "keyless" in told.why

    def test_an_absurdly_large_certificate_is_not_kept_in_memory(self) -> None:
        bundle = json.loads(sign("x", FILES, KEY))
        large = base64.b64encode(bytes(1 << 20)).decode()
        bundle["verificationMaterial"] = {"x509CertificateChain": {"certificates": [{"rawBytes": large}]}}
        assert "absurdly large" in check(json.dumps(bundle).encode()).why

    def test_a_signature_by_another_key_under_the_hint_of_a_believed_one(self) -> None:
        bundle = json.loads(sign("x", FILES, new_key()))
        bundle["verificationMaterial"]["publicKey"]["hint"] = KEY.public.hint
        assert check(json.dumps(bundle).encode()).why == "the signature is wrong"

    def chain(self, **leaf: Any) -> tuple[bytes, Authority, PrivateKey]:
        authority, key = Authority.new(), new_key()
        return sign("x", FILES, key, [authority.leaf(key, **leaf), authority.middle]), authority, key

    def test_a_certificate_names_whom_it_was_issued_to(self) -> None:
        bundle, authority, _ = self.chain()
        told = check(bundle, trust=Trust(roots=(authority.root,)))
        assert (told.complete, told.signer, told.method) == (True, "release@acme.example", "certificate")

    def test_an_expired_signer_is_refused_and_one_of_tomorrow_too(self) -> None:
        bundle, authority, _ = self.chain(ends=NOW - DAY / 2)
        told = check(bundle, trust=Trust(roots=(authority.root,)))
        assert told.why == "the certificate of release@acme.example expired on 2026-11-28"
        bundle, authority, _ = self.chain(begins=NOW + DAY)
        assert "not in force yet" in check(bundle, trust=Trust(roots=(authority.root,))).why

    def test_a_certificate_for_something_else_or_of_another_authority(self) -> None:
        bundle, authority, _ = self.chain(purpose=ExtendedKeyUsageOID.SERVER_AUTH)
        assert "not for signing code" in check(bundle, trust=Trust(roots=(authority.root,))).why
        bundle, _, _ = self.chain()
        assert "no root that is believed" in check(bundle, trust=Trust(roots=(Authority.new().root,))).why
        assert "no root that is believed" in check(bundle).why

    def test_a_leaf_cannot_issue(self) -> None:
        authority, key = Authority.new(middle_is_authority=False), new_key()
        bundle = sign("x", FILES, key, [authority.leaf(key), authority.middle])
        assert "is no certificate authority" in check(bundle, trust=Trust(roots=(authority.root,))).why

    def test_a_chain_whose_leaf_is_not_the_signer_s(self) -> None:
        bundle, authority, _ = self.chain()
        told = json.loads(bundle)
        other = authority.leaf(new_key()).public_bytes(Encoding.DER)
        told["verificationMaterial"]["x509CertificateChain"]["certificates"][0]["rawBytes"] = (
            base64.b64encode(other).decode()
        )
        assert (
            check(json.dumps(told).encode(), trust=Trust(roots=(authority.root,))).why
            == "the signature is wrong"
        )

    def test_a_certificate_of_another_key_signs_nothing(self) -> None:
        authority = Authority.new()
        with pytest.raises(BadRequest):
            sign("x", FILES, new_key(), [authority.leaf(new_key())])


class TestForgeries:
    def resigned(self, **changes: Any) -> Coverage:
        """A statement that contradicts itself, signed by somebody who is believed."""
        bundle = json.loads(sign("x", FILES, KEY))
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        statement.update({name: value for name, value in changes.items() if name != "predicate"})
        statement["predicate"].update(changes.get("predicate", {}))
        bundle["dsseEnvelope"] = sealed(json.dumps(statement).encode(), KEY).as_json()
        return check(json.dumps(bundle).encode())

    def test_statements_that_are_about_something_else_or_contradict_themselves(self) -> None:
        one = {"name": "a", "algorithm": "sha256", "digest": "0" * 64}
        assert "not about a model" in self.resigned(predicateType="https://slsa.dev/provenance/v1").why
        assert "not about a model" in self.resigned(_type="x").why
        assert "contradicts itself" in self.resigned(subject=[{"digest": {"sha256": "0" * 64}}]).why
        assert "contradicts itself" in self.resigned(predicate={"resources": []}).why
        assert "twice" in self.resigned(predicate={"resources": [one, one]}).why
        assert "twice" in self.resigned(predicate={"resources": [{**one, "algorithm": "blake2b"}]}).why
        assert "in pieces" in self.resigned(predicate={"serialization": {"method": "shards"}}).why
        assert "its subject" in self.resigned(subject=[]).why

    def test_a_changed_letter_anywhere_is_seen_and_nothing_breaks(self) -> None:
        whole = sign("x", FILES, KEY)
        chance = random.Random(11)
        for _ in range(400):
            body = bytearray(whole)
            body[chance.randrange(len(body))] = chance.randrange(256)
            told = check(bytes(body))
            # What is outside the envelope (media type of another version, log entries) is not signed.
            assert told.why or set(told.covered) == set(FILES)

    @pytest.mark.parametrize(
        "bundle", [b"", b"[]", b"{}", b"\xff", b'{"mediaType": 3}', b'{"mediaType": "application/json"}']
    )
    def test_what_is_no_bundle(self, bundle: bytes) -> None:
        told = check(bundle)
        assert told.why
        assert not told.valid


def test_a_root_in_the_chain_itself_is_not_believed_for_that() -> None:
    authority, key = Authority.new(), new_key()
    chain: list[x509.Certificate] = [authority.leaf(key), authority.middle, authority.root]
    bundle = sign("x", FILES, key, chain)
    assert "no root that is believed" in check(bundle, trust=Trust(roots=(Authority.new().root,))).why
    assert check(bundle, trust=Trust(roots=(authority.root,))).complete


def test_what_is_remembered_of_certificates_says_nothing_of_their_times_and_roots() -> None:
    key, authority = new_key(), Authority.new()
    bundle = sign("acme/tiny", FILES, key, (authority.leaf(key, ends=NOW + DAY), authority.middle))
    trust = Trust(roots=(authority.root,))
    assert verify(bundle, FILES, trust, AT).complete
    assert "expired" in verify(bundle, FILES, trust, (NOW + 2 * DAY).timestamp()).why
    assert "no root" in verify(bundle, FILES, Trust(roots=(Authority.new().root,)), AT).why
    assert verify(bundle, FILES, trust, AT).complete


@pytest.mark.parametrize(
    "resource",
    [
        "text", None, [], {"name": ["a"], "algorithm": "sha256", "digest": "a" * 64},
        {"name": 7, "algorithm": "sha256", "digest": "a" * 64},
        {"name": "", "algorithm": "sha256", "digest": "a" * 64},
        {"name": "x", "algorithm": "md5", "digest": "a" * 64},
        {"name": "x", "algorithm": ["sha256"], "digest": "a" * 64},
        {"name": "x", "algorithm": "sha256", "digest": "A" * 64},
        {"name": "x", "algorithm": "sha256", "digest": "a" * 63},
        {"name": "x", "algorithm": "sha256", "digest": 7}, {"name": "x", "algorithm": "sha256"},
        {"name": "a.b", "algorithm": "sha256", "digest": "a" * 64},
    ],
)  # fmt: skip
def test_a_file_that_is_not_named_rightly_ends_it(resource: object) -> None:
    told = json.loads(base64.b64decode(json.loads(sign("acme/tiny", FILES, KEY))["dsseEnvelope"]["payload"]))
    told["predicate"]["resources"].append(resource)
    bundle = json.loads(sign("acme/tiny", FILES, KEY))
    bundle["dsseEnvelope"] = sealed(json.dumps(told).encode(), KEY).as_json()
    assert "names a file twice" in check(json.dumps(bundle).encode()).why
