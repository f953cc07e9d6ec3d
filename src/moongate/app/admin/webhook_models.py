"""What the admin API takes and gives about webhooks. Times are unix seconds."""

from __future__ import annotations

from pydantic import Field

from moongate.app.admin.models import Model


class NewWebhook(Model):
    """Where to send events. kinds: such as `request.opened`; all when none is named."""

    url: str = Field(min_length=1, max_length=2000)
    kinds: list[str] = Field(default=[], max_length=50)
    note: str = Field(default="", max_length=200)


class Webhook(Model):
    """A webhook. waiting, given_up: events that are still to be sent, and that nobody took."""

    id: str
    url: str
    kinds: list[str]
    created_at: float
    created_by: str
    note: str
    waiting: int = 0
    given_up: int = 0
    last_trouble: str = ""


class Webhooks(Model):
    webhooks: list[Webhook]


class AddedWebhook(Webhook):
    """The only time that the secret which signs its events is shown."""

    secret: str


class Tested(Model):
    """Whether a test event was taken; else why not."""

    taken: bool
    why: str
