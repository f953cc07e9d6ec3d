"""Who is believed without a key: what the file may say, and what it answers when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from moongate.core.errors import BadRequest
from moongate.policy.provenance.identities import read_identities
from moongate.policy.provenance.keys import Trust

ISSUER = "https://accounts.acme.example"


def test_identities_are_exact_and_patterns_are_of_the_whole_name() -> None:
    text = f"""
- identity: release@acme.example
  issuer: {ISSUER}
- identity_regexp: https://github\\.example/acme/.+@refs/tags/v\\d+
  issuer: https://ci.example
"""
    person, workflow = read_identities("identities.yaml", text)
    assert person.names("release@acme.example", ISSUER)
    for identity, issuer in (
        ("Release@acme.example", ISSUER),
        ("release@acme.example.evil.example", ISSUER),
        ("release@acme.example", ISSUER + "/"),
        ("release@acme.example", "https://ci.example"),
        ("", ISSUER),
    ):
        assert not person.names(identity, issuer), (identity, issuer)
    release = "https://github.example/acme/tiny/.github/workflows/release.yml@refs/tags/v1"
    assert workflow.names(release, "https://ci.example")
    assert not workflow.names(release, ISSUER)
    assert not workflow.names(release + "-evil", "https://ci.example")
    assert not workflow.names("https://evil.example/?" + release, "https://ci.example")
    assert not workflow.names(release + "\n", "https://ci.example")
    assert not workflow.names(release.replace("v1", "v" + "1" * 3000), "https://ci.example")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("identity: a@b", "identities.yaml:1: this is no list"),
        ("- a@b", "identities.yaml:1: an identity is written with its issuer"),
        ("- {identity: a@b}", "the issuer is missing"),
        ("- {issuer: https://x}", "write either `identity` or `identity_regexp`"),
        ("- {identity: a, identity_regexp: a, issuer: https://x}", "write either"),
        (
            "\n- {identity: a, issuer: https://x, subject: b}",
            "identities.yaml:2: 'subject' means nothing here",
        ),
        ("- {identity: '', issuer: https://x}", "each a text"),
        ("- {identity: 7, issuer: https://x}", "each a text"),
        ("- {identity_regexp: '(', issuer: https://x}", "no regular expression"),
        ("- {identity: a", "not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_how_to_write_it(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "identities.yaml").write_text(text)
    with pytest.raises(BadRequest) as raised:
        Trust.read(tmp_path)
    assert words in raised.value.message


def test_a_file_without_anybody_and_one_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "identities.yaml").write_text("# nobody yet\n")
    assert Trust.read(tmp_path).identities == ()
    (tmp_path / "identities.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRequest):
        Trust.read(tmp_path)
