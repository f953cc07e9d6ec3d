"""The command: runs the steps, prints the table, says whether all went as told."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.terminal import Column, put_json, put_table, say, size

if TYPE_CHECKING:
    from types import FrameType

    from moongate.cli.demo.steps import Outcome, Step


@dataclass(frozen=True, slots=True)
class Row:
    """A step and what it measured."""

    step: Step
    outcome: Outcome

    @property
    def megabytes_per_second(self) -> float:
        return self.outcome.received_bytes / 1e6 / max(self.outcome.seconds, 1e-9)

    @property
    def upstream_share(self) -> float:
        """Bytes upstream sent for each byte the client received."""
        return (self.outcome.upstream_bytes or 0) / max(self.outcome.received_bytes, 1)

    def as_json(self) -> dict[str, object]:
        kept = self.outcome.kept
        disk = {"logical_bytes": kept.logical_bytes, "stored_bytes": kept.stored_bytes} if kept else None
        return {
            "step": self.step.name,
            "seconds": round(self.outcome.seconds, 3),
            "received_bytes": self.outcome.received_bytes,
            "upstream_bytes": self.outcome.upstream_bytes,
            "upstream_share": round(self.upstream_share, 6),
            "megabytes_per_second": round(self.megabytes_per_second, 1),
            **({"disk": disk} if disk else {}),
            **({"reason": self.outcome.reason} if self.outcome.reason else {}),
        }

    def in_words(self) -> str:
        """What the table has no column for; empty when nothing."""
        kept = self.outcome.kept
        if self.outcome.how == "refused":
            return f"What the client was told of the backdoored model: {self.outcome.reason}"
        if kept is None:
            return ""
        if self.outcome.how == "pushed":
            return (
                f"Of our own fine-tune of {size(kept.logical_bytes)}, {size(kept.stored_bytes)} was new "
                "here, and none of it went upstream."
            )
        sent, received = size(self.outcome.upstream_bytes or 0), size(self.outcome.received_bytes)
        return (
            f"The fine-tune came for {self.upstream_share:.1%} of its size: {sent} of {received}.\n"
            f"On disk, model and fine-tune of {size(kept.logical_bytes)} take {size(kept.stored_bytes)}."
        )


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the gateway running until Ctrl-C.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the gateway at work, without internet.

    Takes about a minute, with the real `hf` client. Starts a small Hub on this machine with a real
    model in it and a gateway in front of it; pulls the model cold and warm, then a fine-tune of it,
    of which only what is new comes from that Hub; pushes a fine-tune to a hosted repository, and
    pulls it back as another user; asks for a model whose weights would run a command, and is told
    why it may not have it; then stops that Hub and pulls again. Every file that arrives is checked by
    its sha256. Touches nothing outside a temporary folder, which goes at the end. Exit code 1 if
    anything did not go as told.

    \b
    Examples:
      moongate demo
      moongate demo --keep
      moongate demo --json | jq .steps
    """
    from moongate.cli.demo.model import REPO, find_model
    from moongate.cli.demo.stage import stage
    from moongate.cli.demo.steps import STEPS

    started = time.monotonic()
    model = find_model()
    rows: list[Row] = []
    with _stopping_on_sigterm(), stage(model, say) as place:
        try:
            for step in STEPS:
                say(step.title)
                rows.append(Row(step, step.run(place)))
        except CommandFailed as error:
            failed = STEPS[len(rows)]
            _report(rows, as_json=as_json, repo=REPO, failed=failed, why=error.message)
            raise CommandFailed(f"{failed.title}: {error.message}", hint=error.hint) from None
        _report(rows, as_json=as_json, repo=REPO)
        say(
            f"All went as told, in {time.monotonic() - started:.0f} s. "
            "`hf` is `hf download` into an empty cache, its own start included;\n"
            "upstream is what the Hub sent for it, ratio that to what was received."
        )
        if keep:
            _wait(place.gateway_url, REPO)


def _report(
    rows: list[Row], *, as_json: bool, repo: str, failed: Step | None = None, why: str | None = None
) -> None:
    if as_json:
        document: dict[str, object] = {
            "ok": failed is None,
            "repo": repo,
            "steps": [row.as_json() for row in rows],
        }
        if failed is not None:
            document |= {"failed": failed.name, "why": why}
        put_json(document)
        return
    columns = [
        Column(""),
        Column("seconds", "right"),
        Column("received", "right"),
        Column("MB/s", "right"),
        Column("upstream", "right"),
        Column("ratio", "right"),
        Column("sha256 right"),
    ]
    put_table(
        columns,
        [
            [
                row.step.title,
                f"{row.outcome.seconds:.2f}",
                size(row.outcome.received_bytes),
                f"{row.megabytes_per_second:.0f}" if row.outcome.received_bytes else "-",
                "stopped" if row.outcome.upstream_bytes is None else size(row.outcome.upstream_bytes),
                f"{row.upstream_share:.4f}" if row.outcome.received_bytes else "-",
                row.outcome.checked,
            ]
            for row in rows
        ],
        title=repo,
        for_eyes=True,
    )
    for words in filter(None, (row.in_words() for row in rows)):
        say(words)


def _wait(url: str, repo: str) -> None:
    try:
        say(
            f"\nThe gateway keeps running at {url}, with its upstream stopped. In another shell:\n"
            f"  export HF_ENDPOINT={url}\n"
            f"  hf download {repo}\n"
            "Ctrl-C ends it and removes the temporary folder."
        )
        signal.pause()
    except KeyboardInterrupt:
        say("stopping")


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: programs stopped, folder removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
