"""in-toto statements about a commit: where it came from, and what happened to it here.

Two predicates: SLSA provenance v1 (this gateway took these files from that commit), and a record of our own
(verdicts, approvals, deliveries). Sources: in-toto Statement v1, SLSA v1.0 provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moongate import __version__
from moongate.core.hits import day_and_time
from moongate.policy.provenance.facts import CommitFacts, FileFacts
from moongate.policy.provenance.keys import PrivateKey

STATEMENT: Final = "https://in-toto.io/Statement/v1"
SLSA: Final = "https://slsa.dev/provenance/v1"
RECORD: Final = "urn:moongate:record:1"

_BUILD_TYPE: Final = "urn:moongate:ingest:1"


def gateway_name(key: PrivateKey) -> str:
    """A URI that names a gateway without an address of its own: by its key."""
    return f"urn:moongate:gateway:{key.public.hint[:16]}"


def provenance(facts: CommitFacts, gateway: str, now: float) -> dict[str, Any]:
    """That this gateway has these files, by their digests, from that commit. gateway: a URI that names it."""
    source = {
        "uri": facts.origin,
        "digest": {"gitCommit": facts.commit_hash},
        "name": str(facts.repo),
    }
    return _statement(
        facts,
        SLSA,
        {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {
                    "repo": str(facts.repo),
                    "repo_type": facts.repo.repo_type,
                    "commit": facts.commit_hash,
                    "hosted": facts.hosted,
                },
                "internalParameters": {"listing_complete": facts.complete},
                "resolvedDependencies": [source],
            },
            "runDetails": {
                "builder": {"id": gateway, "version": {"moongate": __version__}},
                "metadata": {"finishedOn": day_and_time(now)},
            },
        },
    )


def record(facts: CommitFacts, now: float) -> dict[str, Any]:
    """What happened to these files here."""
    return _statement(
        facts,
        RECORD,
        {
            "recordedOn": day_and_time(now),
            "commit": facts.commit_hash,
            "verdicts": [_verdict(file) for file in facts.files],
            "approvals": list(facts.approvals),
            "deliveries": list(facts.deliveries),
        },
    )


def _verdict(file: FileFacts) -> dict[str, object]:
    told: dict[str, object] = {"path": file.path, "verdict": file.verdict or "unscanned"}
    if file.judged_at is not None:
        told |= {"judgedOn": day_and_time(file.judged_at), "judgedBy": file.judged_by}
    return told


def _statement(facts: CommitFacts, kind: str, predicate: Mapping[str, object]) -> dict[str, Any]:
    subjects = [{"name": file.path, "digest": file.digests} for file in facts.files if file.digests]
    return {"_type": STATEMENT, "subject": subjects, "predicateType": kind, "predicate": dict(predicate)}
