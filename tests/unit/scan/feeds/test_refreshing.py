"""Feeds of every kind, fetched from servers that speak the real formats; what may count and what is held."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from moongate.core.errors import Absent, Conflict
from moongate.scan.feeds import refreshing
from support.feed_desk import DAY, Desk
from support.feeds import Answer, FeedServer, Request, indicator, osv_zip

A, B, C = "a" * 64, "b" * 64, "c" * 64
UUID = "5a1b2c3d-0000-4000-8000-00000000000"


def misp_event(server: FeedServer, uuid: str, *values: str) -> None:
    attributes = [{"type": "sha256", "value": value, "to_ids": True} for value in values]
    server.json(f"/misp/{uuid}.json", {"Event": {"info": "x", "Attribute": attributes}})


class TestKinds:
    async def test_a_hash_list_is_asked_with_what_is_known_of_it(
        self, desk: Desk, server: FeedServer
    ) -> None:
        server.file("/list.csv", f"{A},Stealer".encode())
        desk.add("hashes", f"{server.url}/list.csv")
        assert (await desk.refresher.refresh("ours")).how == "changed"
        assert desk.knows(A)
        version = desk.index.feeds_version()
        desk.now += 60
        assert (await desk.refresher.refresh("ours")).how == "same"
        assert "if-none-match" in server.asked[1].headers
        assert desk.feed().fetched_at == desk.now
        assert desk.index.feeds_version() == version
        server.file("/list.csv", f"{B},Stealer".encode())
        assert (await desk.refresher.refresh("ours")).how == "changed"
        assert (desk.knows(A), desk.knows(B)) == (False, True)

    async def test_a_list_without_validators_is_the_same_by_its_bytes(
        self, desk: Desk, server: FeedServer
    ) -> None:
        server.routes["/list.txt"] = lambda _: (200, {}, A.encode())
        desk.add("hashes", f"{server.url}/list.txt")
        assert [(await desk.refresher.refresh("ours")).how for _ in range(2)] == ["changed", "same"]

    async def test_a_taxii_collection_comes_in_pages_and_then_only_what_is_new(
        self, desk: Desk, server: FeedServer
    ) -> None:
        objects = [indicator(f"{number:064x}") for number in range(5)] + [
            {"type": "malware", "id": "malware--1"}
        ]
        server.collection("/api/collections/9", objects)
        desk.add("taxii", f"{server.url}/api/collections/9/")
        outcome = await desk.refresher.refresh("ours")
        assert (outcome.how, outcome.indicators) == ("changed", 5)
        assert [request.query.get("next") for request in server.asked] == [None, "2", "4"]
        later = {"date_added": "2026-02-01T00:00:00Z"}
        objects += [indicator(A, **later), indicator(f"{0:064x}", revoked=True, **later)]
        server.asked.clear()
        outcome = await desk.refresher.refresh("ours")
        assert (outcome.how, outcome.indicators) == ("changed", 5)
        assert server.asked[0].query["added_after"] == "2026-01-01T00:00:00Z"
        assert (desk.knows(A), desk.knows(f"{0:064x}"), desk.knows(f"{1:064x}")) == (True, False, True)
        assert (await desk.refresher.refresh("ours")).how == "same"

    async def test_pages_that_lead_in_a_circle_and_other_media_types_end_it(
        self, desk: Desk, server: FeedServer
    ) -> None:
        body = json.dumps({"more": True, "next": "1", "objects": []}).encode()
        kind = {"Content-Type": "application/taxii+json;version=2.1"}
        server.routes["/circle/objects/"] = lambda _: (200, kind, body)
        server.routes["/plain/objects/"] = lambda _: (200, {"Content-Type": "application/json"}, b"{}")
        desk.add("taxii", f"{server.url}/circle/", "circle")
        desk.add("taxii", f"{server.url}/plain/", "plain")
        assert (await desk.refresher.refresh("circle")).how == "failed"
        assert (await desk.refresher.refresh("plain")).why == "the server does not speak TAXII 2.1"

    async def test_of_a_misp_feed_only_changed_events_are_fetched(
        self, desk: Desk, server: FeedServer
    ) -> None:
        misp_event(server, UUID + "1", A)
        misp_event(server, UUID + "2", A, B)
        server.json("/misp/manifest.json", {UUID + "1": {"timestamp": "1"}, UUID + "2": {"timestamp": "1"}})
        desk.add("misp", f"{server.url}/misp/")
        assert (await desk.refresher.refresh("ours")).indicators == 3
        misp_event(server, UUID + "2", C)
        server.json("/misp/manifest.json", {UUID + "1": {"timestamp": "1"}, UUID + "2": {"timestamp": "2"}})
        server.asked.clear()
        assert (await desk.refresher.refresh("ours")).how == "changed"
        assert server.paths() == ["/misp/manifest.json", f"/misp/{UUID}2.json"]
        assert [desk.knows(one) for one in (A, B, C)] == [True, False, True]
        server.json("/misp/manifest.json", {UUID + "2": {"timestamp": "2"}})
        await desk.refresher.refresh("ours")
        assert [desk.knows(one) for one in (A, B, C)] == [False, False, True]

    async def test_a_misp_feed_lies_in_a_folder_too(self, desk: Desk, tmp_path: Path) -> None:
        folder = tmp_path / "misp"
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({UUID + "1": {"timestamp": "1"}}))
        event = {"Event": {"Attribute": [{"type": "sha256", "value": A, "to_ids": True}]}}
        (folder / f"{UUID}1.json").write_text(json.dumps(event))
        desk.add("misp", str(folder))
        assert (await desk.refresher.refresh("ours")).how == "changed"
        assert desk.knows(A)

    async def test_advisories_of_an_ecosystem_match_requirements(
        self, desk: Desk, server: FeedServer
    ) -> None:
        def advisory(name: str, package: str, fixed: str | None) -> dict[str, object]:
            events = [{"introduced": "0"}] + ([{"fixed": fixed}] if fixed else [])
            ranges = [{"type": "ECOSYSTEM", "events": events}]
            return {
                "id": name,
                "summary": "Bad",
                "affected": [{"package": {"ecosystem": "PyPI", "name": package}, "ranges": ranges}],
            }

        body = osv_zip(advisory("MAL-2026-1", "Evil_Pkg", None), advisory("PYSEC-1", "gradio", "5.0"))
        server.file("/all.zip", body, "application/zip")
        desk.add("osv", f"{server.url}/all.zip")
        assert (await desk.refresher.refresh("ours")).advisories == 2
        found = desk.intelligence.packages("evil-pkg\ngradio==4.44.1\ngradio\ntorch==2.0\n")
        assert [(one.rule, one.severity.name, one.evidence["advisory"]) for one in found] == [
            ("intel-package", "CRITICAL", "MAL-2026-1"),
            ("intel-package", "LOW", "PYSEC-1"),
        ]
        assert found[1].advice == "Require gradio>=5.0."

    async def test_hours_of_a_threat_list_come_one_after_the_other(
        self, desk: Desk, server: FeedServer
    ) -> None:
        def hour(value: str) -> Answer:
            return 200, {}, json.dumps({"iocs": [{"data": {"type": "file", "id": value}}]}).encode()

        lists = "/api/v3/threat_lists/infostealer"
        hours: dict[str, Answer] = {"latest": hour(A)}

        def answer(request: Request) -> Answer:
            return hours.get(request.path.rsplit("/", 1)[1], (404, {}, b"{}"))

        server.routes[lists] = answer
        desk.add("gti-list", f"{server.url}{lists}/latest")
        await desk.refresher.refresh("ours")
        assert server.asked[0].query["query"] == "gti_score:60+"
        desk.now += 3600
        assert (await desk.refresher.refresh("ours")).how == "same"  # that hour is not out yet
        hours[server.asked[-1].path.rsplit("/", 1)[1]] = hour(B)
        assert (await desk.refresher.refresh("ours")).how == "changed"
        assert (desk.knows(A), desk.knows(B)) == (True, True)

    async def test_yara_rules_are_kept_as_text(self, desk: Desk, server: FeedServer) -> None:
        server.file("/rules.yar", b"rule a { condition: true }")
        desk.add("yara", f"{server.url}/rules.yar")
        assert (await desk.refresher.refresh("ours")).rules == 1
        assert desk.index.yara_sources() == [("ours", "rules", "rule a { condition: true }")]


class TestCaps:
    async def test_a_feed_that_would_block_much_of_what_is_kept_waits_for_approval(
        self, desk: Desk, server: FeedServer
    ) -> None:
        desk.keep(*(f"{number:064x}" for number in range(1000)))
        server.file("/list.csv", A.encode())
        desk.add("hashes", f"{server.url}/list.csv")
        await desk.refresher.refresh("ours")
        poison = "\n".join(f"{number:064x}" for number in range(100))
        server.file("/list.csv", f"{A}\n{poison}".encode())
        outcome = await desk.refresher.refresh("ours")
        assert outcome.how == "held"
        assert "100 of 1000 kept files" in outcome.why
        assert (desk.knows(A), desk.knows(f"{7:064x}")) == (True, False)
        assert [event.effect for event in desk.audit.events] == ["changed", "held"]
        # The same again is still held, and approval lets it count from then on.
        assert (await desk.refresher.refresh("ours")).how == "same"
        assert not desk.knows(f"{7:064x}")
        assert refreshing.approve(desk.index, "ours").indicators == 101
        assert desk.knows(f"{7:064x}")
        server.file("/list.csv", f"{A}\n{B}\n{poison}".encode())
        assert (await desk.refresher.refresh("ours")).how == "changed"

    async def test_what_is_refused_is_forgotten_and_what_counted_counts_on(
        self, desk: Desk, server: FeedServer
    ) -> None:
        server.file("/list.csv", "\n".join(f"{number:064x}" for number in range(200)).encode())
        desk.add("hashes", f"{server.url}/list.csv")
        await desk.refresher.refresh("ours")
        server.file("/list.csv", A.encode())
        outcome = await desk.refresher.refresh("ours")
        assert (outcome.how, outcome.why) == ("held", "it held 200 statements, and now 1")
        refreshing.refuse(desk.index, "ours")
        assert desk.knows(f"{7:064x}")
        assert not desk.knows(A)
        with pytest.raises(Conflict):
            refreshing.approve(desk.index, "ours")
        with pytest.raises(Absent):
            refreshing.refuse(desk.index, "other")

    async def test_a_name_that_covers_many_repositories_waits_too(
        self, desk: Desk, server: FeedServer
    ) -> None:
        from moongate.core.names import CommitHash, RepoId

        for number in range(40):
            desk.index.put_files(RepoId("model", f"good/m{number}"), CommitHash("1" * 40), [])
        server.file("/list.csv", b"author:good")
        desk.add("hashes", f"{server.url}/list.csv")
        assert (await desk.refresher.refresh("ours")).how == "held"


class TestTrouble:
    async def test_what_counted_counts_on_when_a_feed_fails(self, desk: Desk, server: FeedServer) -> None:
        server.file("/list.csv", A.encode())
        desk.add("hashes", f"{server.url}/list.csv")
        await desk.refresher.refresh("ours")
        fetched_at = desk.feed().fetched_at
        desk.now += DAY
        for answer in (
            (500, {}, b""),
            (200, {}, b"<html>"),
            (403, {}, b""),
            (302, {"Location": "http://x.test/"}, b""),
        ):
            server.routes["/list.csv"] = lambda _, answer=answer: answer  # type: ignore[misc]
            outcome = await desk.refresher.refresh("ours")
            assert outcome.how == "failed"
            assert desk.feed().trouble == outcome.why
        assert desk.knows(A)
        assert desk.feed().fetched_at == fetched_at
        assert desk.intelligence.oldest_age_seconds() == DAY

    async def test_a_feed_that_is_longer_than_it_may_be_is_not_read(
        self, desk: Desk, server: FeedServer
    ) -> None:
        server.routes["/list.csv"] = lambda _: (200, {}, b"a" * 4096)
        desk.add("hashes", f"{server.url}/list.csv", max_bytes=1024)
        assert (await desk.refresher.refresh("ours")).how == "failed"

    async def test_the_key_goes_to_the_feed_s_own_host_and_into_no_word(
        self, desk: Desk, server: FeedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FEED_KEY", "s3cret-key")
        with FeedServer() as other:
            other.file("/list.csv", A.encode())
            where = {"Location": f"{other.url}/list.csv"}
            server.routes["/list.csv"] = lambda _: (302, where, b"")
            desk.add("hashes", f"{server.url}/list.csv", key="env:FEED_KEY", header="X-Key")
            refused = await desk.refresher.refresh("ours")
            assert refused.how == "failed"
            assert other.asked == []
            named = other.url.removeprefix("http://")
            desk.add(
                "hashes", f"{server.url}/list.csv", key="env:FEED_KEY", header="X-Key", allowed_hosts=[named]
            )
            assert (await desk.refresher.refresh("ours")).how == "changed"
            assert server.asked[-1].headers["x-key"] == "s3cret-key"
            assert "x-key" not in other.asked[-1].headers
        assert "s3cret" not in repr(desk.index.feeds()) + refused.why

    async def test_a_key_that_is_not_there_is_told(self, desk: Desk, server: FeedServer) -> None:
        desk.add("hashes", f"{server.url}/list.csv", key="env:NO_SUCH_KEY")
        outcome = await desk.refresher.refresh("ours")
        assert (outcome.how, outcome.why) == ("failed", "there is no key in env:NO_SUCH_KEY")

    async def test_one_process_fetches_a_feed_at_a_time(self, desk: Desk, server: FeedServer) -> None:
        server.file("/list.csv", A.encode())
        desk.add("hashes", f"{server.url}/list.csv")
        others = Desk(desk.index, desk.settings)
        assert desk.index.try_lease("feed:ours", "somebody else", 60, desk.now)
        assert (await others.refresher.refresh("ours")).how == "busy"
        desk.index.release_lease("feed:ours", "somebody else")
        outcomes = await asyncio.gather(desk.refresher.refresh("ours"), others.refresher.refresh("ours"))
        assert "changed" in {outcome.how for outcome in outcomes}
        assert desk.knows(A)

    async def test_due_is_what_is_old_and_sooner_after_trouble(self, desk: Desk, server: FeedServer) -> None:
        server.file("/list.csv", A.encode())
        desk.add("hashes", f"{server.url}/list.csv", every_seconds=7200)
        desk.add("virustotal", server.url, "vt")
        assert [outcome.feed for outcome in await desk.refresher.refresh_due()] == ["ours"]
        assert await desk.refresher.refresh_due() == []
        desk.now += 7200
        server.routes["/list.csv"] = lambda _: (503, {}, b"")
        assert [outcome.how for outcome in await desk.refresher.refresh_due()] == ["failed"]
        desk.now += 900
        assert len(await desk.refresher.refresh_due()) == 1
