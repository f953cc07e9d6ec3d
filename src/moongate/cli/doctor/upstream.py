"""Is upstream there, is it a Hub, do our clocks agree, is our token good.

One request to the origin (two with a token), through the proxies that the environment names, redirects
not followed. Failures are told apart by where they happen: name, connection, certificate, answer.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import urlsplit

from moongate import __version__
from moongate.cli.doctor.finding import Finding
from moongate.cli.times import duration
from moongate.core.callers import Secret
from moongate.core.errors import MoongateError
from moongate.upstream.proxies import Proxies

SKEW_WARNING_SECONDS = 30.0
SKEW_FAILED_SECONDS = 300.0

_MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Probe:
    """One answer: status, headers in lower case, the body's start, how long it took, and when it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    at: float


def check_upstream(
    origin: str, token: Secret | None, environment: Mapping[str, str], timeout_seconds: float
) -> list[Finding]:
    """Everything we can learn about upstream with its front door."""
    try:
        probe = _ask(f"{origin}/api/models?limit=1", None, environment, timeout_seconds)
    except MoongateError as error:
        return [Finding("upstream", "failed", error.message, "correct HTTP_PROXY and HTTPS_PROXY")]
    except urllib.error.URLError as error:
        return [_unreachable(origin, error.reason)]
    except (OSError, http.client.HTTPException) as error:
        return [_unreachable(origin, error)]
    findings = [_judge_answer(origin, probe)]
    skew = judge_clock(probe.headers, probe.at)
    if skew is not None:
        findings.append(skew)
    if token is not None and findings[0].level != "failed":
        findings.append(_check_token(origin, token, environment, timeout_seconds))
    return findings


def check_gateway(
    url: str, token: Secret | None, environment: Mapping[str, str], timeout_seconds: float = 10.0
) -> list[Finding]:
    """A gateway seen from outside: alive, ready, and whether our token opens it."""
    try:
        alive = _ask(f"{url}/healthz", None, environment, timeout_seconds)
        ready = _ask(f"{url}/readyz", None, environment, timeout_seconds)
    except (OSError, http.client.HTTPException, MoongateError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        advice = "check MOONGATE_URL, and `moongate serve` on that machine"
        return [Finding("gateway", "failed", f"{url} cannot be reached: {reason}", advice)]
    if alive.status != 200:
        advice = "check MOONGATE_URL; it is the address the gateway prints when it starts"
        return [Finding("gateway", "failed", f"{url} answers {alive.status}, and not like a gateway", advice)]
    findings = [Finding("gateway", "ok", f"{url} is alive, answers in {alive.seconds * 1000:.0f} ms")]
    if ready.status != 200:
        words = f"it is not ready (status {ready.status}): it starts, stops, or lacks its index"
        findings.append(
            Finding("gateway", "failed", words, "its log says why; `moongate doctor` there says more")
        )
    skew = judge_clock(alive.headers, alive.at)
    if skew is not None:
        findings.append(
            Finding(skew.check, skew.level, skew.words.replace("upstream", "the gateway"), skew.advice)
        )
    if token is not None:
        findings.append(_check_own_token(url, token, environment, timeout_seconds))
    return findings


def judge_clock(headers: Mapping[str, str], now: float) -> Finding | None:
    """Our clock against the `Date` of an answer that may come from a cache (`Age`); None without a date."""
    try:
        theirs = parsedate_to_datetime(headers["date"]).timestamp()
        age = float(headers.get("age", "0"))
    except (KeyError, ValueError):
        return None
    skew = now - theirs - age
    words = f"{duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} upstream's"
    advice = "set the clock (systemd-timesyncd or chrony); signed URLs and tokens fail on a wrong one"
    if abs(skew) >= SKEW_FAILED_SECONDS:
        return Finding("clock", "failed", f"our clock is {words}", advice)
    if abs(skew) >= SKEW_WARNING_SECONDS:
        return Finding("clock", "warning", f"our clock is {words}", advice)
    return Finding("clock", "ok", "our clock agrees with upstream's")


def _judge_answer(origin: str, probe: Probe) -> Finding:
    took = f"{probe.seconds * 1000:.0f} ms"
    if probe.status == 200 and _is_list(probe.body):
        return Finding("upstream", "ok", f"{origin} answers in {took}")
    if probe.status == 407:
        return Finding(
            "upstream",
            "failed",
            "the proxy wants a name and password",
            "put them into HTTPS_PROXY: http://user:password@proxy:port",
        )
    if probe.status == 429:
        return Finding(
            "upstream",
            "warning",
            f"{origin} says 429: it is asked too often from here",
            "set MOONGATE_UPSTREAM_TOKEN: limits are wider for a known account",
        )
    if probe.status >= 500:
        return Finding(
            "upstream",
            "failed",
            f"{origin} answers {probe.status}",
            "it has trouble of its own; what is kept is served meanwhile",
        )
    if probe.status in (301, 302, 303, 307, 308):
        target = urlsplit(probe.headers.get("location", "")).netloc or "elsewhere"
        return Finding(
            "upstream",
            "failed",
            f"{origin} redirects its API to {target}",
            "set MOONGATE_UPSTREAM to the Hub itself; a captive portal also looks like this",
        )
    if probe.status in (401, 403):
        return Finding(
            "upstream",
            "warning",
            f"{origin} answers {probe.status} to its public list",
            "set MOONGATE_UPSTREAM_TOKEN if this Hub wants to know who asks",
        )
    return Finding(
        "upstream",
        "failed",
        f"{origin} answers {probe.status}, and not like a Hub",
        "check MOONGATE_UPSTREAM; it is the address of a Hub, without a path below it",
    )


def _check_token(
    origin: str, token: Secret, environment: Mapping[str, str], timeout_seconds: float
) -> Finding:
    try:
        probe = _ask(f"{origin}/api/whoami-v2", token, environment, timeout_seconds)
    except (OSError, http.client.HTTPException) as error:
        return Finding("upstream token", "warning", f"could not be tried: {error}")
    if probe.status == 200:
        return Finding("upstream token", "ok", f"good, and belongs to {_name(probe.body)}")
    if probe.status in (401, 403):
        return Finding(
            "upstream token",
            "failed",
            "upstream does not accept it",
            "make a new read token at upstream and set MOONGATE_UPSTREAM_TOKEN",
        )
    return Finding("upstream token", "warning", f"could not be tried: upstream answers {probe.status}")


def _check_own_token(
    url: str, token: Secret, environment: Mapping[str, str], timeout_seconds: float
) -> Finding:
    try:
        probe = _ask(f"{url}/api/whoami-v2", token, environment, timeout_seconds)
    except (OSError, http.client.HTTPException) as error:
        return Finding("token", "warning", f"could not be tried: {error}")
    if probe.status == 200:
        return Finding("token", "ok", f"MOONGATE_TOKEN is good, and belongs to {_name(probe.body)}")
    advice = "`moongate token create` on the gateway's machine makes a new one"
    return Finding("token", "failed", f"the gateway does not accept MOONGATE_TOKEN ({probe.status})", advice)


def _unreachable(origin: str, reason: object) -> Finding:
    host = urlsplit(origin).hostname or origin
    match reason:
        case socket.gaierror():
            words, advice = f"the name {host} is not known here", "check DNS, and MOONGATE_UPSTREAM"
        case ssl.SSLCertVerificationError():
            words = f"the certificate of {host} is not trusted: {reason.verify_message}"
            advice = "behind a company proxy, set SSL_CERT_FILE to a bundle with the company's authority"
        case TimeoutError():
            words, advice = f"{origin} does not answer in time", "check firewall and HTTPS_PROXY"
        case ConnectionRefusedError():
            words, advice = f"nobody listens at {origin}", "check MOONGATE_UPSTREAM, and whether it is up"
        case _:
            words, advice = f"{origin} cannot be reached: {reason}", "check network, firewall and HTTPS_PROXY"
    return Finding("upstream", "failed", words, advice + "; `moongate serve --offline` never asks")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        return None


def _ask(url: str, token: Secret | None, environment: Mapping[str, str], timeout_seconds: float) -> Probe:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxy = Proxies(environment).choose(parts.scheme, (parts.hostname or "").lower(), port)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({parts.scheme: proxy.url} if proxy else {}), _NoRedirects()
    )
    request = urllib.request.Request(url, headers={"User-Agent": f"moongate/{__version__}"})  # noqa: S310
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token.reveal()}")
    if proxy is not None and proxy.authorization is not None:
        request.add_unredirected_header("Proxy-Authorization", proxy.authorization.reveal())
    started = time.monotonic()
    try:
        answer = opener.open(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        body = answer.read(_MAX_BODY_BYTES)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Probe(answer.status or 0, headers, body, time.monotonic() - started, time.time())


def _is_list(body: bytes) -> bool:
    return body.lstrip()[:1] == b"["


def _name(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return "somebody"
    return str(answer.get("name", "somebody")) if isinstance(answer, dict) else "somebody"
