"""`moongate webhook`: other programs that are told of events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from moongate.cli import exits, options
from moongate.cli.desks import hooks_here, who
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.terminal import Column, put, put_json, put_table, say

group = typer.Typer(help="Tell other programs of events, as CloudEvents.", rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="As `moongate webhook list` shows it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="webhook")


@group.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://…; private hosts must be allowed.")],
    events: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="KIND", help="request.opened, file.denied, …; all when left out."),
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Send events to an address. The secret that signs them is printed, once.

    Events: request.opened, request.decided, waiver.created, waiver.revoked, file.denied, repo.denied,
    commit.denied, content.detected, policy.changed, feed.changed, recall.started, recall.undone,
    repo.committed. MOONGATE_WEBHOOK_ALLOWED_HOSTS names hosts that may be private, or plain http.

    \b
    Examples:
      moongate webhook add https://chat.example.com/hooks/moongate --event request.opened
      moongate webhook add https://siem.example.com/in --json | jq -r .secret
    """
    body = {"url": url, "kinds": events or [], "note": note}
    gateway = chosen_gateway(home)
    if gateway is not None:
        told: Mapping[str, Any] = gateway.ask("POST", "/webhooks", body)
    else:
        told = asyncio.run(_added(body, home))
    if as_json:
        put_json(told)
        return
    put(str(told["secret"]))
    say(f"webhook {told['id']} is told of {', '.join(told['kinds']) or 'everything'}; keep the secret")


@group.command("list")
def list_webhooks(home: options.Home = None, as_json: options.Json = False) -> None:
    """List webhooks, and what is still to be sent to them.

    \b
    Examples:
      moongate webhook list
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = rows(gateway.ask("GET", "/webhooks"), "webhooks")
    else:
        found = asyncio.run(_listed(home))
    if as_json:
        put_json({"webhooks": found})
        return
    columns = [Column(name) for name in ("id", "url", "events", "waiting", "given up", "last trouble")]
    put_table(columns, [_cells(row) for row in found])
    if not found:
        say("no webhooks")


@group.command("rm")
def remove(webhook_id: Id, home: options.Home = None) -> None:
    """Remove a webhook, with what was still to be sent there.

    \b
    Examples:
      moongate webhook rm h-01234567
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("DELETE", f"/webhooks/{quote(webhook_id, safe='')}")
    else:
        asyncio.run(_removed(webhook_id, home))
    say(f"{webhook_id} is removed")


@group.command("test")
def send_test(webhook_id: Id, home: options.Home = None, as_json: options.Json = False) -> None:
    """Send a test event now. Exit code 4 if nobody takes it.

    \b
    Examples:
      moongate webhook test h-01234567
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told: Mapping[str, Any] = gateway.ask("POST", f"/webhooks/{quote(webhook_id, safe='')}")
    else:
        told = asyncio.run(_tested(webhook_id, home))
    if as_json:
        put_json(told)
    else:
        say("taken" if told["taken"] else f"not taken: {told['why']}")
    if not told["taken"]:
        raise typer.Exit(exits.UNREACHABLE)


async def _added(body: dict[str, Any], home: Path | None) -> dict[str, Any]:
    from moongate.app.admin.webhook_models import NewWebhook

    async with hooks_here(home) as hooks:
        return hooks.add(NewWebhook(**body), who()).model_dump()


async def _listed(home: Path | None) -> list[Mapping[str, object]]:
    async with hooks_here(home) as hooks:
        return [hook.model_dump() for hook in hooks.all()]


async def _removed(webhook_id: str, home: Path | None) -> None:
    async with hooks_here(home) as hooks:
        hooks.remove(webhook_id, who())


async def _tested(webhook_id: str, home: Path | None) -> dict[str, Any]:
    async with hooks_here(home) as hooks:
        return (await hooks.test(webhook_id)).model_dump()


def _cells(row: Mapping[str, Any]) -> list[str]:
    events = ", ".join(row["kinds"]) or "all"
    return [row["id"], row["url"], events, str(row["waiting"]), str(row["given_up"]), row["last_trouble"]]
