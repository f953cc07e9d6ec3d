"""`moongate verify` and `gc`: whether what is kept is still right, and what serves nobody any more.

Both may run beside a gateway on the same home; with MOONGATE_URL that gateway does the work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, number
from moongate.cli.jobs import run_job
from moongate.cli.recording import written
from moongate.cli.terminal import Bars, bars, count, put, put_json, say, size
from moongate.cli.times import parse_duration

_GC_WORDS = {
    "partials": "unfinished downloads removed",
    "temporaries": "leftovers of crashes removed",
    "quarantined": "old quarantined files removed",
    "answers": "answers nobody asked for forgotten",
    "rows_dropped": "index rows without a file dropped",
    "registered": "files without an index row registered",
    "doubted": "Xet files with lost chunks to be fetched again",
    "unproven": "unfinished Xet files removed",
    "leftovers": "leftovers among chunks removed",
    "released": "large files of old revisions let go",
    "orphans": "contents of hosted repositories freed that nobody points to",
    "evicted": "files evicted for the quota",
    "evicted_xet": "Xet files evicted for the quota",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found; each wrong file with what is known of it."""

    checked: int
    checked_bytes: int
    wrong: list[dict[str, object]]
    xet_files: int | None = None
    """How many of them are kept in chunks; None when nobody said."""


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)
    app.command("gc")(gc)


def verify(
    older_than: Annotated[
        str | None, typer.Option(help="Only what was last found right so long ago: 12h, 30d.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hash everything again; quarantine what is wrong.

    Files whose bytes are not what their name says go to the quarantine folder of the store with a note,
    and are fetched anew when asked for. Exit code 1 if there were any. After a Ctrl-C, --older-than goes
    on where it stopped.

    \b
    Examples:
      moongate verify
      moongate verify --older-than 30d
      moongate verify --json | jq .wrong
    """
    before = time.time() - parse_duration(older_than, "--older-than") if older_than is not None else None
    gateway = chosen_gateway(home)
    if gateway is not None:
        verdict = _verify_there(gateway, before, quiet)
    else:
        verdict = _verify_here(home, before, quiet)
    if as_json:
        put_json(
            {
                "checked": verdict.checked,
                "checked_bytes": verdict.checked_bytes,
                "xet_files": verdict.xet_files,
                "wrong": verdict.wrong,
            }
        )
    else:
        for item in verdict.wrong:
            put("\t".join("-" if value is None else str(value) for value in item.values()))
        in_xet = f" ({verdict.xet_files} in Xet)" if verdict.xet_files else ""
        words = f"{count(verdict.checked, 'file')}{in_xet}, {size(verdict.checked_bytes)} hashed"
        say(f"{words}; {len(verdict.wrong)} wrong")
    if verdict.wrong:
        raise CommandFailed(
            f"{count(len(verdict.wrong), 'file')} not what the name says: quarantined, fetched anew on wish; "
            "what is hosted here has to be uploaded again",
            hint="bad bytes on disk mean a bad disk or memory: look at `dmesg` and `smartctl`",
        )


def gc(
    idle: Annotated[
        str | None, typer.Option(help="Unfinished downloads go when nobody touched them for so long [7d].")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Collect what serves nobody any more.

    Unfinished downloads nobody waits for, leftovers of crashes, old answers, old quarantined files. Also
    brings disk and index into line, both ways, and evicts when the store is over its quota. Touches
    nothing that is being read or filled.

    \b
    Examples:
      moongate gc
      moongate gc --idle 1h --json
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        if idle is not None:
            raise wrong_usage("--idle is for a home on this machine", hint="leave it out, or name a --home")
        done = _summary(gateway.ask("POST", "/gc"), gateway.ask("POST", "/evict"))
    else:
        done = _gc_here(home, idle)
    if as_json:
        put_json(done)
        return
    for name, words in _GC_WORDS.items():
        if done[name]:
            say(f"{done[name]} {words}")
    say(f"freed {size(done['freed_bytes'])} ({done['freed_bytes']} bytes)")
    if done["over_bytes"]:
        say(f"warning: still {size(done['over_bytes'])} over the limits; the rest is pinned or in use")


def _verify_here(home: Path | None, before: float | None, quiet: bool) -> Verdict:
    from moongate.cli.house import open_home

    with open_home(home) as house, bars(quiet=quiet) as shown:
        usage = house.keeping.usage()
        meter = _Meter(shown, usage.stored_bytes)
        limit = float("inf") if before is None else before
        verdicts = house.keeping.verify(verified_before=limit, progress=meter.add)
        results = [checked for checked in verdicts if checked.outcome != "gone"]
        names = {
            checked.etag: [f"{at.repo}/{at.entry.path}" for at in house.index.where_is(checked.etag)[:1]]
            for checked in results
            if checked.outcome == "wrong"
        }
        details = {"checked": len(results), "wrong": sorted(names)}
        written(house, "content.verify", details=details)
    wrong: list[dict[str, object]] = [
        {
            "etag": checked.etag,
            "file": next(iter(names[checked.etag]), None),
            "kept_as": "xet" if checked.file_id else "blob",
            "xet_hash": checked.file_id or None,
            "size_bytes": checked.size_bytes,
            "why": checked.why,
            "quarantined_at": str(checked.quarantined_at) if checked.quarantined_at else None,
        }
        for checked in results
        if checked.outcome == "wrong"
    ]
    checked_bytes = sum(checked.size_bytes for checked in results)
    return Verdict(len(results), checked_bytes, wrong, sum(bool(checked.file_id) for checked in results))


def _verify_there(gateway: Gateway, before: float | None, quiet: bool) -> Verdict:
    total_bytes = number(gateway.ask("GET", "/usage"), "stored_bytes")
    with bars(quiet=quiet) as shown:

        def look(job: Mapping[str, object]) -> None:
            done_bytes = number(job, "done_bytes")
            shown.update("hashing", done_bytes, max(total_bytes, done_bytes))

        job = run_job(gateway, "/verifications", {"verified_before": before}, look)
    etags = job.get("wrong")
    wrong = [{"etag": etag} for etag in etags] if isinstance(etags, list) else []
    return Verdict(number(job, "done_files"), number(job, "done_bytes"), wrong)


def _gc_here(home: Path | None, idle: str | None) -> dict[str, int]:
    from moongate.cli.house import open_home

    idle_seconds = None if idle is None else parse_duration(idle, "--idle")
    with open_home(home) as house:
        collected, evicted = house.collect(idle_seconds), house.keeping.evict()
        done = _summary(
            {name: getattr(collected, name) for name in collected.__dataclass_fields__},
            {name: getattr(evicted, name) for name in evicted.__dataclass_fields__},
        )
        written(house, "content.collect", details=done)
    return done


def _summary(collected: Mapping[str, object], evicted: Mapping[str, object]) -> dict[str, int]:
    return {
        "freed_bytes": number(collected, "freed_bytes") + number(evicted, "freed_bytes"),
        "partials": number(collected, "partials") + number(evicted, "partials"),
        "temporaries": number(collected, "temporaries"),
        "quarantined": number(collected, "quarantined"),
        "answers": number(collected, "answers"),
        "rows_dropped": number(collected, "rows_dropped"),
        "registered": number(collected, "registered"),
        "doubted": number(collected, "doubted"),
        "unproven": number(collected, "unproven"),
        "leftovers": number(collected, "leftovers"),
        "released": number(collected, "released"),
        "orphans": number(collected, "orphans"),
        "evicted": number(evicted, "blobs"),
        "evicted_xet": number(evicted, "xet_files"),
        "over_bytes": number(evicted, "over_bytes"),
    }


class _Meter:
    """Adds up what several threads hashed, and moves one bar."""

    def __init__(self, shown: Bars, total_bytes: int) -> None:
        self._shown = shown
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            self._shown.update("hashing", self._done_bytes, max(self._total_bytes, self._done_bytes))
