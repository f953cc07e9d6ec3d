"""Xet tokens and the secret behind them."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moongate.app.shared_secret import NAME, shared_secret
from moongate.app.xet_tokens import XetGrant, XetTokens
from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import BadToken, StoreError
from moongate.core.names import CommitHash, RepoId

SECRET = b"s" * 32
COMMIT = CommitHash("c" * 40)
REPO = RepoId("dataset", "acme/tiny")
HUB_TOKEN = "hf_" + "Alice" * 7
GRANTS = [
    XetGrant(REPO, COMMIT, ANONYMOUS),
    XetGrant(REPO, COMMIT, Caller("token", user="carol", scope="write"), "d" * 64),
    XetGrant(REPO, COMMIT, Caller("upstream", user="alice", credential=Secret(HUB_TOKEN))),
]


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("grant", GRANTS)
def test_a_token_opens_what_it_was_made_for(grant: XetGrant) -> None:
    token, expires_seconds = XetTokens(SECRET, now=Clock()).mint(grant)
    assert token.startswith("xet_")
    assert expires_seconds == 1_800_003_600
    assert XetTokens(SECRET, now=Clock()).open(token) == grant, "any process with the secret opens it"
    with pytest.raises(BadToken):
        XetTokens(b"t" * 32, now=Clock()).open(token)


def test_a_token_to_write_ends_sooner() -> None:
    grant = XetGrant(REPO, CommitHash(""), GRANTS[1].caller, "d" * 64, write=True)
    tokens = XetTokens(SECRET, now=Clock())
    token, expires_seconds = tokens.mint(grant)
    assert expires_seconds == 1_800_000_900
    assert tokens.open(token) == grant


def test_callers_share_no_word() -> None:
    tokens, callers = XetTokens(SECRET), [grant.caller for grant in GRANTS]
    words = {tokens.owner_word(caller) for caller in callers}
    words |= {XetTokens(b"t" * 32).owner_word(caller) for caller in callers}
    assert len(words) == 6
    assert all(word.isalnum() for word in words)


def test_nobody_reads_a_credential_in_it() -> None:
    tokens = XetTokens(SECRET)
    made = {tokens.mint(GRANTS[2])[0] for _ in range(5)}
    assert len(made) == 5
    for token in made:
        raw = base64.urlsafe_b64decode(token.removeprefix("xet_") + "==")
        assert HUB_TOKEN.encode() not in raw
        assert b"acme" not in raw


def test_it_ends() -> None:
    clock = Clock()
    tokens = XetTokens(SECRET, now=clock)
    token, expires_seconds = tokens.mint(GRANTS[0])
    clock.now = expires_seconds - 1
    tokens.open(token)
    clock.now = expires_seconds
    with pytest.raises(BadToken):
        tokens.open(token)


def test_no_bit_can_be_changed() -> None:
    tokens = XetTokens(SECRET)
    raw = bytearray(base64.urlsafe_b64decode(tokens.mint(GRANTS[1])[0].removeprefix("xet_") + "=="))
    for at in range(len(raw)):
        raw[at] ^= 1
        changed = "xet_" + base64.urlsafe_b64encode(raw).decode()
        with pytest.raises(BadToken):
            tokens.open(changed)
        raw[at] ^= 1


@pytest.mark.parametrize(
    "text", [None, "", "xet_", "xet_é", "xet_" + "A" * 9000, "hf_" + "x" * 48, "xet_AAA="]
)
def test_nonsense_opens_nothing(text: str | None) -> None:
    with pytest.raises(BadToken):
        XetTokens(SECRET).open(text)


def test_it_ends_with_the_token_that_it_was_had_by() -> None:
    revoked: set[str] = set()

    def still_good(sha256: str) -> None:
        if sha256 in revoked:
            raise BadToken("revoked")

    tokens = XetTokens(SECRET, still_good)
    carol, nobody = tokens.mint(GRANTS[1])[0], tokens.mint(GRANTS[0])[0]
    tokens.open(carol)
    revoked.add("d" * 64)
    with pytest.raises(BadToken):
        tokens.open(carol)
    tokens.open(nobody)


def test_processes_that_start_at_once_share_a_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: shared_secret(tmp_path), range(32)))
    assert len(secrets) == 1
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME], "nothing is left lying about"


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"short")
    with pytest.raises(StoreError, match=r"xet\.secret"):
        shared_secret(tmp_path)
