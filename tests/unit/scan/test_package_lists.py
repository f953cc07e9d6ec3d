"""Where lists of packages have them fetched from, and other settings that make programs run."""

from __future__ import annotations

import json

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held

INDEX = "index" + "-url"
FOREIGN = "http://x.test/simple"
OURS = "https://" + "pypi." + "org/simple"
GIT = '[submodule "x"]\n\tpath = x\n\t'


def verdict(text: str, name: str) -> str:
    return judge(Held(text.encode()), name).verdict


DANGEROUS = (
    ("Pipfile.lock", json.dumps({"_meta": {"sources": [{"name": "x", "url": FOREIGN, "verify_ssl": True}]}})),
    ("Pipfile.lock", json.dumps({"_meta": {"sources": [{"name": "x", "url": OURS, "verify_ssl": False}]}})),
    ("uv.lock", f'version = 1\n[[package]]\nname = "torch"\nsource = {{ registry = "{FOREIGN}" }}\n'),
    ("uv.toml", f'[[index]]\nurl = "{FOREIGN}"\n'),
    ("pyproject.toml", f'[project]\nname="x"\n[tool.uv]\nextra-{INDEX} = ["{OURS}", "{FOREIGN}"]\n'),
    (".npmrc", "registry=http://x.test/\n"),
    ("bentofile.yaml", f'service: "s:svc"\npython:\n  index_url: "{FOREIGN}"\n'),
    ("environment.yml", "name: x\nchannels:\n  - http://x.test/conda\ndependencies:\n  - python=3.10\n"),
    ("package.json", json.dumps({"dependencies": {"x": "git+http://x.test/x.git"}})),
    ("packages.txt", "ffmpeg\n-oDPkg::Pre-Invoke::=id>/srv/x\n"),
    (".gitmodules", GIT + "url = -u./payload\n"),
    (".gitmodules", GIT + "url = https://x.test/a\n\tupdate = !touch /srv/x\n"),
    ("config", '[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "touch /srv/x"\n'),
)
ORDINARY = (
    ("uv.lock", f'version = 1\n[[package]]\nname = "torch"\nsource = {{ registry = "{OURS}" }}\n'),
    ("Pipfile.lock", json.dumps({"_meta": {"sources": [{"name": "x", "url": OURS, "verify_ssl": True}]}})),
    (
        "environment.yml",
        "channels:\n  - conda-forge\n  - https://conda.anaconda.org/x\ndependencies:\n  - pip\n",
    ),
    ("package.json", json.dumps({"dependencies": {"x": "^1.2.3"}})),
    ("packages.txt", "ffmpeg\nlibsndfile1\ngit-lfs\n"),
    (".gitmodules", GIT + "url = https://x.test/a\n"),
    ("config", "[core]\n\tfsmonitor = true\n"),
)


@pytest.mark.parametrize(("name", "text"), DANGEROUS)
def test_foreign_sources_and_commands_are_dangerous(name: str, text: str) -> None:
    assert verdict(text, name) == "dangerous"


@pytest.mark.parametrize(("name", "text"), ORDINARY)
def test_known_sources_are_clean(name: str, text: str) -> None:
    assert verdict(text, name) == "clean"


def test_channels_of_others_are_for_review() -> None:
    text = "channels:\n  - https://x.test/conda\ndependencies:\n  - pip\n"
    assert verdict(text, "environment.yml") == "suspicious"
