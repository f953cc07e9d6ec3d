"""`/-/webhooks`: where events are sent, what became of the last ones, and another address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from moongate.app.admin.webhook_models import AddedWebhook, NewWebhook
from moongate.app.admin.webhooks import Hooks
from moongate.app.pages.security import Place, Places
from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit, actor_of_visit
from moongate.core.errors import BadRequest
from moongate.core.webhooks import DeliveryRow, DeliveryState
from moongate.policy.announcing import KINDS, MEANINGS
from moongate.web.hook_views import DeliveryLine, HookForm, HookLine, HooksView

HOOKS_PATH: Final = "/-/webhooks"
PLACE: Final[Place] = ("webhooks", "Webhooks", "bell", HOOKS_PATH)
_LAST = 10
_KIND = "kind:"
_TONES: Final[Mapping[DeliveryState, tuple[str, str]]] = {
    "sent": ("taken", "good"),
    "waiting": ("waits", "warn"),
    "given-up": ("given up", "bad"),
}


class HookPages:
    """For administrators."""

    def __init__(self, hooks: Hooks, places: Places) -> None:
        self._hooks = hooks
        self._places = places

    async def show(self, visit: Visit) -> PageAnswer:
        return await self._page(visit)

    async def add(self, visit: Visit) -> PageAnswer:
        """A new webhook; its secret is shown this once."""
        kinds = [name.removeprefix(_KIND) for name in visit.form if name.startswith(_KIND)]
        form = HookForm(visit.form.get("url", "").strip(), visit.form.get("note", "").strip(), kinds)
        try:
            wanted = NewWebhook(url=form.url, note=form.note, kinds=kinds)
            made = await asyncio.to_thread(self._hooks.add, wanted, actor_of_visit(visit))
        except ValidationError:
            return await self._page(visit, form, wrong="Give an address, and a short note.")
        except BadRequest as error:
            return await self._page(visit, form, wrong=f"{error.message[:1].upper()}{error.message[1:]}.")
        return await self._page(visit, made=made)

    async def test(self, visit: Visit) -> PageAnswer:
        """Sends a test event now, once."""
        hook_id = visit.form.get("id", "")
        tested = await self._hooks.test(hook_id)
        return await self._page(visit, tried={hook_id: (tested.taken, tested.why)})

    async def remove(self, visit: Visit) -> PageAnswer:
        await asyncio.to_thread(self._hooks.remove, visit.form.get("id", ""), actor_of_visit(visit))
        return Sent(HOOKS_PATH)

    async def _page(
        self,
        visit: Visit,
        form: HookForm | None = None,
        *,
        made: AddedWebhook | None = None,
        tried: Mapping[str, tuple[bool, str]] | None = None,
        wrong: str = "",
    ) -> Shown:
        view = HooksView(
            hooks=await asyncio.to_thread(self._lines),
            kinds=[(kind, MEANINGS.get(kind, "")) for kind in KINDS if kind in MEANINGS],
            form=form or HookForm(),
            made=(made.url, made.secret) if made is not None else None,
            tried=tried or {},
            wrong=wrong,
        )
        values = {"view": view, "places": self._places(visit), "place": "webhooks"}
        return Shown("webhooks", "Webhooks", values, section="security", status=400 if wrong else 200)

    def _lines(self) -> list[HookLine]:
        return [
            HookLine(
                id=hook.id,
                url=hook.url,
                kinds=hook.kinds,
                note=hook.note,
                created_by=hook.created_by,
                created_at=hook.created_at,
                waiting=hook.waiting,
                given_up=hook.given_up,
                last=[_line(row) for row in self._hooks.last(hook.id, _LAST)],
            )
            for hook in reversed(self._hooks.all())
        ]


def _line(row: DeliveryRow) -> DeliveryLine:
    state, tone = _TONES[row.state]
    return DeliveryLine(
        kind=row.kind,
        state=state,
        tone=tone,
        created_at=row.created_at,
        attempts=row.attempts,
        next_at=row.next_at if row.state == "waiting" and row.attempts else None,
        why=row.why if row.state != "sent" else "",
    )
