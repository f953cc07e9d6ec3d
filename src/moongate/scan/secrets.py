"""Finds secrets in text by the marks that those who give them out put on them.

Each pattern has words, one of which is in all that it matches: looking for a word is much faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

_SECRETS: Final = {
    "an AWS access key": (("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    "an AWS secret key": (
        ("secret", "SECRET", "Secret"),
        re.compile(r"(?i)aws.{0,20}secret.{0,20}[=:]\s{0,9}['\"]?[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"),
    ),
    "a Hugging Face token": (
        ("hf_", "api_org_"),
        re.compile(r"\bhf_[A-Za-z0-9]{34}\b|\bapi_org_[A-Za-z0-9]{34}\b"),
    ),
    "a GitHub token": (
        ("gh", "github_pat_"),
        re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}"),
    ),
    "a GitLab token": (("glpat-",), re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}\b")),
    "an OpenAI key": (("sk-",), re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{40,}\b")),
    "a Stripe key": (("k_live_",), re.compile(r"\b[sr]k_live_[A-Za-z0-9]{20,}\b")),
    "a Slack token": (
        ("xox", "hooks.slack"),
        re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{20,}|hooks\.slack\.com/services/T\w+/B\w+/\w{20,}"),
    ),
    "a Google API key": (
        ("AIza", "GOCSPX-"),
        re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b|\bGOCSPX-[0-9A-Za-z_-]{28}\b"),
    ),
    "a private key": (
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN (?:RSA |EC |OPENSSH |DSA |PGP |ENCRYPTED )?PRIVATE KEY"),
    ),
    "a token of an index of packages": (
        ("npm_", "pypi-AgE"),
        re.compile(r"\bnpm_[A-Za-z0-9]{36}\b|\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ),
    "a SendGrid key": (("SG.",), re.compile(r"\bSG\.[\w-]{22}\.[\w-]{43}\b")),
    "an Azure key": (
        ("ccountKey=", "CCOUNTKEY=", "ccountkey="),
        re.compile(r"(?i)\bAccountKey=[A-Za-z0-9/+]{86}=="),
    ),
    "a password in an address": (
        ("://",),
        re.compile(
            r"\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|amqp)://[^\s:/@'\"{}$<>]+:"
            r"(?!(?:password|passwd|pass|postgres|root|secret|example|x+)@)[^\s:/@'\"{}$<>]{4,}@"
        ),
    ),
    "a Telegram bot's token": ((":AA",), re.compile(r"\b\d{8,10}:AA[A-Za-z0-9_-]{32,33}\b")),
    "a Discord webhook": (
        ("/api/webhooks/",),
        re.compile(r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,}"),
    ),
    "a Replicate token": (("r8_",), re.compile(r"\br8_[A-Za-z0-9]{37}\b")),
    "a Groq key": (("gsk_",), re.compile(r"\bgsk_[A-Za-z0-9]{52}\b")),
    "a DigitalOcean token": (("_v1_",), re.compile(r"\bdo[opr]_v1_[a-f0-9]{64}\b")),
    "a Databricks token": (("dapi",), re.compile(r"\bdapi[a-f0-9]{32}\b")),
    "a Shopify token": (("shp",), re.compile(r"\bshp(?:at|ca|pa|ss)_[a-f0-9]{32}\b")),
    "a Weights & Biases key": (("wandb", "WANDB"), re.compile(r"(?i)wandb.{0,60}[=:\s]['\"]?[a-f0-9]{40}\b")),
    "a login with its password": (
        ("machine",),
        re.compile(r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+\S{8,}"),
    ),
    "a Kaggle key": (
        ('"username"',),
        re.compile(r'"username"\s*:\s*"[^"]+"\s*,\s*"key"\s*:\s*"[a-f0-9]{32}"'),
    ),
}

# Without the edges of words, which only narrow a pattern, most begin with letters that are found fast.
_WIDER = {what: re.compile(pattern.pattern.replace(r"\b", "")) for what, (_, pattern) in _SECRETS.items()}
_MOST_TRIED = 100
_EXAMPLE = re.compile(r"x{12}|X{12}|\*{12}|0{12}")


def find_secrets(text: str) -> Iterator[tuple[str, str, int]]:
    """What it is, how it begins, and where it stands; the first of each kind."""
    for what, (hints, pattern) in _SECRETS.items():
        if any(hint in text for hint in hints) and _WIDER[what].search(text):
            real = (found for found in islice(pattern.finditer(text), _MOST_TRIED) if not _is_example(found))
            if found := next(real, None):
                yield what, f"{found.group()[:6]}…", found.start()


def _is_example(found: re.Match[str]) -> bool:
    """Whether it is what documentation shows instead of one: the same mark over and over."""
    return _EXAMPLE.search(found.group()) is not None
