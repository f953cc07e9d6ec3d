"""YARA rules as feeds bring them: text that is checked, and one compiled list of all that counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from moongate.core.errors import UpstreamBroken

MOST_RULE_BYTES: Final = 16 << 20
_RULE: Final = re.compile(r"^[^\S\n]*+(?:(?:private|global)\s+){0,2}rule\s+\w+", re.MULTILINE)
_INCLUDE: Final = re.compile(r'^[^\S\n]*+include\s+"', re.MULTILINE)


def read_rules(body: bytes) -> str:
    """The source of a list of rules.

    Raises:
        UpstreamBroken: it is not text, includes other files, holds no rule, or does not compile (where
            yara-x is installed).
    """
    if len(body) > MOST_RULE_BYTES:
        raise UpstreamBroken(f"the rules are longer than {MOST_RULE_BYTES >> 20} MiB")
    try:
        source = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UpstreamBroken("the rules are not text") from None
    if _INCLUDE.search(source):
        raise UpstreamBroken("the rules include other files, which is not allowed")
    if not _RULE.search(source):
        raise UpstreamBroken("there is no rule in it")
    compile_rules([("rules", source)])
    return source


def compile_rules(sources: Iterable[tuple[str, str]]) -> bytes | None:
    """All sources, each in a namespace of its own, as `yara_x.Rules.deserialize_from` reads them.

    None where yara-x is not installed.

    Raises:
        UpstreamBroken: one does not compile.
    """
    yara_x = _yara_x()
    if yara_x is None:
        return None
    compiler = yara_x.Compiler(includes_enabled=False)
    for namespace, source in sources:
        try:
            compiler.new_namespace(namespace)
            compiler.add_source(source)
        except (yara_x.CompileError, ValueError) as error:
            first = (str(error).strip().splitlines() or ["no words"])[0]
            raise UpstreamBroken(f"the rules of {namespace} do not compile: {first[:200]}") from None
    import io  # noqa: PLC0415

    held = io.BytesIO()
    compiler.build().serialize_into(held)
    return held.getvalue()


def _yara_x() -> Any:
    try:
        import yara_x  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError:
        return None
    return yara_x
