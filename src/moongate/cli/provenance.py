"""`moongate sign`, `verify-signature`, `provenance`, `bom`: who vouches for a repository, and what is in it.

They work on a home of this machine, on what is known there of a commit, and read no weights.
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import FAILED, CommandFailed
from moongate.cli.gateway import only_here
from moongate.cli.recording import written
from moongate.cli.repos import parse_repo_at
from moongate.cli.show import commit_to_show, known_revisions
from moongate.cli.terminal import count, put, put_json, say

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock
    from moongate.cli.repos import RepoAt
    from moongate.core.names import CommitHash
    from moongate.policy.provenance.facts import CommitFacts
    from moongate.policy.provenance.vouching import Found

_Repo = Annotated[str, typer.Argument(metavar="REPO[@REVISION]", help="acme/tiny or acme/tiny@v1.0.")]
_SHOWN = 10


class BomFormat(StrEnum):
    """What a bill of materials is written in."""

    cyclonedx = "cyclonedx"
    spdx = "spdx"


def register(app: typer.Typer) -> None:
    app.command("sign")(sign)
    app.command("verify-signature")(verify_signature)
    app.command("provenance")(provenance)
    app.command("bom")(bom)


def sign(
    repo: _Repo,
    key: Annotated[
        Path | None, typer.Option("--key", help="ECDSA private key, PEM; the gateway's own when left out.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="The key's certificate and those above it, PEM.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the signature there, too: model.sig.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Sign all files of a commit, as OpenSSF Model Signing does.

    The signature is kept here with the commit; written to `model.sig` it can be committed, or checked with
    other tools. A signature says who vouches for the files, not that they are safe.

    \b
    Examples:
      moongate sign acme/tiny --key release.pem
      moongate sign acme/tiny@v1.0 --output model.sig
    """
    only_here("sign", home)
    from moongate.cli.house import open_home
    from moongate.policy.provenance.keys import PrivateKey, read_certificates

    wanted = parse_repo_at(repo)
    with open_home(home) as house:
        commit_hash = _commit(house, wanted)
        house.keeping.note_digests()
        signer = PrivateKey.read(key) if key else house.signing_key()
        chain = read_certificates(certificate) if certificate else ()
        made = house.vouching().sign(wanted.repo, commit_hash, signer, chain)
        written(house, "repo.sign", repo=wanted.repo, commit_hash=commit_hash, subject=made.signer)
    if output is not None:
        output.write_bytes(made.body)
    if as_json:
        put_json({"repo": str(wanted.repo), "commit_hash": commit_hash, "signer": made.signer})
    else:
        say(f"signed {wanted.repo} at {commit_hash[:12]} as {made.signer}")


def verify_signature(
    repo: _Repo,
    partial: Annotated[
        bool, typer.Option("--partial", help="Files that are not covered are no reason to fail.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Say who signed the files of a commit, and which files no signature covers.

    Signers are believed whose keys or root certificates lie in the folder `signers` of the home (or
    `trusted_signers`), and those without a key whom `identities.yaml` there lists. Exit code 1 when no
    signature is right, in force, true of all files it names, and covers every file that is there.

    \b
    Examples:
      moongate verify-signature acme/tiny
      moongate verify-signature acme/tiny --json | jq '.signatures[].uncovered'
    """
    only_here("verify-signature", home)
    from moongate.cli.house import open_home

    wanted = parse_repo_at(repo)
    with open_home(home) as house:
        commit_hash = _commit(house, wanted)
        house.keeping.note_digests()
        found = house.vouching().signatures(wanted.repo, commit_hash)
    good = any(one.coverage.complete or (partial and one.coverage.valid) for one in found)
    if as_json:
        told = [one.as_json() for one in found]
        put_json({"repo": str(wanted.repo), "commit_hash": commit_hash, "ok": good, "signatures": told})
    else:
        for one in found:
            _put_signature(one)
        if not found:
            say(f"nobody signed {wanted.repo} at {commit_hash[:12]}")
    if not good:
        raise typer.Exit(FAILED)


def provenance(repo: _Repo, home: options.Home = None, as_json: options.Json = False) -> None:
    """State where a commit came from and what happened to it here: verdicts, approvals, deliveries.

    Two in-toto statements, signed with the gateway's key and kept: SLSA provenance, and a record.

    \b
    Examples:
      moongate provenance acme/tiny
      moongate provenance acme/tiny --json | jq -r '.envelopes[].payload' | base64 -d
    """
    only_here("provenance", home)
    from moongate.cli.house import open_home
    from moongate.policy.provenance.statements import gateway_name

    wanted = parse_repo_at(repo)
    with open_home(home) as house:
        commit_hash = _commit(house, wanted)
        facts = _facts(house, wanted, commit_hash)
        key = house.signing_key()
        named = house.settings.public_url or gateway_name(key)
        envelopes = house.vouching().state(facts, key, named)
        written(house, "repo.attest", repo=wanted.repo, commit_hash=commit_hash, subject=named)
    if as_json:
        public = key.public.pem.decode()
        put_json(
            {"repo": str(wanted.repo), "commit_hash": commit_hash, "key": public, "envelopes": envelopes}
        )
        return
    put(f"{wanted.repo} at {commit_hash}")
    put(f"  from {facts.origin}")
    verdicts = sorted({file.verdict or "unscanned" for file in facts.files})
    put(f"  {count(len(facts.files), 'file')}, judged {', '.join(verdicts)}")
    put(f"  {count(len(facts.approvals), 'approval')}, {count(len(facts.deliveries), 'delivery')}")
    say("stated, and signed with the gateway's key; --json prints the envelopes")


def bom(
    repo: _Repo,
    format: Annotated[BomFormat, typer.Option("--format", help="cyclonedx or spdx.")] = BomFormat.cyclonedx,  # noqa: A002
    home: options.Home = None,
) -> None:
    """Print a bill of materials of a commit: CycloneDX 1.6 (ML-BOM), or SPDX 3.0.1 (AI profile).

    \b
    Examples:
      moongate bom acme/tiny > bom.cdx.json
      moongate bom datasets/acme/squad --format spdx > bom.spdx.json
    """
    only_here("bom", home)
    from moongate.cli.house import open_home
    from moongate.policy.provenance.cyclonedx import cyclonedx
    from moongate.policy.provenance.spdx import spdx

    wanted = parse_repo_at(repo)
    with open_home(home) as house:
        facts = _facts(house, wanted, _commit(house, wanted))
    write = spdx if format is BomFormat.spdx else cyclonedx
    put(json.dumps(write(facts, time.time()), indent=2, ensure_ascii=False))


def _commit(house: Stock, wanted: RepoAt) -> CommitHash:
    refs, commits = known_revisions(house, wanted.repo)
    commit_hash = commit_to_show(wanted.repo, wanted.revision, refs, commits)
    if commit_hash is None:
        raise CommandFailed(
            f"{wanted.repo} is not known here", hint=f"`moongate pull {wanted.repo}` fetches it"
        )
    return commit_hash


def _facts(house: Stock, wanted: RepoAt, commit_hash: CommitHash) -> CommitFacts:
    from moongate.app.wiring.hosted import open_hosted
    from moongate.app.wiring.provenance import commit_facts

    house.keeping.note_digests()
    return commit_facts(house, wanted.repo, commit_hash, hosted=open_hosted(house).hosts(wanted.repo))


def _put_signature(one: Found) -> None:
    told = one.coverage
    where = "signed here" if one.where == "here" else one.where
    if told.why:
        put(f"{where}: not valid: {told.why}")
        return
    word = "complete" if told.complete else "valid" if told.valid else "not valid"
    put(f"{where}: {word}, by {told.signer} ({told.method}), {count(len(told.covered), 'file')} covered")
    for name, paths in (
        ("changed since", told.changed),
        ("signed, and not there", told.missing),
        ("signed, and its content is not here", told.unknown),
        ("not covered", told.uncovered),
    ):
        for path in paths[:_SHOWN]:
            by_signer = " (left out by the signer)" if path in told.ignored else ""
            put(f"  {name}: {path}{by_signer}")
        if len(paths) > _SHOWN:
            put(f"  {name}: {len(paths) - _SHOWN} more; --json names them")
