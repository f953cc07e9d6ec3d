"""Who is who."""

from __future__ import annotations

import time

from moongate.app.id_token_callers import IdTokenCallers
from moongate.app.identity import Identity
from moongate.app.last_used import LastUsed
from moongate.app.sessions import Sessions
from moongate.app.settings import Settings
from moongate.app.wiring.names import USER_AGENT
from moongate.app.wiring.stock import Stock
from moongate.core.callers import Secret
from moongate.hub.devices import Devices
from moongate.hub.hosted.places import Places
from moongate.hub.issuers import Issuers
from moongate.hub.people import People
from moongate.hub.sign_ins import SignInRules, SignIns, check_rules
from moongate.hub.standing import Standing
from moongate.hub.trusts import Trusts
from moongate.upstream.issuer import IssuerClient
from moongate.wire.oidc import check_issuer


def make_identity(stock: Stock, places: Places) -> Identity:
    """Who is who."""

    settings, index = stock.settings, stock.index
    standing = Standing(index, time.time, settings.sign_in_role)
    client = IssuerClient(settings.upstream_timeout_seconds, USER_AGENT)
    issuers = Issuers(client, time.time)
    trusts = Trusts(index, issuers, time.time)
    sign_ins = None
    if settings.oidc_issuer is not None:
        sign_ins = SignIns(_sign_in_rules(settings), issuers, index, time.time, places.hosts_namespace)
    return Identity(
        standing,
        Sessions(index, settings.session_seconds),
        LastUsed(index),
        People(index, standing, places, time.time),
        trusts,
        IdTokenCallers(trusts, standing),
        Devices(index, time.time),
        sign_ins,
        client,
    )


def _sign_in_rules(settings: Settings) -> SignInRules:
    """Where people sign in, and how.

    Raises:
        BadRequest: something is missing.
    """

    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else ""
    rules = SignInRules(
        check_issuer(settings.oidc_issuer or ""),
        settings.oidc_client_id,
        Secret(secret) if secret else None,
        settings.oidc_user_claim,
        settings.oidc_groups_claim,
    )
    check_rules(rules)
    return rules
