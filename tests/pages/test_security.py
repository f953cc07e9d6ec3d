"""Verdicts with their evidence, approvals in two clicks, and the policy page, in a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from moongate.core.approvals import Request
from moongate.core.asked import AskedRow
from moongate.core.digests import Etag
from moongate.core.verdicts import Finding, Judged, Report, Severity
from moongate.hub.audit import NoAudit
from moongate.policy.desk import Desk
from moongate.policy.loading import load
from moongate.policy.record import DAY_SECONDS
from moongate.policy.short_facts import facts_from
from moongate.store.index import Index
from moongate.store.layout import Layout
from support.pages import Stage, entered, overflow, serious, watched
from support.raw import ask

EVIL = '<img src=x onerror="alert(1)">'
CALL = Finding(
    "pickle-call",
    Severity.CRITICAL,
    f"calls posix.system('{EVIL}')",
    "Loading the file runs a command.",
    "Do not load it.",
    "archive/data.pkl",
    42,
    {
        "trail": ["   0: PROTO 4", f"  11: GLOBAL 'posix system' {EVIL}", "  42: REDUCE"],
        "import": "posix.system",
    },
)
ODD = Finding("remote-code", Severity.MEDIUM, "asks for the classes m.M", "It brings code.", "Read the code.")


class Guarded:
    """A stage whose index holds verdicts, and a desk beside it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.index = Index(Layout(stage.gateway.home).index_path)
        self.desk = Desk(self.index, NoAudit(), time.time)
        for path, verdict, finding in (
            ("chart.png", "clean", None),
            ("config.json", "suspicious", ODD),
            ("model.safetensors", "dangerous", CALL),
        ):
            found = () if finding is None else (finding,)
            report = Report(verdict, found, ("pickle",), engine="e", rules="r1")  # type: ignore[arg-type]
            self.index.put_verdict(Judged(self.etag(path), report, time.time(), 10))
        secret = Report("dangerous", (CALL,), ("pickle",), engine="e", rules="r1")
        self.index.put_verdict(Judged(self.etag("README.md", "lab/secret"), secret, time.time(), 10))

    def etag(self, path: str, repo: str = "lab/tickets") -> Etag:
        bearer = {"Authorization": f"Bearer {self.stage.tokens['root']}"}
        answer = ask(self.stage.url, f"/{repo}/resolve/main/{path}", "HEAD", bearer)
        return Etag(answer.headers["etag"].strip('"'))

    def ask(self, path: str) -> None:
        """As if somebody had asked for a suspicious file while nothing held it."""
        told = {"repo": "lab/tickets", "actor": "eve", "path": path, "verdict": "suspicious"}
        facts = facts_from(told, time.time())
        day = int(time.time() // DAY_SECONDS)
        words = json.dumps({name: value for name, value in facts.as_json().items() if name != "at"})
        self.index.put_asked([AskedRow(day, facts.digest, words, "allow", 3, time.time())])

    def hold(self, path: str) -> Request:
        told = {
            "repo": "lab/tickets",
            "actor": "eve",
            "commit_hash": "c" * 40,
            "path": path,
            "digest": self.etag("config.json"),
            "verdict": "suspicious",
            "findings": ["remote-code:medium"],
        }
        facts = facts_from(told, time.time())
        return self.desk.request(self.desk.held(facts, load("balanced").rules.decide(facts)))


@pytest.fixture(scope="module")
def guarded(closed: Stage) -> Iterator[Guarded]:
    house = Guarded(closed)
    yield house
    house.index.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_the_pages_are_whole_and_for_everybody(
    guarded: Guarded, browser: Browser, scheme: str, width: int
) -> None:
    request = guarded.hold(f"{scheme}{width}.bin")
    first = entered(browser, guarded.stage, "root")
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800},
        storage_state=first.context.storage_state(),
    )
    watch = watched(context, guarded.stage.url)
    for path in (
        "/-/security",
        f"/-/security/content?digest={guarded.etag('model.safetensors')}",
        "/-/security/repo?repo=lab/tickets",
        "/lab/tickets/tree/main",
        "/-/approvals",
        f"/-/approvals/request?id={request.id}",
        "/-/policy",
    ):
        page = watch.open(guarded.stage.url + path)
        assert page.locator("h1").count() == 1, path
        assert serious(page) == [], path
        assert overflow(page) <= 0, path
        watch.is_calm()
    first.context.close()
    context.close()


def test_evidence_is_told_and_runs_nothing(guarded: Guarded, browser: Browser) -> None:
    page = entered(browser, guarded.stage, "root")
    page.goto(guarded.stage.url + "/-/security")
    page.get_by_role("link", name="Calls posix.system").first.click()
    said = page.locator("main").inner_text()
    for words in (
        "Dangerous",
        "critical",
        "archive/data.pkl, byte 42",
        "Do not load it.",
        "GLOBAL 'posix system'",
    ):
        assert words in said
    assert page.locator("main img").count() == 0
    page.context.close()


def test_a_dangerous_file_says_so_before_it_is_fetched(guarded: Guarded, browser: Browser) -> None:
    page = entered(browser, guarded.stage, "bob")
    page.goto(guarded.stage.url + "/lab/tickets")
    page.get_by_role("link", name="See what was found").click()
    page.get_by_role("link", name="model.safetensors").click()
    banner = page.get_by_role("region", name="Verdict")
    for words in ("Dangerous", "Calls posix.system", "Do not load it."):
        assert banner.get_by_text(words).first.is_visible()
    page.get_by_role("link", name="All of the evidence").click()
    assert page.get_by_text("denied").first.is_visible(), "what policy says of it, where it is"
    page.context.close()


def test_the_dashboard_tells_of_what_comes_while_it_is_looked_at(guarded: Guarded, browser: Browser) -> None:
    page = entered(browser, guarded.stage, "root")
    page.goto(guarded.stage.url + "/-/security")
    notice = page.get_by_text("There is something new.")
    assert not notice.is_visible()
    guarded.hold("late.bin")
    notice.wait_for(state="visible")
    page.get_by_role("link", name="Show it").click()
    page.get_by_role("link", name="Review lab/tickets/late.bin").click()
    page.get_by_role("button", name="Approve").click()
    assert "Granted by root" in page.locator("main").inner_text()
    page.context.close()


def test_a_draft_is_kept_for_whoever_wrote_it_until_they_are_done(guarded: Guarded, browser: Browser) -> None:
    root = entered(browser, guarded.stage, "root", script=False)
    root.goto(guarded.stage.url + "/-/policy")
    before = root.get_by_label("The rules, as YAML").input_value()
    root.get_by_label("The rules, as YAML").fill(before + "# not yet\n")
    root.get_by_role("button", name="Check, test, explain").click()
    root.goto(guarded.stage.url + "/-/policy")
    assert root.get_by_label("The rules, as YAML").input_value().endswith("# not yet\n")
    assert "kept for you alone" in root.locator("main").inner_text()
    other = entered(browser, guarded.stage, "boss")
    other.goto(guarded.stage.url + "/-/policy")
    assert "# not yet" not in other.content()
    root.get_by_role("button", name="Discard it").click()
    assert root.get_by_label("The rules, as YAML").input_value() == before
    for page in (root, other):
        page.context.close()


def test_a_repository_says_what_is_wrong_in_it(guarded: Guarded, browser: Browser) -> None:
    page = entered(browser, guarded.stage, "bob")
    page.goto(guarded.stage.url + "/lab/tickets/tree/main")
    assert page.get_by_role("row", name="model.safetensors").get_by_text("dangerous").is_visible()
    page.get_by_role("link", name="Security 2").click()
    found = page.get_by_role("listitem").filter(has_text="config.json")
    assert found.get_by_text("Asks for the classes").is_visible()
    page.context.close()


def test_who_may_not_know_a_repository_sees_none_of_its_evidence(guarded: Guarded, browser: Browser) -> None:
    page = entered(browser, guarded.stage, "bob")
    secret = guarded.etag("README.md", "lab/secret")
    for path, status in (
        (f"/-/security/content?digest={secret}", 404),
        ("/-/security/repo?repo=lab/secret", 404),
        ("/-/security", 403),
        ("/-/approvals", 403),
        ("/-/policy", 403),
    ):
        answer = page.goto(guarded.stage.url + path)
        assert answer is not None
        assert answer.status == status or "/-/sign-in" in page.url, path
        assert "posix" not in page.content()
    assert page.get_by_role("navigation", name="Sections").first.get_by_text("Security").count() == 0
    page.context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_approval_in_two_clicks(guarded: Guarded, browser: Browser, script: bool) -> None:
    request = guarded.hold(f"approved-{script}.bin")
    page = entered(browser, guarded.stage, "root", script=script)
    page.goto(guarded.stage.url + "/-/security")
    page.get_by_role("link", name=f"Review lab/tickets/{request.path}").click()
    page.get_by_role("button", name="Approve").click()
    assert "Granted by root" in page.locator("main").inner_text()
    decided = guarded.desk.request(request.id)
    assert (decided.state, decided.decided_by) == ("granted", "root")
    waiver = next(one for one in guarded.desk.waivers() if one.request_id == request.id)
    assert waiver.path == request.path
    page.goto(guarded.stage.url + "/-/approvals")
    page.get_by_role("button", name=f"Take back the exception for lab/tickets/{request.path}").click()
    assert waiver.id not in [one.id for one in guarded.desk.waivers()]
    page.context.close()


def test_a_request_is_refused_and_needs_a_reason(guarded: Guarded, browser: Browser) -> None:
    request = guarded.hold("refused.bin")
    page = entered(browser, guarded.stage, "root", script=False)
    page.goto(f"{guarded.stage.url}/-/approvals/request?id={request.id}")
    page.get_by_label("Why").fill("   ")
    page.get_by_role("button", name="Refuse").click()
    assert "say why" in page.get_by_role("alert").inner_text()
    page.get_by_label("Why").fill("We do not run strangers' code.")
    page.get_by_role("button", name="Refuse").click()
    assert "Refused by root" in page.locator("main").inner_text()
    assert guarded.desk.request(request.id).state == "refused"
    page.context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_draft_is_checked_tested_and_explained(guarded: Guarded, browser: Browser, script: bool) -> None:
    page = entered(browser, guarded.stage, "root", script=script)
    page.goto(guarded.stage.url + "/-/policy")
    draft = page.get_by_label("The rules, as YAML")
    assert "id: dangerous" in draft.input_value()
    guarded.ask("asked.bin")
    draft.fill(draft.input_value().replace("effect: hold", "effect: deny", 1))
    page.get_by_label("Repository").fill("lab/tickets")
    page.get_by_label("File").fill("config.json")
    page.get_by_label("Verdict").select_option("suspicious")
    page.get_by_role("button", name="Check, test, explain").click()
    said = page.locator("main").inner_text()
    assert "The rules are well formed" in said
    assert page.get_by_role("row", name="lab/tickets/config.json hold deny").is_visible()
    assert page.get_by_role("row", name="eve lab/tickets/asked.bin read allow deny").is_visible()
    assert (
        page.locator("section", has_text="As the draft would have it")
        .last.get_by_text("deny")
        .first.is_visible()
    )
    page.get_by_label("The rules, as YAML").fill("moongate_policy: 1\nrules: [{id: x}]\n")
    page.get_by_role("button", name="Check, test, explain").click()
    assert "is missing" in page.locator(".notice.bad").inner_text()
    page.get_by_role("button", name="Discard it").click()
    page.context.close()


def test_a_file_that_policy_refuses_has_a_page_that_says_so(stage: Stage, browser: Browser) -> None:
    page = browser.new_page()
    for path in ("evil.py", "evil.pkl"):
        answer = page.goto(f"{stage.url}/acme/evil/blob/main/{path}")
        assert answer is not None
        assert answer.status == 200, path
    page.goto(stage.url + "/acme/evil/blob/main/evil.py")
    assert "curl evil.example" not in page.locator(".code, .prose").all_inner_texts()
    page.close()
