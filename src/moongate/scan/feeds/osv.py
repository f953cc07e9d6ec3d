"""OSV: the advisories of an ecosystem in one zip, and which of them cover a required package.

A version is affected when it is listed, or lies in one of the ranges; a range runs from `introduced` to
before `fixed`, or to `last_affected`. Withdrawn advisories and ranges of git commits are left out.
Source: the OSV schema 1.x, "evaluation".
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from moongate.core.errors import UpstreamBroken
from moongate.core.feeds import Advisory
from moongate.scan.feeds.words import ZIP_TROUBLE, json_of, label_of, list_of, object_of

_MOST_MEMBERS: Final = 1_000_000
_MOST_MEMBER_BYTES: Final = 16 << 20
_MOST_BYTES: Final = 4 << 30
_MOST_REQUIREMENTS: Final = 2000


def read_advisories(body: bytes) -> Iterator[Advisory]:
    """The advisories of an all.zip, one for each package that each of them names.

    Raises:
        UpstreamBroken: it is no zip of advisories, or larger than any is.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except ZIP_TROUBLE:
        raise UpstreamBroken("the advisories are not a zip") from None
    members = [one for one in archive.infolist() if one.filename.endswith(".json")]
    if len(members) > _MOST_MEMBERS or sum(one.file_size for one in members) > _MOST_BYTES:
        raise UpstreamBroken("the advisories are more than any ecosystem has")
    for member in members:
        if member.file_size > _MOST_MEMBER_BYTES:
            raise UpstreamBroken(f"an advisory is longer than {_MOST_MEMBER_BYTES >> 20} MiB")
        try:
            with archive.open(member) as opened:
                text = opened.read(_MOST_MEMBER_BYTES + 1)
        except ZIP_TROUBLE:
            raise UpstreamBroken("the zip of advisories is damaged") from None
        yield from read_advisory(object_of(json_of(text, "an advisory"), "an advisory"))


def read_advisory(told: Mapping[str, Any]) -> Iterator[Advisory]:
    """One advisory, for each package that it names."""
    name = told.get("id")
    if not isinstance(name, str) or told.get("withdrawn"):
        return
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for affected in list_of(told.get("affected")):
        package = affected.get("package") if isinstance(affected, dict) else None
        if not isinstance(package, dict) or not isinstance(package.get("name"), str):
            continue
        ecosystem = str(package.get("ecosystem", "")).partition(":")[0]
        held = merged.setdefault(
            (ecosystem, _normal(ecosystem, package["name"])), {"versions": [], "ranges": []}
        )
        held["versions"] += [str(one)[:100] for one in list_of(affected.get("versions"))]
        held["ranges"] += _ranges(affected)
    for (ecosystem, package), held in merged.items():
        held["summary"] = label_of(told.get("summary"), told.get("details"))
        held["aliases"] = [str(alias)[:100] for alias in list_of(told.get("aliases"))[:20]]
        yield Advisory(ecosystem, package, name[:100], held)


def _ranges(affected: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each range as (introduced, fixed, last_affected); empty texts where there is no such end."""
    for told in list_of(affected.get("ranges")):
        if not isinstance(told, dict) or told.get("type") not in ("ECOSYSTEM", "SEMVER"):
            continue
        begin: str | None = None
        for event in list_of(told.get("events")):
            if not isinstance(event, dict):
                continue
            if "introduced" in event:
                begin = str(event["introduced"])[:100]
            elif begin is not None and ("fixed" in event or "last_affected" in event):
                yield begin, str(event.get("fixed", ""))[:100], str(event.get("last_affected", ""))[:100]
                begin = None
        if begin is not None:
            yield begin, "", ""


def wanted(requirements: str) -> list[tuple[str, str]]:
    """Name and exact version of each package that a requirements.txt asks for; no version: any will do."""
    found: list[tuple[str, str]] = []
    for line in requirements.replace("\\\n", " ").splitlines():
        text = line.split(" #")[0].split(" --")[0].strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        exact = [one.version for one in requirement.specifier if one.operator in ("==", "===")]
        version = exact[0] if exact and not exact[0].endswith(".*") else ""
        found.append((canonicalize_name(requirement.name), version))
        if len(found) >= _MOST_REQUIREMENTS:
            break
    return found


def covers(told: Mapping[str, Any], version: str) -> bool:
    """Whether an advisory covers this version; without one, whether it covers every version there is."""
    if not version:
        return any(begin in ("", "0") and not fixed and not last for begin, fixed, last in _told_ranges(told))
    versions = told.get("versions")
    if isinstance(versions, Sequence) and version in versions:
        return True
    parsed = _version(version)
    if parsed is None:
        return False
    if isinstance(versions, Sequence) and any(_version(str(one)) == parsed for one in versions):
        return True
    return any(_within(parsed, *bounds) for bounds in _told_ranges(told))


def fixed_in(told: Mapping[str, Any], version: str) -> str:
    """The first version after this one that the advisory calls fixed."""
    parsed = _version(version) or Version("0")
    fixes = [(_version(fixed), fixed) for _, fixed, _ in _told_ranges(told) if fixed]
    later = [(number, fixed) for number, fixed in fixes if number is not None and number > parsed]
    return min(later)[1] if later else ""


def _told_ranges(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for bounds in list_of(told.get("ranges")):
        if isinstance(bounds, list | tuple) and len(bounds) == 3:
            yield str(bounds[0]), str(bounds[1]), str(bounds[2])


def _within(version: Version, begin: str, fixed: str, last: str) -> bool:
    lowest = Version("0") if begin in ("", "0") else _version(begin)
    if lowest is None or (begin not in ("", "0") and version < lowest):
        return False
    if fixed:
        end = _version(fixed)
        return end is not None and version < end
    if last:
        end = _version(last)
        return end is not None and version <= end
    return True


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _normal(ecosystem: str, name: str) -> str:
    return str(canonicalize_name(name)) if ecosystem == "PyPI" else name[:200]
