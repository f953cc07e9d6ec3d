"""Flags that several commands share, as annotated types."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class RepoTypeWord(StrEnum):
    """A repository type as a flag takes it."""

    model = "model"
    dataset = "dataset"
    space = "space"


Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where the index and the store live (MOONGATE_HOME, else ~/.moongate)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors still show.")]
Type = Annotated[
    RepoTypeWord,
    typer.Option("--type", help="What a name without a datasets/ or spaces/ prefix means."),
]
Repos = Annotated[
    list[str],
    typer.Argument(metavar="REPO", help="acme/tiny, datasets/acme/squad, acme/tiny@v1.0 or 'acme/*'."),
]
SomeRepos = Annotated[
    list[str] | None,
    typer.Argument(metavar="REPO", help="acme/tiny, datasets/acme/squad or 'acme/*'; all when left out."),
]
