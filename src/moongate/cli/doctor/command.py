"""The command: settings, machine, upstream, clients, in this order."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import exits, options
from moongate.cli.doctor.finding import Finding
from moongate.cli.terminal import count, put, put_json

if TYPE_CHECKING:
    from moongate.app.settings import Settings
    from moongate.cli.gateway import Gateway

_MARKS = {"ok": "ok", "note": "note", "warning": "warn", "failed": "FAIL"}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    home: options.Home = None,
    upstream: Annotated[str | None, typer.Option(help="Look at this Hub instead.")] = None,
    host: Annotated[str | None, typer.Option(help="Address the gateway is to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port the gateway is to listen on.")] = None,
    as_json: options.Json = False,
) -> None:
    """Look for trouble, and say what to do.

    Looks at upstream, clock, disk, index, port, door, client variables and clients; changes nothing.
    With MOONGATE_URL set, looks at that gateway instead of a home on this machine. Exit code 0: nothing
    is in the way; 4: only upstream is; 1: something else is.

    \b
    Examples:
      moongate doctor
      moongate doctor --json | jq '.findings[] | select(.level == "failed")'
      MOONGATE_URL=https://models.example.com moongate doctor
    """
    from moongate.cli.gateway import chosen_gateway

    gateway = chosen_gateway(home)
    if gateway is not None:
        findings = _look_from_afar(gateway)
    else:
        from moongate.cli.house import load_settings

        settings = load_settings(home=home, upstream=upstream, host=host, port=port)
        findings = _look_here(settings)
    if as_json:
        put_json(
            {
                "ok": not _failed(findings),
                "findings": [
                    {"check": item.check, "level": item.level, "words": item.words, "advice": item.advice}
                    for item in findings
                ],
            }
        )
    else:
        _print(findings)
    failed = _failed(findings)
    if failed:
        only_upstream = all(item.check in ("upstream", "gateway") for item in failed)
        raise typer.Exit(exits.UNREACHABLE if only_upstream else exits.FAILED)


def _look_here(settings: Settings) -> list[Finding]:
    from moongate.app.settings import unknown_variables
    from moongate.cli.doctor.clients import check_clients, check_variables
    from moongate.cli.doctor.machine import check_door, check_folder, check_git, check_policy, check_port
    from moongate.cli.doctor.upstream import check_upstream

    strangers = unknown_variables(os.environ)
    findings = [Finding("settings", "warning", line, "`moongate settings` shows all") for line in strangers]
    findings += check_folder("home", settings.home, settings.min_free_bytes)
    if settings.store is not None:
        findings += check_folder("store", settings.store, settings.min_free_bytes)
    findings.append(check_port(settings.host, settings.port))
    findings.append(check_policy(settings.policy))
    findings += check_git()
    index, has_token = _look_at_index(settings)
    findings.append(index)
    findings.append(
        check_door(
            loopback=settings.is_loopback,
            allow_anonymous=settings.allow_anonymous,
            has_token=has_token,
            host=settings.host,
            public_url=settings.public_url,
        )
    )
    if settings.offline:
        findings.append(Finding("upstream", "note", "offline: upstream is never asked"))
    else:
        findings += check_upstream(
            settings.upstream, settings.own_token, os.environ, settings.upstream_timeout_seconds
        )
    name = "localhost" if settings.is_loopback else settings.host
    url = settings.public_url or f"http://{name}:{settings.port}"
    return findings + check_variables(os.environ, url) + check_clients()


def _look_at_index(settings: Settings) -> tuple[Finding, bool]:
    """The index, opened if it exists; and whether somebody has a token."""
    from moongate.cli.house import open_house
    from moongate.core.errors import MoongateError
    from moongate.store.layout import Layout

    if settings.database is None and not Layout(settings.home, settings.store).index_path.exists():
        return Finding("index", "ok", "is made at the first start"), False
    try:
        with open_house(settings) as house:
            repos = len(house.index.repos())
            has_token = house.index.any_token(time.time())
    except MoongateError as error:
        return Finding(
            "index", "failed", error.message, "check MOONGATE_DATABASE and the rights on it"
        ), False
    return Finding("index", "ok", f"opens; it knows {count(repos, 'repository')}"), has_token


def _look_from_afar(gateway: Gateway) -> list[Finding]:
    from moongate.cli.doctor.clients import check_clients, check_variables
    from moongate.cli.doctor.upstream import check_gateway

    findings = check_gateway(gateway.url, gateway.token, os.environ)
    return findings + check_variables(os.environ, gateway.url) + check_clients()


def _failed(findings: list[Finding]) -> list[Finding]:
    return [item for item in findings if item.level == "failed"]


def _print(findings: list[Finding]) -> None:
    width = max(len(item.check) for item in findings)
    for item in findings:
        put(f"{_MARKS[item.level]:<4}  {item.check:<{width}}  {item.words}")
        if item.advice:
            put(f"{'':<4}  {'':<{width}}  → {item.advice}")
    failed, warned = len(_failed(findings)), sum(item.level == "warning" for item in findings)
    put("")
    if failed:
        put(f"{count(failed, 'thing')} in the way, {count(warned, 'warning')}.")
    elif warned:
        put(f"Nothing is in the way; {count(warned, 'warning')}.")
    else:
        put("All is well.")
