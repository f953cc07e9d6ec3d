"""Facts: what is unknown stays unknown, ages are counted, and one question has one digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moongate.policy.facts import Actor, Content, Facts, Repository
from moongate.policy.licences import LICENCE_GROUPS, licence_group
from moongate.wire.licenses import LICENSES

_FACTS = Facts("read", Actor("ada"), Repository("model", "acme/tiny"), at=864000.0)


def test_what_is_not_known_is_none_and_not_an_empty_answer() -> None:
    told = _FACTS.as_json()

    assert told["repo"]["tags"] is None
    assert told["content"] is None
    assert _FACTS.age_days is None
    assert _FACTS.repo.licence_group is None
    assert replace(_FACTS.repo, licence="").licence_group == "unknown"


def test_ages_are_counted_from_when_it_was_asked() -> None:
    facts = replace(_FACTS, repo=replace(_FACTS.repo, created_at=0.0, modified_at=864001.0))

    assert facts.age_days == 10.0
    assert facts.modified_days == 0.0


def test_the_digest_leaves_the_time_out_and_nothing_else() -> None:
    later = replace(_FACTS, at=_FACTS.at + 1)
    other = replace(_FACTS, content=Content("model.bin"))

    assert later.digest == _FACTS.digest
    assert other.digest != _FACTS.digest


@pytest.mark.parametrize(
    ("licence", "group"),
    [
        ("apache-2.0", "permissive"),
        ("Apache-2.0", "permissive"),
        ("gpl-3.0", "copyleft"),
        ("cc-by-nc-4.0", "non-commercial"),
        ("llama3.1", "community"),
        ("openrail", "use-restricted"),
        ("acme-house-rules", "other"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ],
)
def test_licences_have_groups(licence: str, group: str) -> None:
    assert licence_group(licence) == group


def test_every_licence_of_the_hub_was_put_into_a_group() -> None:
    unsorted = [word for word in LICENSES if licence_group(word) == "other"]

    assert unsorted == ["cc", "other"]
    assert {licence_group(word) for word in LICENSES} <= set(LICENCE_GROUPS)
