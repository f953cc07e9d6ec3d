"""Settings: which source wins, what is wrong with one, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from moongate.app.settings import BadSettings, Settings, setting_rows, unknown_variables


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def test_flag_then_environment_then_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "moongate.toml").write_text("port = 1\nworkers = 2\nfill_connections = 3\nquota_bytes = 4\n")
    Path("moongate.toml").write_text("port = 11\nworkers = 12\nfill_connections = 13\n")
    monkeypatch.setenv("MOONGATE_PORT", "21")
    monkeypatch.setenv("MOONGATE_WORKERS", "22")
    settings = Settings.load(home=home, port=31)
    assert (settings.port, settings.workers, settings.fill_connections, settings.quota_bytes) == (
        31,
        22,
        13,
        4,
    )
    assert Settings.load(home=home, port=None).port == 21


def test_a_home_named_in_a_file_is_read_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "moongate.toml").write_text("quota_bytes = 5\n")
    Path("moongate.toml").write_text(f'home = "{home}"\n')
    assert Settings.load().quota_bytes == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 5", "unknown setting 'prot'; did you mean 'port'?"),
        ("port = 70000", "port (MOONGATE_PORT): input should be less than or equal to 65535"),
        ('upstream = "ftp://x"', "upstream (MOONGATE_UPSTREAM): expected http://host or https://host"),
        ('upstream = "https://me:pw@hub"', "must not carry a user name"),
        ('trusted_proxies = ["10.0.0.0/99"]', "trusted_proxies"),
        ('hosted_namespaces = ["a/b"]', "'a/b' cannot be a namespace"),
        ('log_format = "xml"', "log_format (MOONGATE_LOG_FORMAT)"),
        ("port = ", "moongate.toml is not TOML"),
        (
            'quota_bytes = "ten"',
            "quota_bytes (MOONGATE_QUOTA_BYTES): expected a size such as 500, 20GB or 1.5TiB",
        ),
        ('store = "gs://models"', "store (MOONGATE_STORE): expected a folder of this machine"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    Path("moongate.toml").write_text(text)
    with pytest.raises(BadSettings) as caught:
        Settings.load()
    assert message in caught.value.message
    assert str(Path.cwd() / "moongate.toml") in caught.value.message


def test_a_mistake_of_the_environment_is_blamed_on_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("moongate.toml").write_text("port = 1\n")
    monkeypatch.setenv("MOONGATE_PORT", "many")
    with pytest.raises(BadSettings) as caught:
        Settings.load()
    assert "MOONGATE_PORT" in caught.value.message
    assert "toml" not in caught.value.message


@pytest.mark.parametrize(
    ("written", "size_bytes"), [("500", 500), ("500GB", 500 * 10**9), ("1.5TiB", 3 << 39)]
)
def test_sizes_may_be_written_with_units(
    written: str, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONGATE_QUOTA_BYTES", written)
    assert Settings.load().quota_bytes == size_bytes
    monkeypatch.delenv("MOONGATE_QUOTA_BYTES")
    Path("moongate.toml").write_text(f'quota_bytes = "{written}"\n')
    assert Settings.load().quota_bytes == size_bytes


def test_several_mistakes_are_several_lines() -> None:
    Path("moongate.toml").write_text("prot = 5\nport = -1\n")
    with pytest.raises(BadSettings) as caught:
        Settings.load()
    assert len(caught.value.message.splitlines()) == 2


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_" + "T0ken" * 7
    settings = Settings.load(upstream_token=token, database="postgresql://me:pass-word@db/x")
    own = settings.own_token
    assert own is not None
    assert own.reveal() == token
    shown = f"{settings!r} {settings} {settings.printable()} {own!r}"
    assert token not in shown
    assert "pass-word" not in str(settings.printable())
    monkeypatch.setenv("MOONGATE_UPSTREAM_TOKEN", token)
    with pytest.raises(BadSettings) as caught:
        Settings.load(port=-1)
    assert token not in caught.value.message


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", "cdn.example:81, *.hf.co")
    assert Settings.load().upstream_allowed_hosts == ("cdn.example:81", "*.hf.co")
    Path("moongate.toml").write_text('upstream_orgs = ["a", "b"]')
    assert Settings.load().upstream_orgs == ("a", "b")


def test_what_kubernetes_puts_into_the_environment_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PORT", "tcp://10.0.0.1:8080")
    assert Settings.load().port == 8080
    environ = {"MOONGATE_PORT_8080_TCP": "x", "MOONGATE_SERVICE_HOST": "x", "MOONGATE_URL": "x", "PATH": "/"}
    assert unknown_variables(environ) == []


def test_unknown_variables_are_told_with_the_nearest_name() -> None:
    (line,) = unknown_variables({"MOONGATE_QOUTA_BYTES": "1", "MOONGATE_QUOTA_BYTES": "1"})
    assert line == "MOONGATE_QOUTA_BYTES sets nothing; did you mean 'MOONGATE_QUOTA_BYTES'?"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("x", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert Settings.load(host=host).is_loopback is loopback


def test_every_row_has_words_and_a_unit_where_it_counts_something() -> None:
    for row in setting_rows():
        assert row.help.endswith("."), row.name
        for suffix in ("seconds", "bytes"):
            assert not row.name.endswith(f"_{suffix}") or row.unit == suffix
