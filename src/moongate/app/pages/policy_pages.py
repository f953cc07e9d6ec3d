"""`/-/policy`: the rules that hold, and a place to try others: check, test, explain, see what would change.

No rule is saved here: rules are files under version control, and the gateway reads them when they change.
A draft is kept for whoever tries it; see `drafts`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from moongate.app.governing import Governing
from moongate.app.pages.drafts import Drafts
from moongate.app.pages.security import Place, Places
from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit
from moongate.core.errors import BadRequest
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.core.verdicts import VERDICTS, Judged
from moongate.policy.cases import run_tests
from moongate.policy.engine import Explanation, Rules
from moongate.policy.loading import PRESETS, Loaded, assemble, preset_text, texts_of
from moongate.policy.record import DAY_SECONDS
from moongate.policy.short_facts import facts_from
from moongate.policy.simulation import Change, simulate
from moongate.policy.yaml_lines import BadPolicy
from moongate.web.policy_views import (
    ChangeLine,
    ExplainedView,
    PolicyView,
    ReplayView,
    RuleLine,
    StoppedLine,
    TestLine,
    TriedView,
)
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

POLICY_PATH: Final = "/-/policy"
PLACE: Final[Place] = ("policy", "Policy", "scales", POLICY_PATH)
_ASKED = ("repo", "path", "action", "actor", "verdict", "findings", "formats", "licence")
_LISTS = ("findings", "formats")
_MOST_OF_A_VERDICT = 300
_MOST_CHANGES = 100
_DAYS = 7
_ALWAYS = float("inf")


class PolicyPages:
    """For administrators."""

    def __init__(self, gateway: Gateway, governing: Governing, places: Places) -> None:
        self._gateway = gateway
        self._governing = governing
        self._places = places
        self._drafts = Drafts(gateway.settings.home / "drafts")

    async def show(self, visit: Visit) -> PageAnswer:
        view = await asyncio.to_thread(self._view, visit, visit.query.get("file", ""), {}, None)
        return self._shown(visit, view)

    async def attempt(self, visit: Visit) -> PageAnswer:
        """Tries a draft, and keeps it for whoever does."""
        view = await asyncio.to_thread(self._attempt, visit)
        return self._shown(visit, view)

    async def discard(self, visit: Visit) -> PageAnswer:
        """Back to the file as it is."""
        file = visit.form.get("file", "")
        await asyncio.to_thread(self._drafts.drop, visit.caller.user, file)
        return Sent(f"{POLICY_PATH}?{urlencode({'file': file})}" if file else POLICY_PATH)

    def _shown(self, visit: Visit, view: PolicyView) -> Shown:
        values = {"view": view, "places": self._places(visit), "place": "policy"}
        return Shown("policy", "Policy", values, section="security")

    def _view(
        self, visit: Visit, file: str, question: Mapping[str, str], tried: TriedView | None
    ) -> PolicyView:
        current, texts = self._governing.current, self._texts()
        names = [name for name, _ in texts]
        chosen = file if file in names else names[0] if names else ""
        draft = self._drafts.find(visit.caller.user, chosen)
        return PolicyView(
            source=current.source,
            digest=current.rules.digest,
            default=current.rules.default,
            trouble=current.trouble,
            rules=[
                RuleLine(
                    rule.id,
                    rule.effect,
                    rule.reason,
                    rule.actions,
                    [condition.words for condition in rule.conditions],
                    rule.place,
                )
                for rule in current.rules.rules
            ],
            files=names,
            file=chosen,
            draft=dict(texts).get(chosen, "") if draft is None else draft.text,
            kept_at=draft.kept_at if draft is not None else None,
            question={name: question.get(name, "") for name in _ASKED},
            tried=tried,
        )

    def _texts(self) -> list[tuple[str, str]]:
        """The files that the rules stand in; none when they cannot be read now."""
        source = self._governing.current.source
        try:
            return [preset_text(source)] if source in PRESETS else texts_of(Path(source))
        except BadPolicy:
            return []

    def _attempt(self, visit: Visit) -> PolicyView:
        form, known = visit.form, self._texts()
        draft = form.get("draft", "").replace("\r\n", "\n")
        file = form.get("file", "") if form.get("file") in dict(known) else known[0][0] if known else ""
        if draft == dict(known).get(file):
            self._drafts.drop(visit.caller.user, file)
        else:
            self._drafts.keep(visit.caller.user, file, draft)
        texts = [(name, draft if name == file else text) for name, text in known]
        try:
            tried = self._tried(assemble("draft", texts or [("draft.yaml", draft)]), form)
        except BadPolicy as error:
            tried = TriedView(error.message.splitlines(), (), None, None, "", (), 0)
        return self._view(visit, file, form, tried)

    def _tried(self, loaded: Loaded, form: Mapping[str, str]) -> TriedView:
        outcomes = run_tests(loaded, time.time())
        tests = [TestLine(one.name, one.place, one.why) for one in outcomes]
        now = then = None
        wrong = ""
        if form.get("repo", "").strip():
            try:
                facts = facts_from(_question(form), time.time())
                now = _explained(self._governing.current.rules.explain(facts))
                then = _explained(loaded.rules.explain(facts))
            except BadRequest as error:
                wrong = error.message
        changed, looked_at = self._changes(self._governing.current.rules, loaded.rules)
        replay = self._replay(loaded.rules)
        return TriedView((), tests, now, then, wrong, changed[:_MOST_CHANGES], looked_at, replay)

    def _replay(self, then: Rules) -> ReplayView:
        """Who would have been stopped of those who really asked."""
        since = int(time.time() // DAY_SECONDS) - _DAYS + 1
        found = simulate(self._gateway.index.asked_since(since), then)
        stopped = [_stopped(change) for change in found.stopped[:_MOST_CHANGES]]
        more = len(found.stopped) - len(stopped)
        return ReplayView(_DAYS, found.asked, stopped, more, found.actors_stopped, len(found.freed))

    def _changes(self, now: Rules, then: Rules) -> tuple[list[ChangeLine], int]:
        """What of that which is here would be decided otherwise, and how much was looked at."""
        if now.digest == then.digest:
            return [], 0
        index, changed, looked_at = self._gateway.index, list[ChangeLine](), 0
        for verdict in VERDICTS:
            for judged in index.with_verdict(verdict, _ALWAYS, _MOST_OF_A_VERDICT):
                for file in index.where_is(judged.etag)[:3]:
                    looked_at += 1
                    facts = facts_from(self._facts(judged, file), time.time())
                    before, after = now.decide(facts), then.decide(facts)
                    if before.effect != after.effect:
                        href = page_href(file.repo, "blob", file.commit_hash, file.entry.path)
                        name = f"{file.repo}/{file.entry.path}"
                        changed.append(ChangeLine(name, href, before.effect, after.effect, after.reason))
        return changed, looked_at

    def _facts(self, judged: Judged, file: FileAt) -> dict[str, Any]:
        facts = self._gateway.index.get_facts(file.repo)
        return {
            "repo": str(file.repo),
            "path": file.entry.path,
            "hosted": self._gateway.repos.is_hosted(file.repo),
            "private": facts.private if facts is not None else None,
            "gated": facts.gated if facts is not None else None,
            "commit_hash": file.commit_hash,
            "file_size": file.entry.size_bytes,
            "digest": file.entry.etag,
            "verdict": judged.verdict,
            "formats": list(judged.report.formats),
            "findings": [f"{one.rule}:{one.severity.name.lower()}" for one in judged.report.findings],
        }


def _question(form: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {name: value for name in _ASKED if (value := form.get(name, "").strip())}
    for name in _LISTS:
        if name in told:
            told[name] = [word.strip() for word in told[name].split(",") if word.strip()]
    return told


def _explained(explanation: Explanation) -> ExplainedView:
    words = {True: "yes", False: "no", None: "not known"}
    rules = [
        (
            one.rule.id,
            one.rule.effect,
            one.matched,
            [
                (condition.words, _fact(condition.fact), words[condition.holds])
                for condition in one.conditions
            ],
        )
        for one in explanation.rules
    ]
    rules.sort(key=lambda rule: not rule[2])
    return ExplainedView(explanation.decision.effect, explanation.decision.reason, rules)


def _stopped(change: Change) -> StoppedLine:
    repo, content = change.facts.repo, change.facts.content
    name = str(RepoId(repo.repo_type, repo.repo_id))
    return StoppedLine(
        actor=change.facts.actor.name,
        action=change.facts.action,
        name=f"{name}/{content.path}" if content is not None else name,
        before=change.before,
        after=change.after.effect,
        reason=change.after.reason,
        count=change.count,
    )


def _fact(fact: object) -> str:
    if fact is None:
        return "not known"
    return ", ".join(map(str, fact)) if isinstance(fact, tuple | list | frozenset | set) else str(fact)
