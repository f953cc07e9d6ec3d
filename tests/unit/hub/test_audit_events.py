"""Events for an auditor: their kinds are a closed list, and no caller's secret gets into one."""

from __future__ import annotations

import re

import pytest

from moongate.core.callers import ANONYMOUS, LOCAL_USER, Caller, Secret
from moongate.hub.audit import KINDS, SYSTEM, AuditEvent, actor_of


def test_a_kind_that_nobody_explained_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of event"):
        AuditEvent("file.vanish", SYSTEM)


def test_kinds_are_scope_and_action() -> None:
    assert [kind for kind in KINDS if not re.fullmatch(r"[a-z]+\.[a-z]+", kind)] == []


def test_an_actor_tells_who_and_never_the_token() -> None:
    token = "hf_" + "s" * 34
    caller = Caller("upstream", user="ab12", credential=Secret(token))
    actor = actor_of(caller, "10.0.0.9", "hf/1.0")
    assert (actor.name, actor.kind, actor.address, actor.agent) == ("ab12", "upstream", "10.0.0.9", "hf/1.0")
    assert token not in repr(actor)


def test_an_actor_tells_the_token_by_its_id() -> None:
    assert actor_of(Caller("token", "ada", "read", token_id="0123abcd")).token_id == "0123abcd"


def test_the_user_of_this_machine_is_no_stranger() -> None:
    assert (actor_of(LOCAL_USER).kind, actor_of(ANONYMOUS).kind) == ("local", "anonymous")
