"""Judges commands: programs fetched and run unseen, shells opened to elsewhere, secrets sent away, packages.

A command is text, wherever it stands: a script, a line of a Dockerfile, a string that a program runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.packages import folded, judge_address, judge_index, judge_package

_SHELL = r"(?:sudo\s+(?:-\S+\s+)*)?(?:/\S*/)?(?:env\s+)?(?:ba|z|da|k|fi)?sh\b(?![\w.])"
_KEPT = (
    r"(?:\.ssh/|id_rsa|id_ed25519|/etc/(?:shadow|passwd)|\.aws/credentials|huggingface/token|\.netrc|"
    r"/proc/\w+/environ)"
)
# What a command ends with, and what must stand before that in it. All of lines in small letters.
_ENDS: Final = tuple(
    (re.compile(end), re.compile(before))
    for end, before in (
        (
            rf"\|\s*{_SHELL}",
            (
                r"\b(?:curl|wget|iwr)\b|base64\s+(?:-d|--decode)|xxd\s+-r|openssl\s+base64|"
                r"\b(?:printf|echo\s+-\w*e\w*)\s+[\"']?\\(?:x|0?[0-7]{3})"
            ),
        ),
        (r"\|\s*(?:sudo\s+)?(?:python[\d.]*|perl|node|ruby|php)(?!\S)(?!\s+-\w)", r"\b(?:curl|wget)\b"),
        (r"(?:&&|;)\s*(?:chmod\s+(?:\+x|[0-7]*7[0-7]*)|(?:ba)?sh\s)", r"\b(?:curl|wget)\b"),
        (
            r"\|\s*(?:curl|nc|wget)\b",
            rf"{_KEPT}|(?:^|[\s;&|\"'])(?:env|printenv)\s*(?:\|\s*base64[^|]*)?\Z",
        ),
        (r"\|\s*nc\b", r"\bmkfifo\b"),
        (rf"\$\(\s*(?:env|printenv|cat\s)|@\S{{0,80}}{_KEPT}", r"\b(?:curl|wget)\b"),
    )
)
_WHOLE: Final = tuple(
    (hints, re.compile(pattern))
    for hints, pattern in (
        (("curl", "wget"), r"sh\s+(?:-c\s+)?[\"']?\s*(?:<\(|\$\(|`)\s*(?:curl|wget)"),
        (("curl", "wget"), r"(?:source|(?:^|\s)\.)\s+<\(\s*(?:curl|wget)|eval\s+[\"'$(`]+\s*(?:curl|wget)"),
        (("python",),
         (r"python[\d.]*\s+-c\s[^\n]{0,200}?(?:(?:exec|eval)\s*\([^\n]{0,200}?(?:urlopen|requests|decode)|"
          r"socket[^\n]{0,200}?(?:dup2|pty|subprocess|/bin/))")),
        (("printf", "echo"), r"sh\s+-c\s+[\"']?\$\(\s*(?:printf|echo\s+-e)\s"),
        (("/dev/",), r"/dev/(?:tcp|udp)/"),
        ((" -e",), r"\bnc\b[^\n]{0,100}?\s-e\s"),
        (("socat",), r"\bsocat\b[^\n]{0,200}?\bexec:"),
        (("stratum", "xmrig"), r"stratum\+(?:tcp|ssl)://|\bxmrig\b"),
        (("authorized_keys", "/etc/", "crontab"),
         r">>?\s*[^\s>]{0,100}(?:authorized_keys|/etc/(?:passwd|sudoers|cron))|\|\s*crontab\s+-(?!\w)"),
        (("no-preserve-root", ":()"),
         r"rm\s+-\w*[rf]\w*\s[^\n]{0,100}--no-preserve-root|:\(\)\s*\{\s*:\s*\|\s*:"),
        (("powershell",), r"powershell[^\n]{0,200}?(?:iex|downloadstring|\s-e(?:nc\w*)?\s)"),
        (("iex", "downloadstring", "certutil", "mshta", "bitsadmin"),
         (r"\biex\s*\(|\|\s*iex\b|downloadstring\(|certutil[^\n]{0,100}?-urlcache|mshta\s+http|"
          r"bitsadmin[^\n]{0,100}?/transfer")),
        (("invoke-webrequest", "invoke-restmethod"),
         r"invoke-(?:webrequest|restmethod)[^\n]{0,300}?(?:start-process|invoke-expression|;\s*(?:\.\\|&\s))"),
        (("createobject", "activexobject"),
         r"(?:create|activex)object\(\s*[\"'](?:wscript\.shell|shell\.application|adodb\.stream)"),
    )
)  # fmt: skip
# One of these is in all of them; looking for a word is much faster than for a pattern.
_WORDS = ("curl", "wget", "iwr", "base64", "xxd", "id_rsa", ".ssh/", "environ", "mkfifo",
          "\\x", "/etc/passwd",
          *(hint for hints, _ in _WHOLE for hint in hints))  # fmt: skip
# Installers of well-known projects: what they do may change, but they are what they say.
_INSTALLERS: Final = frozenset(
    "deb.nodesource.com sh.rustup.rs astral.sh ollama.com ollama.ai get.docker.com install.python-poetry.org "  # noqa: SIM905
    "bun.sh deno.land get.pnpm.io repo.anaconda.com repo.continuum.io micro.mamba.pm".split()
)
# A variable that holds a token of whoever runs it, and whose it is.
_TOKEN = re.compile(r"\$\{?(?:hf|hugging\w{0,20}|aws|github|gh)_\w{0,20}(?:token|key|secret|pat)\b")
_HOMES = (
    "huggingface.co", "hf.co", "hf.space", "huggingface.cloud", "github.com", "githubusercontent.com",
    "amazonaws.com", "localhost", "127.0.0.1",
)  # fmt: skip
_ADDRESS = re.compile(r"(https?)://([^\s/'\"|)]+)(/\S*)?")
_FETCHED_TO = re.compile(
    r"\b(?:curl|wget)\b[^\n]{0,500}?\s(?:-[a-zA-Z]*[oO]|--output(?:-document)?)(?:\s+|=)[\"']?([\w./~$-]*[\w])"
)
# By the last part of its address, where no other name is given; and what a Dockerfile adds.
_FETCHED = re.compile(
    r"\bwget\s+(?:-[a-zA-NP-Z]+\s+){0,5}[\"']?https?://[^\s\"']{1,300}/([\w.-]{1,100})[\"']?\s*(?=[\n;&|]|\Z)|"
    r"^ADD\s+https?://\S{1,400}\s+\S{0,200}?([\w.-]{1,100})[ \t]*$",
    re.MULTILINE,
)
_LINE_CHARS = 2048
_BEFORE_CHARS = 300
_MOST_FETCHES = 30
_MOST_ENDS = 100
_MOST_INSTALLS = 10_000
_MOST_SEARCHED_CHARS = 1 << 20
_INSTALL = re.compile(r"\b(?:pip3?|uv\s+pip)[\"']?,?\s+[\"']?install\b([^\n&;|)\]]*)")
_TAKES_VALUE = (
    frozenset(
        "-r -c -t -i -f -e --requirement --constraint --target --editable --prefix --root "  # noqa: SIM905
        "--python --platform".split()
    )
    | {f"--{kind}index-url" for kind in ("", "extra-")}
    | {"--find" + "-links"}
)
_PACKAGE = re.compile(r"([^\W_][\w.-]*)(?:\[[^\]]*\])?(?:[=<>!~].*)?\Z")
_INDEX_OPTION = re.compile(
    r"""(?:--(?:ext|ind|pypi-u|find)[\w-]*[=\s]+|(?<!\S)-[if]\s*|"""
    r"""\b(?:PIP|UV)_(?:EXTRA_|DEFAULT_)?INDEX(?:_URL)?["']?[=\s:]+|"""
    r"""config\s+set\s+\S*index-url\s+|^[ \t]*(?:extra-)?index-url[ \t]*=[ \t]*|--registry[=\s]+)["']?([a-z]+://\S+)""",
    re.MULTILINE,
)
_REMOTE_LIST = re.compile(r"(?<!\S)(?:-[rc]|--(?:req|cons)[\w-]*)[=\s]*[\"']?((?:https?|ftp)://\S+)")


def fetches_and_runs(text: str) -> str | None:
    """The first command in a text that does what the patterns above say."""
    lowered = text.lower()
    if not any(word in lowered for word in _WORDS):
        return None
    mild = None
    left = _MOST_SEARCHED_CHARS
    for line in lowered.replace("\\\n", " ").splitlines():
        if left < 0:
            break
        if not any(word in line for word in _WORDS):
            continue
        for start in range(0, len(line), _LINE_CHARS):
            left -= min(len(line), _LINE_CHARS)
            if left < 0:
                break
            for found in _commands(line[start : start + 2 * _LINE_CHARS]):
                if not _is_installer(found):
                    return found
                mild = mild or found
    return mild


def _sends_token(line: str) -> str | None:
    """What a request carries to a host whose token it is not."""
    if "$" not in line or not ("curl" in line or "wget" in line):
        return None
    found = _TOKEN.search(line)
    if found is None:
        return None
    hosts = [host.rpartition("@")[2].partition(":")[0] for _, host, _ in _ADDRESS.findall(line)]
    strange = [host for host in hosts if not any(host == one or host.endswith("." + one) for one in _HOMES)]
    plain = [host for host in strange if "$" not in host]
    return f"{found.group()} to {plain[0]}" if plain and len(strange) == len(hosts) else None


def _commands(line: str) -> Iterator[str]:
    if sent := _sends_token(line):
        yield f"sends {sent}"
    for hints, pattern in _WHOLE:
        if any(hint in line for hint in hints) and (found := pattern.search(line)):
            yield found.group()
    for end, before in _ENDS:
        for found in islice(end.finditer(line), _MOST_ENDS):
            reach = max(0, found.start() - _BEFORE_CHARS)
            if begun := before.search(line, reach, found.start()):
                yield line[begun.start() : found.end()]


def _is_installer(command: str) -> bool:
    """Whether all it fetches comes from where a well-known project gives its installer out."""
    addresses = _ADDRESS.findall(command)
    return bool(addresses) and all(
        scheme == "https" and (host in _INSTALLERS or (host == "github.com" and "/releases/" in path))
        for scheme, host, path in addresses
    )


def judge_command(text: str, ledger: Ledger, member: str, level: Severity | None = None) -> bool:
    """Whether a text fetches and runs; if so, that is told. level: how bad that is there."""
    found = fetches_and_runs(text)
    if found is None:
        return False
    severity = Severity.MEDIUM if level is None and _is_installer(found) else level
    words = f"runs {found[:120]!r}"
    ledger.add("shell-fetch-and-run", words, member=member, severity=severity)
    return True


def judge_shell(text: str, ledger: Ledger, member: str) -> None:
    """A script, or the commands of one."""
    if not judge_command(text, ledger, member):
        _judge_steps(text, ledger, member)
    judge_installs(text, ledger, member)


def _judge_steps(text: str, ledger: Ledger, member: str) -> None:
    """A file that is fetched by one line and made a program, or run, by a later one."""
    if not ("curl" in text or "wget" in text or "ADD http" in text):
        return
    text = text[:_MOST_SEARCHED_CHARS]
    fetches = (
        *islice(_FETCHED_TO.finditer(text), _MOST_FETCHES),
        *islice(_FETCHED.finditer(text), _MOST_FETCHES),
    )
    for found in fetches:
        name = next(filter(None, found.groups()))
        target = re.escape(name.rsplit("/", 1)[-1])
        later = text[found.end() :]
        if re.search(
            rf"\bchmod\s+(?:\+x|[0-7]*7[0-7]*|[ugoa]*\+\w*x)\s[^\n]*{target}(?![\w.])", later
        ) or re.search(rf"(?:^|[;&|\s])(?:ba|z|da)?sh\s+\S*{target}(?![\w.])", later, re.MULTILINE):
            mild = Severity.MEDIUM if _is_installer(found.group() + later[:200].split("\n")[0]) else None
            words = f"fetches {name[:100]!r} and runs it"
            ledger.add("shell-fetch-and-run", words, member=member, severity=mild)
            return


def judge_installs(text: str, ledger: Ledger, member: str) -> None:
    """The packages that commands install, and where from."""
    if not any(word in text for word in ("install", "index", "INDEX", "registry")):
        return
    for address in _INDEX_OPTION.findall(text):
        judge_index(address, ledger, member)
    if "--trusted-host" in text or "PIP_TRUSTED_HOST" in text:
        ledger.add("requirement-index", "trusts a host without checking its certificate", member=member)
    for words in islice(_INSTALL.findall(text.replace("\\\n", " ")), _MOST_INSTALLS):
        skip = False
        for word in (one.strip("\"'`[]") for one in re.split(r"[\s,]+", words)):
            if skip or word.startswith("-"):
                skip = word in _TAKES_VALUE
            elif "://" in word:
                judge_address(word, ledger, member)
            elif found := _PACKAGE.match(word):
                judge_package(folded(found.group(1)), ledger, member)


def judge_options(words: str, ledger: Ledger, member: str) -> None:
    """The options of one line of requirements; pip takes the beginnings of their names, too."""
    for address in _INDEX_OPTION.findall(words):
        judge_index(address, ledger, member)
    for address in _REMOTE_LIST.findall(words):
        ledger.add("requirement-index", f"takes a list of packages from {address[:100]}", member=member)
    if re.match(r"--trust", words) or "--trusted-host" in words:
        ledger.add("requirement-index", "trusts a host without checking its certificate", member=member)
