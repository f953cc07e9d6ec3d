"""Cards are checked here, and never sent on."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.house import open_house

CARD = "---\nlicense: mit\n---\n"


async def test_a_card_is_checked_as_the_hub_checks_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        url = house.url + "/api/validate-yaml"
        async with house.session.post(url, json={"content": CARD, "repoType": "model"}) as answer:
            assert answer.status == 200
            assert await answer.json() == {"errors": [], "warnings": []}
        bad = "---\nlicense: nonsense\n---\n" + "text\n" * 20_000
        async with house.session.post(url, json={"content": bad}) as answer:
            assert answer.status == 400
            (error,) = (await answer.json())["errors"]
            assert error["message"].startswith('"license" must be one of [')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"content": 3}',
        b'{"repoType": "model"}',
        b'{"content": "", "repoType": "x"}',
    ],
)
async def test_a_question_that_is_none(tmp_path: Path, body: bytes) -> None:
    async with (
        open_house(tmp_path) as house,
        house.session.post(house.url + "/api/validate-yaml", data=body) as answer,
    ):
        assert answer.status == 400
        assert answer.headers["X-Error-Code"] in ("BadRequest", "BadName")
