"""`moongate policy`: look at rules, check and test them, explain a question, and the schema for editors."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moongate.cli import exits, options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import chosen_gateway
from moongate.cli.terminal import Column, count, put, put_json, put_table, say

if TYPE_CHECKING:
    from moongate.policy.cases import Outcome
    from moongate.policy.facts import Facts
    from moongate.policy.loading import Loaded

group = typer.Typer(help="Rules that say what may pass.", rich_markup_mode=None)

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="POLICY", help="A preset, file or folder; what the setting `policy` names when left out."
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="policy")


@group.command("show")
def show(source: Source = None, home: options.Home = None, as_json: options.Json = False) -> None:
    """Show the rules that hold, the strictest first.

    With MOONGATE_URL set and no POLICY, shows those of that gateway.

    \b
    Examples:
      moongate policy show
      moongate policy show strict
      moongate policy show ./policy --json | jq '.rules[].id'
    """
    gateway = chosen_gateway(home) if source is None else None
    told: dict[str, Any] = (
        dict(gateway.ask("GET", "/policy")) if gateway is not None else _told(load_policy(source, home))
    )
    if as_json:
        put_json(told)
        return
    rows = [
        [rule["effect"], rule["id"], " ".join(rule["actions"]), "; ".join(rule["conditions"]) or "everything"]
        for rule in sorted(told["rules"], key=lambda rule: -_rank(rule["effect"]))
    ]
    put_table([Column("effect"), Column("rule"), Column("actions"), Column("where")], rows)
    say(f"{told['source']}: {count(len(rows), 'rule')}, otherwise {told['default']}")
    say(f"digest {told['digest']}")
    if told.get("trouble"):
        say(f"warning: the files are broken, and these are the last good rules: {told['trouble']}")


@group.command("check")
def check(source: Source = None, home: options.Home = None, as_json: options.Json = False) -> None:
    """Read rules as a gateway would, and run the tests beside them.

    Every mistake is told with its file and line. Exit code 1 if there is one, or a test fails.

    \b
    Examples:
      moongate policy check ./policy
      moongate policy check ./policy --json | jq -r '.problems[]'
    """
    from moongate.policy.yaml_lines import BadPolicy

    try:
        loaded = load_policy(source, home)
    except BadPolicy as error:
        problems = error.message.splitlines()
        if as_json:
            put_json({"ok": False, "problems": problems, "tests": []})
        else:
            for problem in problems:
                put(problem)
            say(f"error: {count(len(problems), 'problem')}")
        raise typer.Exit(exits.FAILED) from None
    _run_tests(loaded, as_json)


@group.command("test")
def run_tests_beside(source: Source = None, home: options.Home = None, as_json: options.Json = False) -> None:
    """Run the tests that stand beside rules. Exit code 1 if one fails.

    \b
    Examples:
      moongate policy test ./policy
      moongate policy test balanced
    """
    _run_tests(load_policy(source, home), as_json)


@group.command("explain")
def explain(
    what: Annotated[
        str | None, typer.Argument(metavar="REPO", help="acme/tiny or acme/tiny@v1.0; or use --facts.")
    ] = None,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="A file of the repository.")] = None,
    actor: Annotated[str, typer.Option("--as", metavar="USER", help="Who asks.")] = "anonymous",
    action: Annotated[str, typer.Option(help="read, commit, deploy or admin.")] = "read",
    facts: Annotated[
        str | None, typer.Option("--facts", metavar="FILE", help="Facts in YAML or JSON; - for stdin.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--policy", metavar="POLICY", help="Ask these rules instead.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Explain a decision: which rules match, by which facts, and why others do not.

    What is known of REPO and PATH (verdict, licence, size, signature, …) is asked of the gateway that
    MOONGATE_URL names, or read from the home; facts in a file go before it. Exit code 3 if it is held or
    denied.

    \b
    Examples:
      moongate policy explain acme/tiny pytorch_model.bin --as ada
      moongate policy explain --facts facts.yaml --policy ./draft
      echo '{repo: acme/tiny, path: a.bin, verdict: dangerous}' | moongate policy explain --facts -
    """
    told = _question(what, path, actor, action, facts)
    gateway = chosen_gateway(home) if source is None else None
    if gateway is not None:
        answer: Mapping[str, Any] = gateway.ask("POST", "/policy/explain", {"facts": told})
    else:
        asked = _known_here(told, home)
        explained = load_policy(source, home).rules.explain(asked)
        answer = {**explained.as_json(), "facts": asked.as_json()}
    if what is not None:
        _say_unknown(what, path, answer["facts"])
    if as_json:
        put_json(answer)
    else:
        _print_explained(answer)
    if answer["effect"] in ("hold", "deny"):
        raise typer.Exit(exits.REFUSED)


@group.command("simulate")
def simulate_draft(
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="A preset, file or folder.")],
    days: Annotated[int, typer.Option(help="How far back; 35 days are kept.", min=1, max=35)] = 7,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Ask a draft what was really asked, and list who would have been stopped.

    Works on a home of this machine (or its database): that is where requests are recorded. Exit code 3 if
    somebody would have been stopped who was not.

    \b
    Examples:
      moongate policy simulate ./draft --days 30
      moongate policy simulate strict --json | jq '.stopped[] | .actor' | sort | uniq -c
    """
    from moongate.cli.gateway import only_here
    from moongate.cli.house import open_home
    from moongate.policy.record import DAY_SECONDS
    from moongate.policy.simulation import simulate

    only_here("policy simulate", home)
    rules = load_policy(draft, home).rules
    with open_home(home) as stock:
        found = simulate(stock.index.asked_since(int(time.time() // DAY_SECONDS) - days + 1), rules)
    stopped = [change.as_json() for change in found.stopped]
    freed = [change.as_json() for change in found.freed]
    if as_json:
        put_json(
            {
                "days": days, "asked": found.asked, "questions": found.questions,
                "unreadable": found.unreadable, "policy": rules.digest, "effects": found.effects,
                "actors_stopped": found.actors_stopped, "stopped": stopped, "freed": freed,
            }
        )  # fmt: skip
    else:
        columns = [Column(name) for name in ("who", "action", "what", "was", "would be", "rule", "times")]
        put_table(columns, [_change(row) for row in stopped])
        say(f"{count(found.asked, 'request')} in {days} days, {found.questions} different ones")
        say(f"{count(len(stopped), 'question')} stopped that passed, {len(freed)} passing that were stopped")
        if found.actors_stopped:
            say(f"who would have been stopped: {', '.join(found.actors_stopped)}")
    if stopped:
        raise typer.Exit(exits.REFUSED)


@group.command("schema")
def schema(
    for_facts: Annotated[bool, typer.Option("--facts", help="That of facts, as tests write them.")] = False,
) -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    Examples:
      moongate policy schema > moongate-policy.schema.json
      moongate policy schema --facts | jq '.properties | keys'
    """
    from moongate.policy.model import json_schema
    from moongate.policy.short_facts import ShortFacts

    put_json(ShortFacts.model_json_schema() if for_facts else json_schema())


def load_policy(source: str | None, home: Path | None) -> Loaded:
    """The rules of a source, or of the setting.

    Raises:
        BadPolicy: there are none, or they are malformed.
    """
    from moongate.cli.house import load_settings
    from moongate.policy.loading import load

    return load(source if source is not None else load_settings(home=home).policy)


def _told(loaded: Loaded) -> dict[str, Any]:
    rules = loaded.rules
    return {
        "source": rules.source,
        "digest": rules.digest,
        "default": rules.default,
        "trouble": "",
        "rules": [
            {
                "id": rule.id,
                "effect": rule.effect,
                "reason": rule.reason,
                "actions": list(rule.actions),
                "conditions": [condition.told for condition in rule.conditions],
                "place": rule.place,
            }
            for rule in rules.rules
        ],
    }


def _run_tests(loaded: Loaded, as_json: bool) -> None:
    from moongate.policy.cases import run_tests

    outcomes = run_tests(loaded, time.time())
    wrong = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        document = {"ok": not wrong, "problems": [], "digest": loaded.rules.digest}
        put_json({**document, "tests": [_outcome(outcome) for outcome in outcomes]})
    else:
        for outcome in wrong:
            put(f"{outcome.place}: {outcome.name}: {outcome.why}")
        rules = count(len(loaded.rules.rules), "rule")
        say(
            f"{rules}, {count(len(outcomes), 'test')}, {len(wrong)} failed; digest {loaded.rules.digest[:12]}"
        )
    if wrong:
        raise typer.Exit(exits.FAILED)


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {"name": outcome.name, "place": outcome.place, "passed": outcome.passed, "why": outcome.why}


def _question(
    what: str | None, path: str | None, actor: str, action: str, facts: str | None
) -> dict[str, Any]:
    if (what is None) == (facts is None):
        raise exits.wrong_usage("name a repository, or a file of facts with --facts")
    if facts is not None:
        return _facts_in(facts)
    from moongate.cli.repos import parse_repo_at

    wanted = parse_repo_at(str(what))
    return {
        "repo": str(wanted.repo),
        "action": action,
        "actor": actor,
        **({"revision": wanted.revision} if wanted.revision else {}),
        **({"path": path} if path else {}),
    }


def _known_here(told: Mapping[str, Any], home: Path | None) -> Facts:
    """The facts, with what a home knows; where there is none, what was typed."""
    from moongate.cli.house import load_settings, open_house
    from moongate.policy.short_facts import facts_from

    settings = load_settings(home=home)
    if settings.database is None and not settings.home.is_dir():
        return facts_from(told, time.time())
    from moongate.app.wiring.guarding import open_knowledge

    with open_house(settings) as house:
        return open_knowledge(house).of(told)


def _facts_in(name: str) -> dict[str, Any]:
    from moongate.policy.yaml_lines import MAX_BYTES, read_yaml

    text = sys.stdin.read(MAX_BYTES + 1) if name == "-" else Path(name).read_text(encoding="utf-8")
    value = read_yaml("stdin" if name == "-" else name, text).value
    if not isinstance(value, dict):
        raise CommandFailed(f"{name}: expected facts such as `repo: acme/tiny`", exit_code=exits.USAGE)
    return value


def _say_unknown(what: str, path: str | None, facts: Mapping[str, Any]) -> None:
    """Tell who mistyped a name that the answer is about nothing that is known here."""
    repo, content = facts.get("repo") or {}, facts.get("content") or {}
    if not repo.get("commit_hash"):
        say(f"note: nothing is known of {what} here; `moongate pull {what}` fetches it")
    elif path is not None and not content.get("etag"):
        say(f"note: {what} has no {path} that is known here; `moongate show {what}` lists what it has")


def _print_explained(answer: Mapping[str, Any]) -> None:
    put(f"{answer['effect']}: {answer['reason']}")
    if answer.get("waiver"):
        put(f"by waiver {answer['waiver']}")
    for rule in answer["explained"]:
        mark = "matched" if rule["matched"] else "not"
        because = ", because a fact is not known" if rule["because_unknown"] else ""
        put("")
        put(f"{mark:<8} {rule['effect']:<5} {rule['rule']}{because}  ({rule['place']})")
        for condition in rule["conditions"]:
            holds = {True: "yes", False: "no", None: "?"}[condition["holds"]]
            unless = "unless " if condition["unless"] else ""
            fact = (
                ""
                if condition["condition"] and condition["fact"] is None
                else f": {_shown(condition['fact'])}"
            )
            unknown = " (not known)" if condition["holds"] is None else fact
            put(f"  {holds:<4} {unless}{condition['condition']}{unknown}")
    put("")
    put(f"policy {answer['policy']}")


def _shown(fact: object) -> str:
    text = ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _change(row: Mapping[str, Any]) -> list[str]:
    what = f"{row['repo']} {row['path'] or ''}".strip()
    rule = row["rules"][0] if row["rules"] else "default"
    return [row["actor"], row["action"], what, row["before"], row["after"], rule, str(row["count"])]


def _rank(effect: str) -> int:
    from moongate.core.decisions import EFFECTS

    return [str(known) for known in EFFECTS].index(effect)
