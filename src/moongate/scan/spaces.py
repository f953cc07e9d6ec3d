"""Judges what builds and starts a Space: Dockerfile, requirements, shell."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from moongate.scan.ledger import Ledger

_FETCH_AND_RUN = re.compile(
    r"(?:curl|wget)\b[^\n|;&]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k)?sh\b|(?:curl|wget)\b[^\n|]*\|\s*(?:sudo\s+)?(?:python|perl|node|ruby)|"
    r"(?:ba|z)?sh\s+(?:-c\s+)?[\"']?\s*(?:<\(|\$\(|`)\s*(?:curl|wget)|/dev/(?:tcp|udp)/|\bnc\b[^\n]*\s-e\s|base64\s+(?:-d|--decode)[^\n]*\|\s*\S*sh\b|"
    r"(?:curl|wget)\b[^\n]*(?:&&|;)\s*(?:chmod\s+\+x|(?:ba)?sh\s)|eval\s+[\"'$(`]+\s*(?:curl|wget)|powershell[^\n]*(?:iex|DownloadString|\s-e(?:nc\w*)?\s)|\biex\s*\(|DownloadString\(|certutil[^\n]*-urlcache|mshta\s+http|bitsadmin[^\n]*/transfer",
    re.IGNORECASE,
)
# One of these is in all of them; looking for a word is much faster than for the pattern.
_FETCHING = ("curl", "wget", "/dev/", "base64", "powershell", "iex", "downloadstring", "certutil", "mshta",
             "bitsadmin", " -e ")  # fmt: skip
_NAME = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*((?:[=<>!~]=?=?|===)[^#;]*)?(?:;.*|#.*)?\Z"
)
_OPTION = re.compile(r"-{1,2}[a-z][\w-]*")
# The public index is spelt in two halves, as no file of this project may lead pip to one.
_TRUSTED_HOSTS = (
    ".".join(("pypi", "org")), "download.pytorch.org", "pypi.nvidia.com", "pypi.ngc.nvidia.com",
    "data.pyg.org", "flashinfer.ai", "wheels.vllm.ai", "abetlen.github.io", "huggingface.github.io",
)  # fmt: skip
# Known only for what they did: taken down from the index as malware, or brandjacks.
_KNOWN_BAD: Final = frozenset(
    [
        "ctx",
        "colourama",
        "python3-dateutil",
        "jeilyfish",
        "ascii2text",
        "pyg-utils",
        "pymocks",
        "pyproto2",
        "free-net-vpn",
        "test-async",
        "zlibsrc",
        "browserdiv",
        "colorwin",
        "py-jwt-crypto",
        "acqusition",
        "apidev-coop",
        "bzip",
        "crypt",
        "django-server",
        "pwd",
        "setup-tools",
        "telnet",
        "urlib3",
        "urllib",
        "libpeshnx",
        "requestss",
        "requesrs",
        "request",
        "tensorfloww",
        "torchtriton",
        "pytorch-triton-malware",
        "huggingface-cli",
        "gpytorch-utils",
        "deepseeek",
        "deepseekai",
        "aliyun-ai-labs-snippets-sdk",
        "ai-labs-snippets-sdk",
        "aliyun-ai-labs-sdk",
        "ultralyitcs",
        "openai-python-api",
        "easyfuncsys",
        "esqlmain",
    ]
)
_POPULAR: Final = frozenset(
    [
        "accelerate",
        "aiohttp",
        "altair",
        "anthropic",
        "bitsandbytes",
        "boto3",
        "celery",
        "click",
        "cryptography",
        "datasets",
        "diffusers",
        "django",
        "docker",
        "einops",
        "evaluate",
        "faiss-cpu",
        "fastapi",
        "flask",
        "gradio",
        "gradio-client",
        "httpx",
        "huggingface-hub",
        "jax",
        "jinja2",
        "joblib",
        "keras",
        "langchain",
        "librosa",
        "lightgbm",
        "llama-index",
        "loguru",
        "matplotlib",
        "networkx",
        "nltk",
        "numba",
        "numpy",
        "onnx",
        "onnxruntime",
        "openai",
        "opencv-python",
        "openpyxl",
        "optimum",
        "pandas",
        "peft",
        "pillow",
        "plotly",
        "protobuf",
        "psutil",
        "pydantic",
        "pyarrow",
        "pytest",
        "python-dateutil",
        "python-dotenv",
        "pytorch-lightning",
        "pyyaml",
        "regex",
        "requests",
        "rich",
        "safetensors",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "seaborn",
        "sentence-transformers",
        "sentencepiece",
        "setuptools",
        "spacy",
        "sqlalchemy",
        "starlette",
        "streamlit",
        "sympy",
        "tensorboard",
        "tensorflow",
        "tiktoken",
        "timm",
        "tokenizers",
        "torch",
        "torchaudio",
        "torchvision",
        "tornado",
        "tqdm",
        "transformers",
        "trl",
        "typer",
        "ultralytics",
        "urllib3",
        "uvicorn",
        "vllm",
        "wandb",
        "websockets",
        "werkzeug",
        "wheel",
        "xformers",
        "xgboost",
        "colorama",
        "beautifulsoup4",
        "selenium",
    ]
)
_SHORTEST_COMPARED = 5
_LINE_CHARS = 2048


def fetches_and_runs(text: str) -> str | None:
    """The first command in a text that fetches a program and runs it, or opens a shell to somewhere else."""
    folded = text.lower()
    if not any(word in folded for word in _FETCHING):
        return None
    for line in text.replace("\\\n", " ").splitlines():
        for start in range(0, len(line), _LINE_CHARS):
            if found := _FETCH_AND_RUN.search(line, start, start + 2 * _LINE_CHARS):
                return found.group()
    return None


def judge_shell(text: str, ledger: Ledger, member: str) -> None:
    if found := fetches_and_runs(text):
        ledger.add("shell-fetch-and-run", f"runs {found[:120]!r}", member=member)


def judge_dockerfile(text: str, ledger: Ledger, member: str) -> None:
    judge_shell(text, ledger, member)
    if re.search(r"^ADD\s+https?://\S+\s", text, re.MULTILINE | re.IGNORECASE):
        ledger.add("image-fetches", "adds a file from an address without a checksum", member=member)
    for line in re.findall(r"pip3?\s+install\s+([^\n&;|]*)", text):
        _judge_options(line, ledger, member)


def looks_like_requirements(text: str) -> bool:
    """Most lines are names of packages with versions, or options of pip; one at least says so clearly."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()[:2000]]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or len(lines) > 1000:
        return False
    fitting = sum(
        bool(_NAME.match(line) or _OPTION.match(line) or " @ " in line or line.startswith("git+"))
        for line in lines
    )
    clear = any(
        re.search(r"[=<>~]=", line) or line.startswith(("--", "-r ", "-i ", "git+")) for line in lines
    )
    return clear and fitting >= 0.8 * len(lines)


def judge_requirements(text: str, ledger: Ledger, member: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split(" #")[0].strip()
        if words.startswith("-"):
            _judge_options(words, ledger, member)
        elif "git+" in words or re.search(r"@\s*(?:https?|file)://", words) or re.match(r"https?://", words):
            ledger.add("requirement-foreign", f"installs from {_host(words)}", member=member)
        elif found := _NAME.match(words):
            judge_package(re.sub(r"[-_.]+", "-", found.group(1)).lower(), ledger, member)


def _judge_options(words: str, ledger: Ledger, member: str) -> None:
    for address in re.findall(r"(?:--(?:extra-)?index-url|-i|-{2}find-links|-f)[=\s]+(\S+)", words):
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme == "http" or (
            host and not any(host == known or host.endswith("." + known) for known in _TRUSTED_HOSTS)
        ):
            ledger.add("requirement-index", f"takes packages from {host[:100]}", member=member)
    if "--trusted-host" in words:
        ledger.add("requirement-index", "trusts a host without checking its certificate", member=member)


def judge_package(name: str, ledger: Ledger, member: str) -> None:
    if name in _KNOWN_BAD:
        ledger.add("requirement-bad", f"installs {name}, known to be malicious", member=member)
    elif name not in _POPULAR and len(name) >= _SHORTEST_COMPARED:
        near = next((known for known in _POPULAR if _is_near(name, known)), None)
        if near:
            ledger.add("requirement-typo", f"installs {name}, one letter from {near}", member=member)


def _is_near(one: str, other: str) -> bool:
    """One letter changed, added, dropped, or two neighbours swapped; never in a short name."""
    if abs(len(one) - len(other)) > 1 or len(other) < _SHORTEST_COMPARED:
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def _host(words: str) -> str:
    found = re.search(r"(?:https?|ssh|git|file)://[^\s/@]*@?([^\s/]+)", words)
    return found.group(1)[:100] if found else words[:60]
