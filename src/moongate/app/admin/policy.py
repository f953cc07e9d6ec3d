"""The admin API's operations on the policy: what holds, reading it anew, explaining a question."""

from __future__ import annotations

import asyncio

from moongate.app.admin import policy_models as models
from moongate.app.admin.models import Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.app.governing import Governing
from moongate.policy.facts import Facts
from moongate.policy.knowledge import Knowledge


def policy_operations(governing: Governing, knowledge: Knowledge) -> tuple[Operation, ...]:
    """The operations, with what they need."""
    policy = _AdminPolicy(governing, knowledge)
    explain = Operation(
        "POST", "/policy/explain", "Explain a question", policy.explain, models.Explained, models.Question
    )
    return needing(
        "admin",
        Operation("GET", "/policy", "The rules that hold", policy.show, models.Policy),
        Operation("POST", "/policy/reload", "Read the rules anew", policy.reload, models.Reloaded),
        explain,
    )


def explanation(governing: Governing, facts: Facts) -> models.Explained:
    """How the rules that hold now, and the waivers, come out for these facts."""
    told = governing.current.rules.explain(facts).as_json()
    decision = governing.waived.decide(facts)
    return models.Explained(
        **{
            **told,
            "effect": decision.effect,
            "reason": decision.reason,
            "waiver": decision.waiver or None,
            "facts": facts.as_json(),
        }
    )


class _AdminPolicy:
    def __init__(self, governing: Governing, knowledge: Knowledge) -> None:
        self._governing = governing
        self._knowledge = knowledge

    async def show(self, _: Asked) -> Model:
        current = self._governing.current
        rules = current.rules
        return models.Policy(
            source=rules.source,
            digest=rules.digest,
            default=rules.default,
            trouble=current.trouble,
            rules=[
                models.PolicyRule(
                    id=rule.id,
                    effect=rule.effect,
                    reason=rule.reason,
                    actions=list(rule.actions),
                    conditions=[condition.told for condition in rule.conditions],
                    place=rule.place,
                )
                for rule in rules.rules
            ],
        )

    async def reload(self, _: Asked) -> Model:
        changed = await self._governing.reload()
        current = self._governing.current
        return models.Reloaded(changed=changed, digest=current.rules.digest, trouble=current.trouble)

    async def explain(self, asked: Asked) -> Model:
        facts = await asyncio.to_thread(self._knowledge.of, asked.body.facts)
        return explanation(self._governing, facts)
