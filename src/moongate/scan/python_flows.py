"""Finds what a source sends away of whoever runs it: secrets, through names, into requests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from moongate.scan.python_names import Names

_SENDS = re.compile(
    r"(?:requests|httpx|aiohttp|urllib3)(?:\.\w+)*\.(?:post|put|request|get|patch|urlopen|head)\Z|"
    r"urllib\.request\.\w+\Z|http\.client\.\w+\Z|smtplib\.\w+\Z|ftplib\.\w+\Z|"
    r"socket\.(?:gethostbyname(?:_ex)?|getaddrinfo)\Z"
)
_OWN_SECRET = re.compile(
    r"(?:HF|HUGGING\w*)_(?:API_)?(?:TOKEN|KEY)\w*|HUGGINGFACEHUB\w*|AWS_(?:SECRET|SESSION|ACCESS)\w*|"
    r"(?:GITHUB|GH|GITLAB|NPM|PYPI)_(?:PAT|TOKEN)|SSH_\w+|GOOGLE_APPLICATION_CREDENTIALS|KUBECONFIG|WANDB_API_KEY"
)
_TOKENS = re.compile(r"(?:huggingface_hub|transformers)(?:\.\w+)*\.(?:get_token|get_token_to_send)\Z")
_HOSTS = (
    "huggingface.co", "hf.co", "hf.space", "huggingface.tech", "github.com", "githubusercontent.com",
    "gitlab.com", "amazonaws.com", "googleapis.com", "wandb.ai", "localhost", "127.0.0.1", "0.0.0.0",  # noqa: S104
)  # fmt: skip
_KEPT_APART = frozenset(("headers", "auth", "cookies", "timeout", "proxies", "cert", "verify"))


def sent_secrets(nodes: Sequence[ast.AST], names: Names) -> Iterator[tuple[ast.Call, str, str]]:
    """Requests that carry a secret in their address or body: the call, what is sent, by what."""
    tainted = _tainted(nodes, names)
    for node in nodes:
        if not isinstance(node, ast.Call) or not _SENDS.match(sender := names.name(node.func)):
            continue
        payload = [*node.args, *(word.value for word in node.keywords if word.arg not in _KEPT_APART)]
        if _goes_home(payload, names):
            continue
        for part in payload:
            if secret := _secret_in(part, names, tainted):
                yield node, secret, sender
                break


def _tainted(nodes: Sequence[ast.AST], names: Names) -> dict[str, str]:
    """The names that hold a secret, and what it is."""
    tainted: dict[str, str] = {}
    for _ in range(3):
        before = len(tainted)
        for node in nodes:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=target)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
                ):
                    if secret := _secret_in(value, names, tainted):
                        tainted.setdefault(target, secret)
        if len(tainted) == before:
            break
    return tainted


def _secret_in(node: ast.AST, names: Names, tainted: dict[str, str]) -> str:
    whole = ""
    stack: list[ast.AST] = [node]
    while stack:
        one = stack.pop()
        match one:
            case ast.Name(id=shown) if shown in tainted:
                return tainted[shown]
            case ast.Subscript(value=inner, slice=index) if names.name(inner) == "os.environ":
                if _OWN_SECRET.match(names.constant(index) or ""):
                    return str(names.constant(index))
                continue
            case ast.Call(func=function, args=arguments):
                name = names.name(function)
                if _TOKENS.match(name):
                    return "the token of the Hub"
                if name in {"os.getenv", "os.environ.get", "os.environ.pop"}:
                    key = names.constant(arguments[0]) if arguments else None
                    if key and _OWN_SECRET.match(key):
                        return key
                    continue
                if _SENDS.match(name):
                    continue
            case ast.Attribute() | ast.Name() if names.name(one) == "os.environ":
                whole = "the whole environment"
        stack.extend(ast.iter_child_nodes(one))
    return whole


def _goes_home(payload: Sequence[ast.expr], names: Names) -> bool:
    """Whether the address is one that those secrets are for."""
    for part in payload:
        address = names.constant(part)
        if address is None and isinstance(part, ast.JoinedStr | ast.BinOp):
            address = _beginning(part, names)
        if address and "://" in address:
            host = urlsplit(address).hostname or ""
            return any(host == known or host.endswith("." + known) for known in _HOSTS)
    return False


def _beginning(node: ast.AST, names: Names) -> str:
    """The text that a put-together text begins with."""
    match node:
        case ast.JoinedStr(values=[first, *_]):
            return names.constant(first) or ""
        case ast.BinOp(left=left):
            return names.constant(left) or _beginning(left, names)
    return ""
