"""Our Xet tokens: for one commit of one repository, for one caller, for an hour; to write, a quarter of one.

A token is sealed with the home's secret: nobody else can make, change or read one, and any worker opens it
without asking the index. It carries the caller's own Hub credential, because the CAS routes are asked with
nothing but the token, and what is not here yet is fetched as that caller.

    xet_ base64url( nonce 16 | sealed text | tag 32 )      sealed: XOR with SHAKE-256(key, nonce); tag: HMAC
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from moongate.app.shared_secret import key_for
from moongate.core.callers import Caller, Secret
from moongate.core.errors import BadToken
from moongate.core.names import CommitHash, RepoId

TTL_SECONDS = 3600.0
WRITE_TTL_SECONDS = 900.0

_PREFIX = "xet_"
_NONCE_BYTES = 16
_TAG_BYTES = 32
_MAX_CHARS = 8192


@dataclass(frozen=True, slots=True)
class XetGrant:
    """What a token opens: the files of one commit, for one caller.

    write: uploads to the repository instead; `commit_hash` is empty then. pull_request: what is uploaded is
    for a pull request, which who may read may open.
    pass_sha256: the sha256 of the token of ours that the caller came with, if it was one of ours; a token
    that is revoked takes with it what was had by it.
    """

    repo: RepoId
    commit_hash: CommitHash
    caller: Caller
    pass_sha256: str | None = None
    write: bool = False
    pull_request: bool = False


class XetTokens:
    """Makes tokens and opens them. One per process; any process with the same secret opens the same."""

    def __init__(
        self,
        secret: bytes,
        still_good: Callable[[str], None] = lambda sha256: None,
        *,
        ttl_seconds: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        still_good: raises BadToken when the token of ours with this sha256 is good no longer.
        ttl_seconds: how long a token holds; `TTL_SECONDS` unless told.
        """
        self._still_good = still_good
        self._sealing_key = key_for(secret, "xet tokens: sealing")
        self._tag_key = key_for(secret, "xet tokens: tag")
        self._ttl_seconds = TTL_SECONDS if ttl_seconds is None else ttl_seconds
        self._now = now

    def mint(self, grant: XetGrant) -> tuple[str, int]:
        """A token, and until when it is good (seconds since the epoch)."""
        ttl_seconds = min(self._ttl_seconds, WRITE_TTL_SECONDS) if grant.write else self._ttl_seconds
        expires_seconds = int(self._now() + ttl_seconds)
        credential = grant.caller.credential
        text = orjson.dumps(
            (
                expires_seconds,
                (grant.repo.repo_type, grant.repo.repo_id, grant.commit_hash),
                (
                    grant.caller.kind,
                    grant.caller.user,
                    grant.caller.scope,
                    grant.caller.places,
                    grant.caller.roles,
                    grant.caller.by_roles,
                    grant.caller.token_id,
                ),
                credential.reveal() if credential is not None else None,
                grant.pass_sha256,
                (grant.write, grant.pull_request),
            )
        )
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._masked(nonce, text)
        tag = hmac.digest(self._tag_key, sealed, hashlib.sha256)
        return _PREFIX + urlsafe_b64encode(sealed + tag).rstrip(b"=").decode(), expires_seconds

    def open(self, token: str | None) -> XetGrant:
        """What a token opens.

        Raises:
            BadToken: there is none, it is not one of ours, was changed, or has expired; or the token of ours
                that it was had by is good no longer.
        """
        refusal = BadToken("This Xet token is missing, unknown or expired.")
        raw = _raw(token)
        if raw is None:
            raise refusal
        sealed, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(hmac.digest(self._tag_key, sealed, hashlib.sha256), tag):
            raise refusal
        nonce = sealed[:_NONCE_BYTES]
        expires_seconds, place, who, credential, pass_sha256, *more = orjson.loads(
            self._masked(nonce, sealed[_NONCE_BYTES:])
        )
        if expires_seconds <= self._now():
            raise refusal
        if pass_sha256 is not None:
            self._still_good(pass_sha256)
        repo_type, repo_id, commit_hash = place
        kind, user, scope, *bounds = who
        places, roles, by_roles, token_id = bounds or ((), (), False, "")  # an older program told none
        caller = Caller(
            kind,
            user,
            scope,
            Secret(credential) if credential is not None else None,
            tuple(places),
            roles=tuple(roles),
            by_roles=by_roles,
            token_id=token_id,
        )
        write, pull_request = more[0] if more else (False, False)  # an older program's only read
        repo = RepoId(repo_type, repo_id)
        return XetGrant(repo, CommitHash(commit_hash), caller, pass_sha256, write, pull_request)

    def owner_word(self, caller: Caller) -> str:
        """A word for this caller in this home, which tells strangers nothing."""
        digest = hmac.digest(self._tag_key, f"owner {caller.key}".encode(), hashlib.sha256)
        return digest.hex()[:16]

    def _masked(self, nonce: bytes, text: bytes) -> bytes:
        mask = hashlib.shake_256(self._sealing_key + nonce).digest(len(text))
        return bytes(a ^ b for a, b in zip(text, mask, strict=True))


def _raw(token: str | None) -> bytes | None:
    if token is None or not token.startswith(_PREFIX) or len(token) > _MAX_CHARS:
        return None
    text = token.removeprefix(_PREFIX)
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) > _NONCE_BYTES + _TAG_BYTES else None
