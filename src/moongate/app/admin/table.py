"""Every operation of the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moongate.app.admin.approvals import approval_operations
from moongate.app.admin.audit import audit_operations
from moongate.app.admin.feeds import feed_operations
from moongate.app.admin.hosting import hosting_operations
from moongate.app.admin.identity import identity_operations
from moongate.app.admin.jobs import JobBoard
from moongate.app.admin.operations import Operation
from moongate.app.admin.policy import policy_operations
from moongate.app.admin.store import store_operations
from moongate.app.admin.tasks import task_operations
from moongate.app.admin.tokens import token_operations
from moongate.app.admin.verdicts import verdict_operations
from moongate.app.admin.webhooks import webhook_operations

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


def admin_operations(gateway: Gateway, jobs: JobBoard) -> tuple[Operation, ...]:
    """The operations of a gateway. jobs: where what takes a while is told."""
    stock, index = gateway.stock, gateway.index
    return (
        *store_operations(gateway),
        *token_operations(index, gateway.settings.token_max_seconds),
        *hosting_operations(gateway.repos.hosted.places),
        *feed_operations(index, gateway.feeds, gateway.intelligence, gateway.audit),
        *identity_operations(gateway.identity.people, gateway.identity.trusts),
        *audit_operations(stock.audit_desk(), stock.audit, stock.audit_key, stock.recalling()),
        *task_operations(gateway, jobs),
        *policy_operations(gateway.governing, gateway.guarding.knowledge),
        *approval_operations(gateway.governing.desk),
        *webhook_operations(gateway.announcing.hooks),
        *verdict_operations(index),
    )
