"""Webhooks as administrators see them: added, listed, tried, removed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from moongate.app.admin import webhook_models as models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.core.errors import Absent, BadRequest, UpstreamBroken, UpstreamRefused
from moongate.core.webhooks import DeliveryRow, HookRow
from moongate.hub.audit import Actor, Audit, AuditEvent
from moongate.policy.announcing import KINDS, TEST, cloud_event
from moongate.policy.courier import Courier
from moongate.policy.wanted import nearest

_MOST = 50


class HookKeeper(Protocol):
    """What is needed of the index."""

    def put_hook(self, hook: HookRow) -> None: ...
    def hooks(self) -> list[HookRow]: ...
    def drop_hook(self, hook_id: str) -> bool: ...
    def deliveries_of(self, hook_id: str) -> list[DeliveryRow]: ...


class Hooks:
    """Blocks, but for `test`."""

    def __init__(
        self,
        shelf: HookKeeper,
        courier: Courier,
        check: Callable[[str], None],
        source: str,
        audit: Audit,
    ) -> None:
        """check: raises when webhooks may not go to an address. source: where events say they come from."""
        self._shelf = shelf
        self._courier = courier
        self._check = check
        self._source = source
        self._audit = audit

    def add(self, wanted: models.NewWebhook, by: Actor) -> models.AddedWebhook:
        """A new webhook, with its secret.

        Raises:
            BadRequest: there is no such kind of event, or too many webhooks.
            UpstreamRefused: the address is not one that webhooks may go to.
        """
        for kind in wanted.kinds:
            if kind not in KINDS:
                raise BadRequest(f"no event is called {kind[:60]!r}{nearest(kind, KINDS)}")
        try:
            self._check(wanted.url)
        except UpstreamBroken as error:
            raise BadRequest("that is no address for a webhook") from error
        except UpstreamRefused as error:
            raise BadRequest(error.message) from error
        if len(self._shelf.hooks()) >= _MOST:
            raise BadRequest(f"there are {_MOST} webhooks already")
        hook = HookRow(
            f"h-{secrets.token_hex(4)}", wanted.url, secrets.token_urlsafe(32), tuple(wanted.kinds),
            time.time(), by.name, wanted.note,
        )  # fmt: skip
        self._shelf.put_hook(hook)
        # of the address its host alone: the rest of it is a secret with many receivers
        details = {"host": urlsplit(hook.url).hostname or "", "kinds": list(hook.kinds)}
        self._audit.record(AuditEvent("webhook.create", by, subject=hook.id, details=details))
        return models.AddedWebhook(**self._shown(hook).model_dump(), secret=hook.secret)

    def all(self) -> list[models.Webhook]:
        return [self._shown(hook) for hook in self._shelf.hooks()]

    def last(self, hook_id: str, most: int) -> list[DeliveryRow]:
        """What was and is to be sent to a webhook, the newest first."""
        return self._shelf.deliveries_of(hook_id)[:most]

    def remove(self, hook_id: str, by: Actor) -> None:
        """Forget a webhook and what was still to be sent there.

        Raises:
            Absent: there is none with this id.
        """
        if not self._shelf.drop_hook(hook_id):
            raise Absent(f"there is no webhook {hook_id[:60]!r}")
        self._audit.record(AuditEvent("webhook.delete", by, subject=hook_id))

    async def test(self, hook_id: str) -> models.Tested:
        """Send a test event now, once.

        Raises:
            Absent: there is no webhook with this id.
        """
        hooks = await asyncio.to_thread(self._shelf.hooks)
        hook = next((hook for hook in hooks if hook.id == hook_id), None)
        if hook is None:
            raise Absent(f"there is no webhook {hook_id[:60]!r}")
        body = cloud_event(TEST, {"webhook": hook.id}, self._source, time.time())
        why = await self._courier.send(hook, TEST, body)
        return models.Tested(taken=not why, why=why)

    def _shown(self, hook: HookRow) -> models.Webhook:
        rows = self._shelf.deliveries_of(hook.id)
        return models.Webhook(
            id=hook.id,
            url=hook.url,
            kinds=list(hook.kinds),
            created_at=hook.created_at,
            created_by=hook.created_by,
            note=hook.note,
            waiting=sum(row.state == "waiting" for row in rows),
            given_up=sum(row.state == "given-up" for row in rows),
            last_trouble=next((row.why for row in rows if row.why), ""),
        )


def webhook_operations(hooks: Hooks) -> tuple[Operation, ...]:
    """The admin API's operations on webhooks."""

    async def listed(_: Asked) -> Model:
        return models.Webhooks(webhooks=await asyncio.to_thread(hooks.all))

    async def add(asked: Asked) -> Model:
        return await asyncio.to_thread(hooks.add, asked.body, asked.actor)

    async def remove(asked: Asked) -> Model:
        await asyncio.to_thread(hooks.remove, asked.part, asked.actor)
        return Gone(removed=True)

    async def test(asked: Asked) -> Model:
        return await hooks.test(asked.part)

    new = models.NewWebhook
    return needing(
        "admin",
        Operation("GET", "/webhooks", "Where events are sent", listed, models.Webhooks),
        Operation("POST", "/webhooks", "Send events there, too", add, models.AddedWebhook, new, (), 201),
        Operation("DELETE", "/webhooks/{id}", "Send no more there", remove, Gone),
        Operation("POST", "/webhooks/{id}", "Send a test event now", test, models.Tested),
    )
