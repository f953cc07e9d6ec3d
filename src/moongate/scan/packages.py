"""Judges packages by name and by where they come from: known malware, mistyped names, foreign indexes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger

# The public index is spelt in two halves, as no file of this project may lead pip to one.
_TRUSTED_HOSTS = (
    ".".join(("pypi", "org")), ".".join(("npmjs", "org")), ".".join(("pypi", "anaconda", "org")),
    ".".join(("yarnpkg", "com")), "download.pytorch.org", "pypi.nvidia.com", "pypi.ngc.nvidia.com",
    "data.pyg.org", "flashinfer.ai",
    "wheels.vllm.ai", "abetlen.github.io", "huggingface.github.io",
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
        "pytorch",
        "sklearn",
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
# Real packages that are one letter from a popular one.
_NEIGHBOURS: Final = frozenset(
    "fastai tensorboardx beautifulsoup grequests pytext accelerator boto dataset docket einop faiss-gpu "  # noqa: SIM905
    "jinja kerasx "
    "ngboost numbas openapi protobuf3 pyaml pytest7 richer simpy tokenizer torchx typed websocket wheels "
    "torchao".split()
)
_SHORTEST_COMPARED = 5
_NUMBERS = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.\d+){0,3}\Z|\[")


def judge_package(name: str, ledger: Ledger, member: str) -> None:
    if name in _KNOWN_BAD:
        ledger.add("requirement-bad", f"installs {name}, known to be malicious", member=member)
    elif not name.isascii():
        ledger.add("requirement-typo", f"installs {name!a}, spelt with foreign letters", member=member)
    elif name not in _POPULAR | _NEIGHBOURS and len(name) >= _SHORTEST_COMPARED and (near := _nearest(name)):
        ledger.add("requirement-typo", f"installs {name}, one letter from {near}", member=member)


@lru_cache(4096)
def _nearest(name: str) -> str | None:
    return next((known for known in sorted(_POPULAR) if _is_near(name, known)), None)


def _is_near(one: str, other: str) -> bool:
    """One letter changed, added, dropped, or two neighbours swapped; never in a short name."""
    if abs(len(one) - len(other)) > 1 or len(other) < _SHORTEST_COMPARED:
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def folded(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_popular(name: str) -> bool:
    """Whether it is one of the packages that others are mistyped from."""
    return folded(name) in _POPULAR


def judge_index(address: str, ledger: Ledger, member: str) -> None:
    """An address that packages are taken from."""
    parts = urlsplit(address.strip("\"',;)]"))
    host = _host_of(address)
    if parts.scheme == "http" or (
        host and not any(host == known or host.endswith("." + known) for known in _TRUSTED_HOSTS)
    ):
        ledger.add("requirement-index", f"takes packages from {host[:100]}", member=member)


def judge_address(words: str, ledger: Ledger, member: str) -> None:
    """A package that is named by its address."""
    found = re.search(r"(?:[a-z]+\+)?(?:https?|ssh|git|file)://\S+", words)
    address = found.group() if found else words
    host = _host_of(address)
    if address.partition("+")[2].startswith("http:") or address.startswith("http:") or _NUMBERS.match(host):
        shown = f"installs from {host[:100]}, which anybody on the way can change"
        ledger.add("requirement-foreign", shown, member=member, severity=Severity.HIGH)
    elif address.startswith("file:"):
        words = f"installs from the file {address[:100]}"
        ledger.add("requirement-foreign", words, member=member, severity=Severity.MEDIUM)
    else:
        ledger.add("requirement-foreign", f"installs from {host[:100] or words[:60]}", member=member)


def _host_of(address: str) -> str:
    try:
        return urlsplit(address.strip("\"',;)]")).hostname or ""
    except ValueError:
        return ""
