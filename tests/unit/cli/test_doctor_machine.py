from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from moongate.cli.doctor.machine import check_door, check_folder, check_git, check_port


def test_a_folder_that_is_not_there_yet_is_well(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "home"
    findings = check_folder("home", folder, 0)
    assert findings[0].level == "ok"
    assert not folder.exists()  # looking makes nothing


def test_a_file_in_the_way_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert [item.level for item in check_folder("home", tmp_path / "home", 0)] == ["failed"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_a_failure(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert check_folder("home", tmp_path / "home", 0)[0].level == "failed"


def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    found = check_folder("home", tmp_path, 1 << 62)[1]
    assert (found.check, found.level) == ("disk", "failed")
    assert "moongate gc" in (found.advice or "")


def test_a_free_port_is_well(free_port: Callable[[], int]) -> None:
    assert check_port("127.0.0.1", free_port()).level == "ok"


def test_a_port_of_another_program_is_a_failure(speaker: Any) -> None:
    port = urlsplit(speaker.url).port
    assert port is not None
    found = check_port("127.0.0.1", port)
    assert found.level == "failed"
    assert str(port) in (found.advice or "")


def test_a_port_of_a_gateway_is_well(speaker: Any) -> None:
    speaker.say("/healthz", {"status": "ok"}, Server="moongate/0.1.0")
    port = urlsplit(speaker.url).port
    assert port is not None
    found = check_port("127.0.0.1", port)
    assert found.level == "ok"
    assert "already" in found.words


def test_a_port_where_nobody_speaks_http_is_a_failure() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        assert check_port("127.0.0.1", silent.getsockname()[1], timeout_seconds=0.2).level == "failed"


def test_an_address_that_is_not_ours_is_a_failure() -> None:
    assert check_port("192.0.2.1", 8080).level == "failed"


@pytest.mark.parametrize(
    ("loopback", "allow_anonymous", "has_token", "level"),
    [
        (True, False, False, "ok"),
        (False, False, True, "ok"),
        (False, True, False, "warning"),
        (False, True, True, "warning"),
        (False, False, False, "failed"),
    ],
)
def test_the_door(loopback: bool, allow_anonymous: bool, has_token: bool, level: str) -> None:
    found = check_door(
        loopback=loopback, allow_anonymous=allow_anonymous, has_token=has_token, host="0.0.0.0"
    )
    assert found.level == level


def test_a_proxy_in_front_of_loopback_lets_everybody_in() -> None:
    address = "https://models.acme.example"
    found = check_door(
        loopback=True, allow_anonymous=False, has_token=True, host="127.0.0.1", public_url=address
    )
    assert found.level == "warning"
    assert address in found.words


def test_git_is_missed_where_it_is_not(tmp_path: Path) -> None:
    (found,) = check_git(path=str(tmp_path))
    assert (found.check, found.level) == ("git", "note")
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert check_git(path=str(tmp_path)) == []
