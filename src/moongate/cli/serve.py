"""`moongate serve`: the gateway itself."""

from __future__ import annotations

from typing import Annotated

import typer

from moongate.cli import options


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(  # noqa: PLR0913  (a flag is an argument)
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; anything but loopback needs tokens [127.0.0.1].")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one and prints it [8080].")] = None,
    upstream: Annotated[str | None, typer.Option(help="The Hub to stand in front of.")] = None,
    home: options.Home = None,
    store: Annotated[
        str | None, typer.Option(metavar="<path>", help="Folder in which blobs are kept [HOME/store].")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="sqlite:///… or postgresql://… [SQLite in the home].")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never ask upstream; serve what is kept.")
    ] = False,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Serve callers without a token on any address.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port [1].")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Our address as clients see it, behind a proxy.")
    ] = None,
    quota_bytes: Annotated[
        str | None, typer.Option(help="Most the store may hold: 500GB, 1.5TiB; 0 is no limit [0].")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json [text].")] = None,
) -> None:
    """Start the gateway; Ctrl-C or SIGTERM ends it.

    Every flag is also a variable MOONGATE_<NAME> and a key of moongate.toml; `moongate settings` shows
    them all, and where each stands now. Running responses are finished before it stops.

    \b
    Examples:
      moongate serve
      moongate serve --port 9000 --home /srv/moongate
      moongate serve --offline
      MOONGATE_QUOTA_BYTES=500GB moongate serve --host 0.0.0.0
    """
    from moongate.app.server import serve as serve_until_stopped
    from moongate.cli.house import load_settings

    settings = load_settings(
        host=host,
        port=port,
        upstream=upstream,
        home=home,
        store=store,
        database=database,
        offline=offline or None,
        allow_anonymous=allow_anonymous or None,
        workers=workers,
        public_url=public_url,
        quota_bytes=quota_bytes,
        log_level=log_level,
        log_format=log_format,
    )
    code = serve_until_stopped(settings)
    if code:
        raise typer.Exit(code)
