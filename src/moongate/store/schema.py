"""The index's tables, as the newest migration leaves them.

Rules: a repository is one text, `models/ns/name` (see `repo_key`). Times are seconds since the epoch. Truth
values are 0, 1 or NULL, so that rows read the same from every driver. A commit gets a number, because a
listing of a hundred thousand files should not repeat forty digits as often; numbers are never used twice.
There are no foreign keys: rows are dropped by the one method that knows the order.

A hosted repository is a number, which stays when it moves; what git knows of it stands under that number.
The rows that proxied repositories have too (commits, files, refs, facts) are written for its branches and for
what is asked for, so that whatever reads those finds it there; git's objects can make them anew.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from moongate.core.names import RepoId, parse_repo_type

SCHEMA_VERSION: Final = "0013"
"""The newest migration's revision. An index that is there needs no look at the migrations."""

KNOWN_VERSIONS: Final = frozenset(
    {"0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012", "0013"}
)
"""Every revision this program can bring up to date; another one was written by a newer program."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_Number = BigInteger().with_variant(Integer, "sqlite")


def _where(condition: str) -> dict[str, Any]:
    """What makes an index leave out the rows that nobody looks for by it."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


refs = Table(
    "refs",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("revision", Text, primary_key=True),
    Column("commit_hash", Text, nullable=False),
    Column("checked_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

facts = Table(
    "facts",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("private", SmallInteger),
    Column("gated", SmallInteger),
    Column("checked_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

renames = Table(
    "renames",
    metadata,
    Column("old_repo", Text, primary_key=True),
    Column("new_repo", Text, nullable=False),
    Column("noted_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

commits = Table(
    "commits",
    metadata,
    Column("commit_number", _Number, primary_key=True, autoincrement=True),
    Column("repo", Text, nullable=False),
    Column("commit_hash", Text, nullable=False),
    Column("complete", SmallInteger, nullable=False),
    UniqueConstraint("repo", "commit_hash"),
    sqlite_autoincrement=True,
)

files = Table(
    "files",
    metadata,
    Column("commit_number", BigInteger, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("xet_hash", Text),
    Index(None, "etag"),
    sqlite_with_rowid=False,
)

reconstructions = Table(
    "reconstructions",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    Column("fetches", LargeBinary, nullable=False),
    Column("noted_at", Double, nullable=False),
    Column("verified_at", Double),  # NULL: not proven, or not any more
    Column("read_at", Double, nullable=False),
    Index(None, "etag"),
    Index(None, "read_at", "file_id"),
)

file_xorbs = Table(
    "file_xorbs",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("xorb", LargeBinary, primary_key=True),
    Column("ranges", LargeBinary, nullable=False),
    Index(None, "xorb"),
    sqlite_with_rowid=False,
)

xorb_chunks = Table(
    "xorb_chunks",
    metadata,
    Column("xorb", LargeBinary, primary_key=True),  # the name under which its segments lie
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("named", LargeBinary, nullable=False),  # the hash by which clients know it
    Column("leaves", LargeBinary, nullable=False),
    Index(None, "named"),
    sqlite_with_rowid=False,
)

dedup_chunks = Table(
    "dedup_chunks",
    metadata,
    Column("chunk", LargeBinary, primary_key=True),
    Column("xorb", LargeBinary, primary_key=True),
    Index(None, "xorb"),
    sqlite_with_rowid=False,
)

xorb_leases = Table(
    "xorb_leases",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("xorb", LargeBinary, primary_key=True),
    Column("ranges", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index(None, "xorb"),
    sqlite_with_rowid=False,
)

answers = Table(
    "answers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("repo", Text),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("packed", SmallInteger, nullable=False),
    Column("fetched_at", Double, nullable=False),
    Column("read_at", Double, nullable=False),
    Index(None, "repo"),
    Index(None, "read_at"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("etag", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sealed_at", Double, nullable=False),
    Column("read_at", Double, nullable=False),
    Column("verified_at", Double, nullable=False),
    Index(None, "read_at", "etag", "size_bytes"),
    sqlite_with_rowid=False,
)

pins = Table(
    "pins",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("revision", Text, primary_key=True),  # empty: the whole repository
    Column("pinned_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

failures = Table(
    "failures",
    metadata,
    Column("failure_number", _Number, primary_key=True, autoincrement=True),
    Column("etag", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("failed_at", Double, nullable=False),
    sqlite_autoincrement=True,
)

tainted = Table(
    "tainted",
    metadata,
    Column("etag", Text, primary_key=True),
    Column("tainted_at", Double, nullable=False),
)

access = Table(
    "access",
    metadata,
    Column("caller_key", Text, primary_key=True),
    Column("repo", Text, primary_key=True),
    Column("allowed", Text, nullable=False),
    Column("checked_at", Double, nullable=False),
    Index(None, "repo"),
    sqlite_with_rowid=False,
)

grants = Table(
    "grants",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("repo_pattern", Text, primary_key=True),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("note", Text, nullable=False),
    Column("origin", Text, nullable=False, server_default=""),  # see `core.callers.TokenOrigin`
    Column("places", Text, nullable=False, server_default=""),  # words with blanks between
    Column("last_used_at", Double),
    UniqueConstraint("sha256"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),  # a user's name in lower case
    Column("kind", Text, nullable=False),  # user or service
    Column("issuer", Text),  # who vouches for a user who signs in
    Column("subject", Text),  # and what the issuer calls them
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double),
    Column("disabled_at", Double),
    Column("note", Text, nullable=False),
    UniqueConstraint("issuer", "subject"),
    sqlite_with_rowid=False,
)

user_groups = Table(
    "user_groups",
    metadata,
    Column("account", Text, primary_key=True),
    Column("group_name", Text, primary_key=True),  # as the issuer tells it
    Column("seen_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

group_teams = Table(
    "group_teams",
    metadata,
    Column("group_name", Text, primary_key=True),
    Column("team", Text, primary_key=True),
    sqlite_with_rowid=False,
)

standing_roles = Table(
    "standing_roles",
    metadata,
    Column("place", Text, primary_key=True),  # a namespace in lower case; `*` for the whole gateway
    Column("subject", Text, primary_key=True),  # `user:alice`, `team:research` or `group:staff`
    Column("role", Text, primary_key=True),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", Text, primary_key=True),  # of what the browser's cookie holds
    Column("account", Text, nullable=False),
    Column("token_sha256", Text),  # of the token of ours that was signed in with, if it was one
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_sessions_account", "account"),
    sqlite_with_rowid=False,
)

device_codes = Table(
    "device_codes",
    metadata,
    Column("sha256", Text, primary_key=True),  # of what the device holds
    Column("user_code", Text, nullable=False),  # what a person types
    Column("expires_at", Double, nullable=False),
    Column("state", Text, nullable=False),  # waiting, allowed or denied
    Column("account", Text, nullable=False),
    UniqueConstraint("user_code"),
    sqlite_with_rowid=False,
)

spent_words = Table(
    "spent_words",
    metadata,
    Column("word", Text, primary_key=True),  # what may be used once, and was
    Column("expires_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

trusts = Table(
    "trusts",
    metadata,
    Column("trust_id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("claims", Text, nullable=False),  # JSON: what a token must say of itself
    Column("user_name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("places", Text, nullable=False),
    Column("audience", Text, nullable=False),  # empty: our own address
    Column("algorithm", Text, nullable=False),
    Column("ttl_seconds", Double, nullable=False),
    Column("direct", Integer, nullable=False),  # 1: taken as it is, without an exchange
    Column("created_at", Double, nullable=False),
    Column("note", Text, nullable=False),
    sqlite_with_rowid=False,
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

namespaces = Table(
    "namespaces",
    metadata,
    Column("name", Text, primary_key=True),  # in lower case
    Column("shown", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

hosted_repos = Table(
    "hosted_repos",
    metadata,
    Column("repo_number", _Number, primary_key=True, autoincrement=True),
    Column("folded", Text, nullable=False),  # its key in lower case: names that differ by case are one
    Column("repo", Text, nullable=False),
    Column("namespace", Text, nullable=False),  # in lower case
    Column("private", SmallInteger, nullable=False),
    Column("creator", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    UniqueConstraint("folded"),
    Index(None, "namespace"),
    sqlite_autoincrement=True,
)

hosted_moves = Table(
    "hosted_moves",
    metadata,
    Column("folded", Text, primary_key=True),  # a name that a repository had
    Column("repo_number", BigInteger, nullable=False),
    Index(None, "repo_number"),
    sqlite_with_rowid=False,
)

team_members = Table(
    "team_members",
    metadata,
    Column("team", Text, primary_key=True),
    Column("user_name", Text, primary_key=True),
    sqlite_with_rowid=False,
)

hosted_roles = Table(
    "hosted_roles",
    metadata,
    Column("place", Text, primary_key=True),  # a namespace in lower case, or a repository as `#number`
    Column("subject", Text, primary_key=True),  # `user:alice` or `team:research`
    Column("role", Text, nullable=False),  # read, write or admin
    sqlite_with_rowid=False,
)

git_objects = Table(
    "git_objects",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("oid", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # commit, tree or tag; blobs are in the store
    Column("body", LargeBinary, nullable=False),
    Column("packed", SmallInteger, nullable=False),
    Column("noted_at", Double, nullable=False),
)

hosted_blobs = Table(
    "hosted_blobs",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("oid", Text, primary_key=True),  # git's; an LFS file's is its pointer's
    Column("etag", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("xet_hash", Text),
    Column("noted_at", Double, nullable=False),
    Index(None, "etag"),
    sqlite_with_rowid=False,
)

hosted_refs = Table(
    "hosted_refs",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),  # in full: refs/heads/main
    Column("target", Text, nullable=False),  # a commit, or an annotated tag
    Column("commit_hash", Text, nullable=False),  # where the target leads
    Column("moved_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

hosted_lineage = Table(
    "hosted_lineage",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("commit_hash", Text, primary_key=True),
    Column("base_repo", Text, primary_key=True),
    Column("base_commit", Text),  # NULL: the base was not here when the commit was made
    Column("relation", Text, nullable=False),  # finetune, adapter, merge or quantized
    Column("noted_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

released_blobs = Table(
    "released_blobs",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("oid", Text, primary_key=True),  # a pointer's, whose content a retention rule let go
    Column("etag", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("released_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

discussions = Table(
    "discussions",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("discussion_number", BigInteger, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False),  # draft, open, closed or merged
    Column("pull_request", SmallInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("events", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)

upload_leases = Table(
    "upload_leases",
    metadata,
    Column("repo_number", BigInteger, primary_key=True, autoincrement=False),
    Column("caller_key", Text, primary_key=True),
    Column("etag", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index(None, "etag"),
    sqlite_with_rowid=False,
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload", Text, primary_key=True),
    Column("part_number", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("noted_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

orphans = Table(
    "orphans",
    metadata,
    Column("etag", Text, primary_key=True),  # hosted content that lost a holder: perhaps nobody's now
    sqlite_with_rowid=False,
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("etag", Text, primary_key=True),
    Column("name_kind", Text, primary_key=True),
    Column("engine", Text, primary_key=True),
    Column("rules", Text, primary_key=True),
    Column("feeds", Text, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("basis", Text, nullable=False),  # whole or ranges
    Column("size_bytes", BigInteger, nullable=False),
    Column("judged_at", Double, nullable=False),
    Column("retry_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("report", LargeBinary, nullable=False),  # JSON
    Index(None, "verdict", "judged_at"),
    sqlite_with_rowid=False,
)

# The audit log. Lines are only ever added, by whoever holds the head's row; a line's text is
# what its hash is of, and the columns beside it are copies to search by, which verifying compares.

audit_lines = Table(
    "audit_lines",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("repo", Text),  # a repo_key
    Column("digest", Text),
    Column("line", LargeBinary, nullable=False),  # canonical JSON
    Column("hash", LargeBinary, nullable=False),  # sha256 of the line, which holds the hash before it
    Index(None, "at"),
    Index(None, "actor", "seq"),
    Index(None, "repo", "seq", **_where("repo IS NOT NULL")),
    Index(None, "digest", "seq", **_where("digest IS NOT NULL")),
    Index(None, "kind", "seq", **_where("kind <> 'file.deliver'")),  # nobody asks for all deliveries
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("only", SmallInteger, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("checkpoint_seq", BigInteger, nullable=False),
    Column("checkpoint_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),  # signed JSON
    sqlite_with_rowid=False,
)

recalls = Table(
    "recalls",
    metadata,
    Column("recall_id", Text, primary_key=True),
    Column("digest", Text),
    Column("repo", Text),  # a repo_key
    Column("commit_hash", Text),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("undone_by", Text),
    Column("undone_at", Double),
    sqlite_with_rowid=False,
)

feeds = Table(
    "feeds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("added_at", Double, nullable=False),
    Column("options", Text, nullable=False),  # JSON
    Column("state", Text, nullable=False),  # JSON
    Column("generation", BigInteger, nullable=False),
    Column("held_generation", BigInteger),
    Column("held_why", Text, nullable=False),
    Column("fetched_at", Double),
    Column("tried_at", Double),
    Column("trouble", Text, nullable=False),
    sqlite_with_rowid=False,
)

feed_indicators = Table(
    "feed_indicators",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("confidence", SmallInteger, nullable=False),
    Column("tlp", Text, nullable=False),
    Column("expires_at", Double),
    Column("source", Text, primary_key=True),
    Index(None, "value", "kind"),
    sqlite_with_rowid=False,
)

feed_advisories = Table(
    "feed_advisories",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("ecosystem", Text, primary_key=True),
    Column("package", Text, primary_key=True),
    Column("advisory", Text, primary_key=True),
    Column("told", Text, nullable=False),  # JSON
    Index(None, "package", "ecosystem"),
    sqlite_with_rowid=False,
)

feed_rules = Table(
    "feed_rules",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("source", Text, nullable=False),
    sqlite_with_rowid=False,
)

service_answers = Table(
    "service_answers",
    metadata,
    Column("service", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("told", Text),  # JSON; NULL: the service does not know it
    Column("asked_at", Double, nullable=False),
    Column("fresh_until", Double, nullable=False),
    sqlite_with_rowid=False,
)

service_use = Table(
    "service_use",
    metadata,
    Column("service", Text, primary_key=True),
    Column("span", Text, primary_key=True),  # a minute or a day: what a quota counts in
    Column("used", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

content_digests = Table(
    "content_digests",
    metadata,
    Column("etag", Text, primary_key=True),  # git's, of a small file; a large one's is its sha256
    Column("sha256", Text, nullable=False),
    Index(None, "sha256"),
    sqlite_with_rowid=False,
)


serials = Table(
    "serials",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),  # raised with every change of what it is named after
    sqlite_with_rowid=False,
)

approval_requests = Table(
    "approval_requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("commit_hash", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("rules", Text, nullable=False),  # JSON
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    Column("opened_at", Double, nullable=False),
    Column("asked_count", BigInteger, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("decided_at", Double),
    Column("decided_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("waiver_id", Text, nullable=False),
    Column("proposal", Text),  # JSON
    Column("proposed_by", Text, nullable=False),
    Index(None, "dedup_key"),
    Index(None, "state", "opened_at"),
    sqlite_with_rowid=False,
)

approval_askers = Table(
    "approval_askers",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("asker", Text, primary_key=True),
    Column("asked_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

waivers = Table(
    "waivers",
    metadata,
    Column("waiver_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("lifts", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("commit_hash", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("finding", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("rules", Text, nullable=False),  # JSON
    Column("request_id", Text, nullable=False),
    Column("revoked_at", Double),
    Column("revoked_by", Text, nullable=False),
    Index(None, "expires_at"),
    sqlite_with_rowid=False,
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("hook_id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # what is sent is signed with it
    Column("kinds", Text, nullable=False),  # JSON; empty: all
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    sqlite_with_rowid=False,
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("hook_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),  # the event, as it is sent
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Index(None, "state", "next_at"),
    Index(None, "hook_id"),
    sqlite_with_rowid=False,
)

attestations = Table(
    "attestations",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("commit_hash", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),  # of the body
    Column("kind", Text, nullable=False),
    Column("signer", Text, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
)


decided_requests = Table(
    "decided_requests",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # since the epoch
    Column("facts_digest", Text, primary_key=True),
    Column("facts", Text, nullable=False),  # JSON
    Column("effect", Text, nullable=False),
    Column("asked_count", BigInteger, nullable=False),
    Column("asked_at", Double, nullable=False),
    sqlite_with_rowid=False,
)


def repo_key(repo: RepoId) -> str:
    """A repository as the tables write it: `models/ns/name`, `datasets/ns/name`, `spaces/ns/name`."""
    return f"{repo.repo_type}s/{repo.repo_id}"


def repo_of(key: str) -> RepoId:
    """The repository of a `repo_key`."""
    plural, _, repo_id = key.partition("/")
    return RepoId(parse_repo_type(plural), repo_id)
