"""The formats of feeds: what each says, and what is no such format."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from moongate.core.errors import BadRequest, UpstreamBroken
from moongate.core.hits import Indicator
from moongate.core.verdicts import Severity
from moongate.scan.feeds import hub_status, osv, virustotal
from moongate.scan.feeds.hash_lists import read_hash_list
from moongate.scan.feeds.misp import read_event, read_manifest
from moongate.scan.feeds.options import FeedOptions, check_url
from moongate.scan.feeds.stix import equalities, read_bundle
from moongate.scan.feeds.subjects import read_subject
from moongate.scan.feeds.words import tlp_of
from moongate.scan.feeds.yara_rules import read_rules
from support.feeds import indicator, osv_zip

A, B, MD5 = "a" * 64, "b" * 64, "c" * 32
NOW = 1_790_000_000.0
STATS = {"malicious": 0, "suspicious": 0, "undetected": 60, "harmless": 0}
GRADIO = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "summary": "Open redirect",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Gradio"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "4.0"}, {"fixed": "4.44.2"}]}],
            "versions": ["3.9.post1"],
        }
    ],
}


class TestHashLists:
    def test_columns_are_read_by_their_place_or_by_their_names(self) -> None:
        placed = read_hash_list(f"{A},Stealer,lab,TLP:AMBER,2026-12-31".encode(), 75)
        named = read_hash_list(
            f"expires,tlp,sha256,source,label\n2026-12-31,amber,{A},lab,Stealer\n".encode(), 75
        )
        assert placed == named == [Indicator("sha256", A, "Stealer", 75, "amber", 1798675200.0, "lab")]

    def test_one_hash_a_line_lines_of_sha256sum_and_comments(self) -> None:
        told = read_hash_list(f"# bad ones\r\n{A.upper()}\r\n\r\n{B}  weights.bin\r\n; end\r\n".encode(), 60)
        assert [(one.value, one.label, one.confidence) for one in told] == [
            (A, "", 60),
            (B, "weights.bin", 60),
        ]

    def test_repositories_authors_and_addresses_at_the_hub(self) -> None:
        lines = [
            "repo:datasets/Evil/Set",
            "author:Evil",
            "https://huggingface.co/evil/tiny/blob/main/x.bin",
            MD5,
        ]
        told = read_hash_list("\n".join(lines).encode(), 75)
        assert [(one.kind, one.value) for one in told] == [
            ("repo", "datasets/evil/set"),
            ("author", "evil"),
            ("repo", "models/evil/tiny"),
            ("md5", MD5),
        ]

    @pytest.mark.parametrize(
        "body", [b"<!doctype html>\n<html>\n<p>moved</p>", b"\xff\xfe\x00\x01", b'"a\n"b"']
    )
    def test_a_page_or_bytes_are_no_list(self, body: bytes) -> None:
        with pytest.raises(UpstreamBroken):
            read_hash_list(body, 75)


class TestStix:
    def test_only_equalities_joined_by_or_are_evaluated(self) -> None:
        assert equalities(f"[file:hashes.'SHA-256' = '{A}']") == [A]
        assert equalities(f"[file:hashes.'SHA-256' = '{A}' OR file:hashes.MD5 = '{MD5}']") == [A, MD5]
        assert equalities(f"[file:hashes.\"SHA-256\"='{A}'] OR [url:value = 'https://hf.co/a/b']") == [
            A,
            "https://hf.co/a/b",
        ]
        for more in (
            f"[file:hashes.'SHA-256' = '{A}' AND file:size = 3]",
            f"[file:hashes.'SHA-256' != '{A}']",
            f"[file:hashes.'SHA-256' = '{A}'] FOLLOWEDBY [file:hashes.'SHA-256' = '{B}']",
            f"[file:hashes.'SHA-256' = '{A}'] WITHIN 5 SECONDS",
            f"[file:hashes.'SHA-256' IN ('{A}')]",
            f"[file:hashes.'SHA-256' = '{A}'",
            "[]",
            "",
        ):
            assert equalities(more) is None

    def test_a_bundle_says_who_how_sure_how_secret_and_until_when(self) -> None:
        amber = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
        told = indicator(
            A,
            name="Stealer",
            confidence=90,
            valid_until="2027-01-01T00:00:00.000Z",
            object_marking_refs=[amber],
        )
        said = read_bundle(
            json.dumps({"type": "bundle", "objects": [told, {"type": "malware"}]}).encode(), NOW, 75
        )
        (one,) = said.indicators
        assert (one.kind, one.value, one.label, one.confidence, one.tlp) == (
            "sha256",
            A,
            "Stealer",
            90,
            "amber",
        )
        assert one.expires_at == 1798761600.0

    def test_what_is_over_taken_back_benign_or_not_yet_valid_does_not_count(self) -> None:
        objects = [
            indicator(A, revoked=True),
            indicator(B, valid_until="2026-02-01T00:00:00Z"),
            indicator("c" * 64, indicator_types=["benign"]),
            indicator("d" * 64, valid_from="2999-01-01T00:00:00Z"),
        ]
        said = read_bundle(json.dumps({"type": "bundle", "objects": objects}).encode(), NOW, 75)
        assert said.indicators == []
        assert [one.value for one in said.gone] == [A, B, "c" * 64]

    def test_another_pattern_is_kept_and_not_evaluated(self) -> None:
        pattern = f"[file:hashes.'SHA-256' = '{A}' AND file:name = 'x']"
        body = json.dumps({"type": "bundle", "objects": [indicator(A, pattern=pattern)]}).encode()
        assert [(one.kind, one.value) for one in read_bundle(body, NOW, 75).indicators] == [
            ("pattern", pattern)
        ]

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type": "report"}', b"\xff"])
    def test_what_is_no_bundle_is_refused(self, body: bytes) -> None:
        with pytest.raises(UpstreamBroken):
            read_bundle(body, NOW, 75)


class TestMisp:
    UUID = "5a1b2c3d-0000-4000-8000-000000000001"

    def test_attributes_marked_for_detection_count_those_of_objects_too(self) -> None:
        event = {
            "info": "Stealer campaign",
            "Tag": [{"name": "tlp:green"}],
            "Attribute": [
                {"type": "sha256", "value": A.upper(), "to_ids": True},
                {"type": "sha256", "value": B, "to_ids": False},
                {"type": "url", "value": "https://huggingface.co/evil/tiny", "to_ids": True},
                {"type": "domain", "value": "evil.example", "to_ids": True},
                {"type": "md5", "value": MD5, "to_ids": True, "deleted": True},
            ],
            "Object": [
                {
                    "name": "file",
                    "Attribute": [{"type": "filename|sha256", "value": f"x|{B}", "to_ids": True}],
                }
            ],
        }
        told = read_event(json.dumps({"Event": event}).encode(), self.UUID, 80)
        assert [(one.kind, one.value, one.tlp, one.source) for one in told] == [
            ("sha256", A, "green", self.UUID),
            ("repo", "models/evil/tiny", "green", self.UUID),
            ("sha256", B, "green", self.UUID),
        ]
        assert {one.label for one in told} == {"Stealer campaign"}

    def test_a_manifest_lists_events_by_uuid_and_nothing_that_climbs(self) -> None:
        assert read_manifest(json.dumps({self.UUID: {"timestamp": "17"}}).encode()) == {self.UUID: "17"}
        for bad in (b"[]", b'{"../../etc/passwd": {}}', json.dumps({self.UUID: 3}).encode(), b"<html>"):
            with pytest.raises(UpstreamBroken):
                read_manifest(bad)


class TestOsv:
    def test_ranges_and_lists_say_which_versions(self) -> None:
        (advisory,) = osv.read_advisories(osv_zip(GRADIO))
        assert (advisory.ecosystem, advisory.package, advisory.id) == ("PyPI", "gradio", "PYSEC-2026-1")
        told = advisory.told
        covered = {
            one: osv.covers(told, one) for one in ("3.9", "3.9.post1", "4.0", "4.44.1", "4.44.2", "5", "x")
        }
        assert covered == {
            "3.9": False, "3.9.post1": True, "4.0": True, "4.44.1": True,
            "4.44.2": False, "5": False, "x": False,
        }  # fmt: skip
        assert osv.fixed_in(told, "4.44.1") == "4.44.2"
        assert not osv.covers(told, "")

    def test_last_affected_is_affected_and_a_range_without_end_is_everything(self) -> None:
        told = {"ranges": [("1.0", "", "2.0")], "versions": []}
        assert [osv.covers(told, one) for one in ("0.9", "1.0", "2.0", "2.0.1")] == [False, True, True, False]
        assert osv.covers({"ranges": [("0", "", "")], "versions": []}, "")

    def test_withdrawn_advisories_and_ranges_of_commits_say_nothing(self) -> None:
        withdrawn = {**GRADIO, "withdrawn": "2026-01-01T00:00:00Z"}
        commits = {
            "id": "X-1",
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": "x"},
                    "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}],
                }
            ],
        }
        (only,) = osv.read_advisories(osv_zip(withdrawn, commits))
        assert not osv.covers(only.told, "1.0")

    def test_requirements_are_names_and_pinned_versions(self) -> None:
        text = "Gradio==4.44.1 ; python_version>'3'\ntorch>=2 # new\n-r more.txt\ngit+https://x/y\nctx\n"
        assert osv.wanted(text) == [("gradio", "4.44.1"), ("torch", ""), ("ctx", "")]

    def test_what_is_no_zip_of_advisories_is_refused(self) -> None:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("a.json", "[")
        for body in (b"PK", b"<html>", held.getvalue(), osv_zip(GRADIO)[:-30]):
            with pytest.raises(UpstreamBroken):
                list(osv.read_advisories(body))


class TestVirusTotal:
    def answer(self, **attributes: object) -> bytes:
        return json.dumps(
            {"data": {"id": A, "attributes": {"last_analysis_stats": STATS, **attributes}}}
        ).encode()

    def severity(self, **attributes: object) -> Severity | None:
        finding = virustotal.finding_of(virustotal.read_file(self.answer(**attributes), A), A, "vt", NOW, NOW)
        return None if finding is None else finding.severity

    def test_engines_and_google_s_own_word_decide(self) -> None:
        assert self.severity() is None
        assert self.severity(last_analysis_stats={**STATS, "malicious": 1}) == Severity.MEDIUM
        assert self.severity(last_analysis_stats={**STATS, "malicious": 3}) == Severity.CRITICAL
        assert self.severity(gti_assessment={"verdict": {"value": "VERDICT_MALICIOUS"}}) == Severity.CRITICAL
        assert self.severity(gti_assessment={"threat_score": {"value": 61}}) == Severity.CRITICAL
        assert self.severity(gti_assessment={"verdict": {"value": "VERDICT_SUSPICIOUS"}}) == Severity.MEDIUM
        assert self.severity(gti_assessment={"verdict": {"value": "VERDICT_UNDETECTED"}}) is None

    def test_answers_about_young_files_hold_for_less_long(self) -> None:
        def ttl(first_seen_at: float | None) -> float:
            return virustotal.ttl_seconds(virustotal.Standing(engines=60, first_seen_at=first_seen_at), NOW)

        assert ttl(NOW - 60) == 3600
        assert ttl(NOW - 10 * 86400) == 86400
        assert ttl(0.0) == 30 * 86400
        assert virustotal.ttl_seconds(None, NOW) == 4 * 3600

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b'{"data": []}',
            b'{"data": {"id": "x", "attributes": {}}}',
            b'{"error": {"code": "x"}}',
        ],
    )
    def test_another_shape_is_no_answer(self, body: bytes) -> None:
        with pytest.raises(UpstreamBroken):
            virustotal.read_file(body, A)
        with pytest.raises(UpstreamBroken):
            virustotal.read_file(self.answer(), B)
        with pytest.raises(UpstreamBroken):
            virustotal.read_file(self.answer(last_analysis_stats={"malicious": "0"}), A)

    def test_a_threat_list_is_filtered_by_score(self) -> None:
        def row(value: str, score: int) -> dict[str, object]:
            return {
                "data": {
                    "type": "file",
                    "id": value,
                    "attributes": {"gti_assessment": {"threat_score": {"value": score}}},
                }
            }

        body = json.dumps(
            {"iocs": [row(A, 90), row(B, 30), {"data": {"type": "url", "id": "http://x"}}]}
        ).encode()
        told = virustotal.read_threat_list(body, 60, "infostealer")
        assert [(one.value, one.label, one.confidence) for one in told] == [(A, "infostealer", 90)]


class TestHubStatus:
    def status(self, level: str = "safe", **scans: object) -> dict[str, object]:
        return {
            "status": level,
            "avScan": {"status": "safe"},
            "pickleImportScan": {"status": "safe"},
            **scans,
        }

    def test_safe_adds_nothing_and_every_voice_is_heard(self) -> None:
        assert hub_status.findings_of(None) == ()
        assert hub_status.findings_of(self.status()) == ()
        (found,) = hub_status.findings_of(self.status(jFrogScan={"status": "unsafe", "message": "eval"}))
        assert (found.severity, found.evidence["message"]) == (Severity.HIGH, "eval")
        assert [one.severity for one in hub_status.findings_of(self.status("suspicious"))] == [
            Severity.MEDIUM
        ]

    def test_imports_that_the_hub_calls_dangerous_are_named(self) -> None:
        imports = [
            {"module": "os", "name": "system", "safety": "dangerous"},
            {"module": "torch", "safety": "innocuous"},
        ]
        scan = {"status": "unsafe", "pickleImports": imports}
        (found,) = hub_status.findings_of(self.status("unsafe", pickleImportScan=scan))
        assert found.evidence["imports"] == ["os.system"]

    @pytest.mark.parametrize(
        "status",
        [
            {},
            [],
            "safe",
            {"status": "safe"},
            {"status": "fine", "avScan": {"status": "safe"}, "pickleImportScan": {"status": "safe"}},
            {"hasUnsafeFile": False, "clamAVInfectedFiles": [], "dangerousPickles": []},
            {"status": "safe", "avScan": None, "pickleImportScan": {"state": "safe"}},
            {"status": "queued", "avScan": {"status": "queued"}, "pickleImportScan": {"status": "unscanned"}},
        ],
    )
    def test_an_unknown_shape_or_an_unfinished_scan_is_inconclusive_and_never_safe(
        self, status: object
    ) -> None:
        found = hub_status.findings_of(status)
        assert found
        assert {one.rule for one in found} == {"intel-hub-unclear"}
        assert {one.severity for one in found} == {Severity.INFO}


class TestYara:
    def test_rules_are_text_with_rules_in_it(self) -> None:
        assert read_rules(b"rule a { condition: true }").startswith("rule a")
        for bad in (b"<html>", b"", b"\xff\xff", b'include "/etc/passwd"\nrule a { condition: true }'):
            with pytest.raises(UpstreamBroken):
                read_rules(bad)

    def test_rules_that_do_not_compile_are_refused(self) -> None:
        pytest.importorskip("yara_x")
        with pytest.raises(UpstreamBroken, match="do not compile"):
            read_rules(b"rule a { condition: $b }")


class TestWords:
    def test_the_strictest_mark_counts(self) -> None:
        assert tlp_of(["tlp:green", "TLP:RED", "other"]) == "red"
        assert tlp_of(["tlp:white"]) == "clear"

    def test_subjects_as_people_type_them(self) -> None:
        assert read_subject(A.upper()).sha256 == A  # type: ignore[union-attr]
        assert str(read_subject("datasets/acme/x").repo) == "datasets/acme/x"  # type: ignore[union-attr]
        assert read_subject("gradio==4.44.1") == "gradio==4.44.1"
        for bad in ("", "a b", "../x/y"):
            with pytest.raises(BadRequest):
                read_subject(bad)

    def test_options_that_make_no_sense_are_refused(self) -> None:
        for bad in (
            {"every_seconds": 1},
            {"confidence": 200},
            {"key": "hunter2"},
            {"nonsense": 1},
            {"confidence": "x"},
        ):
            with pytest.raises(BadRequest):
                FeedOptions.of(bad)
        assert FeedOptions.of(FeedOptions(key="env:X", per_day=7).as_json()).per_day == 7

    def test_addresses_carry_no_password_and_paths_are_absolute(self) -> None:
        for kind, url in (("hashes", "https://u:p@x.example/"), ("hashes", "list.csv"), ("taxii", "/tmp/x")):
            with pytest.raises(BadRequest):
                check_url(kind, url)  # type: ignore[arg-type]
