"""Keyless signatures, in a sigstore made up for the test: one is right, others are wrong in one way each."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from moongate.policy.provenance.identities import Identity
from moongate.policy.provenance.keys import Trust
from moongate.policy.provenance.model_signing import Coverage, verify
from moongate.policy.provenance.vouching import Found, Vouched
from support.signers import DAY, NOW, Authority, new_key
from support.sigstore_world import IDENTITY, ISSUER, Sigstore, new_ec, packed
from support.timestamps import Timestamps

pytest.importorskip("sigstore")

FILES = {
    path: hashlib.sha256(path.encode()).hexdigest() for path in ("README.md", "a/x.bin", "w.safetensors")
}
WORLD = Sigstore()
TRUST = Trust(identities=(Identity(ISSUER, IDENTITY),), trusted_root=WORLD.trusted_root)
YEARS_LATER = (NOW + 3650 * DAY).timestamp()


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def check(bundle: dict[str, Any] | bytes, trust: Trust = TRUST, files: dict[str, str] = FILES) -> Coverage:
    body = bundle if isinstance(bundle, bytes) else packed(bundle)
    return verify(body, dict(files), trust, YEARS_LATER, "model.sig")


class TestRight:
    def test_who_signed_within_the_minutes_of_the_certificate_is_named_for_ever(self) -> None:
        told = check(WORLD.bundle(FILES), files={**FILES, "model.sig": "0" * 64})
        assert (told.why, told.complete, told.signer, told.method) == ("", True, IDENTITY, "keyless")
        assert set(told.covered) == set(FILES)

    def test_what_is_not_covered_changed_or_missing_is_named(self) -> None:
        bundle = WORLD.bundle(FILES)
        added = check(bundle, files={**FILES, "loader.py": "1" * 64})
        assert (added.valid, added.complete, added.uncovered) == (True, False, ("loader.py",))
        changed = check(bundle, files={**FILES, "README.md": "1" * 64})
        assert (changed.valid, changed.changed) == (False, ("README.md",))
        assert check(bundle, files={"README.md": FILES["README.md"]}).missing == ("a/x.bin", "w.safetensors")

    def test_a_bundle_of_the_older_form_holds_its_certificate_as_a_chain(self) -> None:
        bundle = WORLD.bundle(FILES)
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2"
        material = bundle["verificationMaterial"]
        material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
        assert check(bundle).complete
        # Without an entry nothing proves a time, and the certificate is one like others.
        assert "expired" in check({**bundle, "verificationMaterial": {**material, "tlogEntries": []}}).why

    def test_a_time_may_be_an_authority_s_of_timestamps_in_place_of_the_log_s(self) -> None:
        told = check(WORLD.stamped_bundle(FILES))
        assert (told.why, told.complete, told.signer) == ("", True, IDENTITY)

    def test_a_workflow_is_an_identity_as_well_and_may_be_named_by_a_pattern(self) -> None:
        uri = "https://github.example/acme/tiny/.github/workflows/release.yml@refs/tags/v1.2"
        bundle = WORLD.bundle(FILES, uri)
        for identity, is_believed in (
            (Identity(ISSUER, uri), True),
            (named(r"https://github\.example/acme/.+@refs/tags/v[0-9.]+"), True),
            (named(r"https://github\.example/acme/"), False),  # a part of it is not enough
            (Identity(ISSUER, uri.removesuffix(".2")), False),
        ):
            told = check(bundle, replace(TRUST, identities=(identity,)))
            assert told.complete is is_believed, (identity, told.why)


class TestNotBelieved:
    @pytest.mark.parametrize(
        ("identity", "issuer"),
        [("mallory@acme.example", ISSUER), (IDENTITY, "https://accounts.evil.example")],
    )
    def test_somebody_who_is_not_listed_has_signed_and_is_not_trusted(
        self, identity: str, issuer: str
    ) -> None:
        told = check(WORLD.bundle(FILES, identity, issuer))
        who = f"{identity} ({issuer})"
        assert told == Coverage(
            why=f"it is signed by {who}, who is not believed here; identities.yaml says who is"
        )
        of = Vouched((Found("model.sig", told),), is_settled=True).of("README.md")
        assert (of.signed, of.valid, of.signer) == (True, False, None)

    def test_nobody_is_believed_who_is_not_listed_and_nothing_without_a_trusted_root(self) -> None:
        bundle = WORLD.bundle(FILES)
        assert "who is not believed here" in check(bundle, replace(TRUST, identities=())).why
        assert "put a trusted_root.json and an identities.yaml" in check(bundle, Trust()).why

    def test_what_is_remembered_says_nothing_of_other_trust(self) -> None:
        bundle = packed(WORLD.bundle(FILES))
        for _ in range(2):
            assert check(bundle).complete
            assert not check(bundle, replace(TRUST, identities=())).valid
            assert not check(bundle, replace(TRUST, trusted_root=Sigstore().trusted_root)).valid

    def test_two_extensions_that_name_two_issuers_name_none(self) -> None:
        told = check(WORLD.bundle(FILES, older_issuer="https://accounts.evil.example"))
        assert "not clearly, who vouches" in told.why


def wrong() -> Iterator[tuple[str, dict[str, Any], str]]:
    """What is wrong, the bundle, and words of the complaint."""
    yield "another root", Sigstore().bundle(FILES), "leads to no authority"
    other = Sigstore(ct_key=WORLD.ct_key, rekor_key=WORLD.rekor_key)
    yield "another root, the same logs", other.bundle(FILES), "leads to no authority"
    yield "not in the log of certificates", WORLD.bundle(FILES, with_sct=False), "timestamp extension"
    yield "another log of certificates", WORLD.bundle(FILES, ct_key=new_ec()), "SCT"
    yield "a promise by somebody else", WORLD.bundle(FILES, promise_key=new_ec()), "inclusion promise"
    yield "a checkpoint by somebody else", WORLD.bundle(FILES, checkpoint_key=new_ec()), "checkpoint"
    server = WORLD.bundle(FILES, purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    yield "a certificate for something else", server, "code signing"
    late, early = timedelta(minutes=10, seconds=1), timedelta(seconds=-1)
    yield "after the certificate", WORLD.bundle(FILES, entered_after=late), "not in force when it signed"
    yield "before the certificate", WORLD.bundle(FILES, entered_after=early), "not in force when it signed"
    yield "logged for something else", WORLD.bundle(FILES, logged=b"{}"), "does not match bundle"
    entries = WORLD.bundle(FILES)
    entries["verificationMaterial"]["tlogEntries"] = []
    yield "no entry", entries, "log entry"
    borrowed = WORLD.bundle(FILES)
    borrowed["verificationMaterial"]["tlogEntries"] = WORLD.bundle(FILES)["verificationMaterial"][
        "tlogEntries"
    ]
    yield "another signature's entry", borrowed, "do not match bundle"
    timeless = WORLD.bundle(FILES)
    del timeless["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    yield "a time that nobody signed", timeless, "inclusion promise"
    later = WORLD.bundle(FILES, entered_after=late)
    later["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = str(int(NOW.timestamp()) + 5)
    yield "an entry with another time", later, "inclusion promise"
    yield "a stamp of too late", WORLD.stamped_bundle(FILES, late), "not in force when it signed"
    yield "a stamp of too early", WORLD.stamped_bundle(FILES, early), "not in force when it signed"
    yield "a stranger's stamp", WORLD.stamped_bundle(FILES, times=Timestamps.new()), "verified time"
    yield "a stamp on something else", WORLD.stamped_bundle(FILES, stamped=b"x"), "verified time"
    altered = WORLD.bundle(FILES)
    payload = base64.b64decode(altered["dsseEnvelope"]["payload"]).replace(b"README.md", b"HARMED.md")
    altered["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    yield "an altered statement", altered, "invalid signature"
    swapped = WORLD.bundle(FILES)
    swapped["verificationMaterial"]["certificate"] = WORLD.bundle(FILES)["verificationMaterial"][
        "certificate"
    ]
    yield "another certificate", swapped, "wrong"


@pytest.mark.parametrize(("bundle", "words"), [pytest.param(*rest, id=name) for name, *rest in wrong()])
def test_one_thing_that_is_wrong_ends_it(bundle: dict[str, Any], words: str) -> None:
    told = check(bundle)
    assert (told.valid, told.signer) == (False, "")
    assert words in told.why
    assert told.why.isprintable()


class TestBroken:
    def test_a_letter_or_a_value_changed_anywhere_is_seen_and_nothing_breaks(self) -> None:
        whole, chance = WORLD.bundle(FILES), random.Random(23)
        text = packed(whole)
        for _ in range(150):
            body = bytearray(text)
            body[chance.randrange(len(body))] = chance.randrange(256)
            told = check(bytes(body))
            # Key ids and what calls the log by a name are hints, and are not signed.
            assert told.why or set(told.covered) == set(FILES)
        for way in ways(whole):
            for value in (None, "", "AAAA", "\x1b[31m", 7, -1, [], {}, [None], "9" * 30, "é" * 50):
                told = check(changed(whole, way, value))
                assert told.why.isprintable(), (way, value)
                assert told.why or set(told.covered) == set(FILES), (way, value)

    def test_a_bundle_cut_short(self) -> None:
        text = packed(WORLD.bundle(FILES))
        for length in (0, 1, 100, len(text) // 2, len(text) - 1):
            assert check(text[:length]).why == "the signature is not JSON"

    def test_a_trusted_root_that_is_none(self) -> None:
        bundle = WORLD.bundle(FILES)
        for text in (b"{", b"[]", b"{}", WORLD.client_config, WORLD.trusted_root.replace(b"MF", b"AA")):
            told = check(bundle, replace(TRUST, trusted_root=text))
            assert not told.valid
            assert "trusted_root.json" in told.why or "wrong" in told.why

    def test_the_root_of_the_public_instance_is_read(self) -> None:
        """The copy that the library carries for its first start."""
        from sigstore._utils import read_embedded

        text = read_embedded("trusted_root.json", "https://tuf-repo-cdn.sigstore.dev")
        told = check(WORLD.bundle(FILES), replace(TRUST, trusted_root=text))
        assert "leads to no authority of trusted_root.json" in told.why

    def test_without_the_library_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "sigstore"]:
            monkeypatch.setitem(sys.modules, name, None)
        world = Sigstore()
        told = check(world.bundle(FILES), replace(TRUST, trusted_root=world.trusted_root))
        assert "pip install 'moongate[sigstore]'" in told.why

    def test_keys_and_authorities_are_believed_beside_it_as_before(self, tmp_path: Path) -> None:
        key = new_key()
        (tmp_path / "release-team.pub").write_bytes(key.public.pem)
        (tmp_path / "identities.yaml").write_text(f"- {{identity: {IDENTITY}, issuer: '{ISSUER}'}}\n")
        (tmp_path / "trusted_root.json").write_bytes(WORLD.trusted_root)
        trust = Trust.read(tmp_path)
        assert [key.name for key in trust.keys] == ["release-team"]
        assert check(WORLD.bundle(FILES), trust).complete
        assert Authority.new().root not in trust.roots


def named(pattern: str) -> Identity:
    return Identity(ISSUER, pattern=re.compile(pattern))


def ways(told: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for key, value in parts:
        yield (*so_far, key)
        yield from ways(value, (*so_far, key))


def changed(told: Any, way: tuple[Any, ...], value: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(told))
    at: Any = copy
    for key in way[:-1]:
        at = at[key]
    at[way[-1]] = value
    return copy
