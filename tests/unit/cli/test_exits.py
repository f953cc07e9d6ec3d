from __future__ import annotations

import pytest

from moongate.cli import exits
from moongate.core import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.BadName("x"), exits.USAGE),
        (errors.BadRequest("x"), exits.USAGE),
        (errors.GatedRepo("x", authenticated=True), exits.REFUSED),
        (errors.BadToken("x"), exits.REFUSED),
        (errors.AuthRequired("x"), exits.REFUSED),
        (errors.ScopeMissing("x"), exits.REFUSED),
        (errors.UpstreamRefused("x"), exits.REFUSED),
        (errors.UpstreamUnreachable("x"), exits.UNREACHABLE),
        (errors.UpstreamTimeout("x"), exits.UNREACHABLE),
        (errors.UpstreamBusy("x", 3.0), exits.UNREACHABLE),
        (errors.UpstreamBroken("x"), exits.FAILED),
        (errors.RepoAbsent("x"), exits.FAILED),
        (errors.VerificationFailed("x"), exits.FAILED),
        (errors.StoreFull("x"), exits.FAILED),
        (errors.MoongateError("x"), exits.FAILED),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: errors.MoongateError, exit_code: int) -> None:
    assert exits.exit_code_of(error) == exit_code


def test_errors_a_user_can_mend_come_with_a_hint() -> None:
    hint = exits.hint_of(errors.GatedRepo("x", authenticated=False))
    assert hint is not None
    assert "MOONGATE_UPSTREAM_TOKEN" in hint
    assert exits.hint_of(errors.MoongateError("x")) is None
