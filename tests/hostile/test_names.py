"""Names that mean to be something else: no spelling of a path leaves its repository, here or at upstream.

Every slot of every route is given every nasty piece. The law, for all of them: an answer of the Hub's kind or
a coded refusal, never a 5xx; nothing that upstream is asked climbs; no file that the caller may not have.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.front import SECRET_FILE, Front, is_coded
from support.raw import RawAnswer
from support.wire_talk import HungUp, WireTalk

pytestmark = pytest.mark.usefixtures("left_well")

CLIMBING = [
    "..", "%2e%2e", ".%2e", "%2E.", "..%2f..%2f..%2fetc%2fpasswd", "..%2F", "%2f..", "a%2f..%2fb",
    "../../etc/passwd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "./.", "%2e", ".%2f.", "config.json/..",
    "dir/../config.json", "dir%2f..%2fconfig.json",
]  # fmt: skip
BROKEN = [
    "%00", "config.json%00.txt", "%0d%0aX-Evil:%201", "%0a", "%7f", "%1b[2J", "%c0%ae%c0%ae", "%c0%af",
    "%e0%80%af", "%ff", "%fe%ff", "%ed%a0%80", "%ed%b0%80", "%f8%88%80%80%80", "%f4%90%80%80", "%80",
]  # fmt: skip
ODD = [
    "%", "%z", "%zz", "%u0041", "%2", "%252e%252e", "%25252e", "%252f", "%5c", "..%5c..%5cetc",
    "%5c%5chost%5cshare", "con", "nul.txt", "C:", "C:%5c", "file:%2f%2f%2fetc%2fpasswd",
    "http:%2f%2f127.0.0.1%2f", "@", "@{-1}", "~", "~root", "$(id)", "`id`", ";id", "|id", "*", "%2a", "?",
    "#", "%3f", "%23", "%20", "%20..", "..%20", "...", "..;", "%e2%80%ae", "%ef%bc%8e%ef%bc%8e",
    "%e2%88%95", "%f0%9f%92%a9", "-rf", "--upload-pack=id", ".git", ".git%2fconfig", ".lock", "x.lock",
    "a" * 300, "%61" * 300, "refs%2fheads%2f..", "HEAD", "ORIG_HEAD", "0" * 40, "f" * 64, "sha256:",
    "sha256:" + "0" * 64, "{{7*7}}", "%3cscript%3e", "'%20OR%201=1--", "\"", "<", "[", "]", "^", "|", "0",
    "-1", "null", "api", "v2", "models", "datasets", "spaces", "resolve", "raw", "tree", "info", "moongate",
    "",
]  # fmt: skip
PIECES = [*CLIMBING, *BROKEN, *ODD]
GOOD = [
    "acme", "tiny", "main", "config.json", "gated", "rows", "gpt0", "dir", "refs%2fpr%2f1", "dir/notes.txt",
]  # fmt: skip
ROUTES = [
    "/{}/{}/resolve/{}/{}", "/{}/resolve/{}/{}", "/{}/{}/raw/{}/{}", "/datasets/{}/{}/resolve/{}/{}",
    "/spaces/{}/{}/resolve/{}/{}", "/api/resolve-cache/models/{}/{}/{}/{}", "/api/models/{}/{}",
    "/api/models/{}", "/api/models/{}/{}/revision/{}", "/api/models/{}/{}/tree/{}/{}",
    "/api/models/{}/{}/tree/{}", "/api/models/{}/{}/treesize/{}/{}", "/api/models/{}/{}/commits/{}",
    "/api/models/{}/{}/refs", "/api/models/{}/{}/paths-info/{}", "/api/models/{}/{}/{}/{}",
    "/api/datasets/{}/{}/tree/{}/{}", "/api/models/{}/{}/xet-read-token/{}", "/api/models/{}/{}/auth-check",
    "/api/{}", "/api/{}/{}", "/{}.git/info/refs", "/{}/{}.git/info/refs?service={}",
    "/{}/{}.git/git-upload-pack", "/{}/{}.git/info/lfs/objects/{}", "/{}/{}.git/info/lfs/objects/batch",
    "/{}/{}.git/info/lfs/{}/{}", "/v2/{}/{}/manifests/{}", "/v2/{}/{}/blobs/{}", "/v2/{}", "/{}", "/{}/{}",
    "/{}/{}/{}", "//{}/{}", "/api/models?search={}", "/api/models?author={}&limit={}",
    "/api/moongate/v1/{}", "/api/moongate/{}/{}", "/api/moongate/v1/jobs/{}",
    "/api/moongate/v1/repos?repo={}", "/api/moongate/v1/failures?limit={}", "/healthz{}", "/metrics/{}",
    "/buckets/{}/{}", "/.well-known/{}",
]  # fmt: skip
OTHERS = [
    "/acme/tiny/resolve/main/{}", "/api/models/acme/tiny/commit/{}", "/api/models/acme/{}/tag/main",
    "/acme/tiny.git/info/lfs/{}/x", "/api/repos/{}",
]  # fmt: skip
OUR_OWN = ("/healthz", "/metrics", "/api/moongate")
FILE_OF_THE_MACHINE = b"root:x:0:0"


def ask_raw(talk: WireTalk, target: str, method: str = "GET") -> RawAnswer | None:
    body = "" if method in ("GET", "HEAD") else "Content-Length: 0\r\n"
    talk.say(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{body}\r\n".encode())
    try:
        return talk.hear(method)
    except HungUp:
        return None


def is_harmless(answer: RawAnswer, target: str) -> None:
    """The law. A 403 or 401 may only be upstream's word on a gated repository, or ours on the admin API."""
    assert answer.status < 500, (target, answer)
    assert "x-evil" not in answer.headers
    assert FILE_OF_THE_MACHINE not in answer.body, target
    assert SECRET_FILE not in answer.body, target
    if answer.status >= 400 and answer.headers.get("x-moongate-cache") != "pass":
        is_coded(answer)


def does_not_climb(front: Front) -> None:
    """What upstream was asked: decoded as often as anybody might, no segment is a dot segment."""
    for record in front.double.meters.requests():
        path = record.path
        assert not re.search(r"[\x00-\x20\x7f]", unquote(path).replace(" ", "")), record
        assert not any(part in (".", "..") for part in unquote(path).split("/")), record


@pytest.mark.parametrize("route", ROUTES)
def test_no_slot_of_any_route_can_be_abused(front: Front, route: str) -> None:
    front.double.meters.reset()
    slots = route.count("{}")
    talk = WireTalk(front.port)
    for slot in range(slots):
        for piece in PIECES:
            good = ["acme", "tiny", "main", "config.json"][:slots]
            target = route.format(*[piece if n == slot else word for n, word in enumerate(good)])
            answer = ask_raw(talk, target)
            if answer is None:
                talk.close()
                talk = WireTalk(front.port)
                answer = ask_raw(talk, target)
            assert answer is not None, target
            is_harmless(answer, target)
            path = target.partition("?")[0]
            if piece in (*CLIMBING, *BROKEN) and piece in path and not route.startswith(OUR_OWN):
                is_coded(answer, 400, 404)
    talk.close()
    does_not_climb(front)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("piece", [*CLIMBING, *BROKEN])
def test_other_methods_obey_the_same_law(front: Front, method: str, piece: str) -> None:
    front.double.meters.reset()
    with WireTalk(front.port) as talk:
        for route in OTHERS:
            answer = ask_raw(talk, route.format(piece), method)
            assert answer is not None
            assert answer.status in (400, 405), (route, answer)
            if method != "HEAD":
                is_coded(answer)
    assert not front.double.meters.requests()


pieces = st.one_of(
    st.sampled_from(PIECES),
    st.sampled_from(GOOD),
    st.binary(max_size=6).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw)),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), max_size=12),
)
targets = st.one_of(
    st.sampled_from(ROUTES).flatmap(
        lambda route: st.lists(pieces, min_size=route.count("{}"), max_size=route.count("{}")).map(
            lambda parts: route.format(*parts)
        )
    ),
    st.lists(pieces, max_size=9).map(lambda parts: "/" + "/".join(parts)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=targets, method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"]))
def test_no_path_at_all_breaks_it(front: Front, target: str, method: str) -> None:
    front.double.meters.reset()
    with WireTalk(front.port) as talk:
        answer = ask_raw(talk, target, method)
    assert answer is not None, target
    if method != "HEAD":
        is_harmless(answer, target)
    assert answer.status < 500, (target, answer)
    does_not_climb(front)
