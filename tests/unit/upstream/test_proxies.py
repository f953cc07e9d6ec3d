from __future__ import annotations

import base64

import pytest

from moongate.core.errors import UpstreamRefused
from moongate.upstream.proxies import Proxies, Proxy

HTTPS = {"HTTPS_PROXY": "http://proxy.corp:3128"}


def test_an_environment_without_proxies() -> None:
    assert Proxies({}).choose("https", "huggingface.co", 443) is None


def test_each_scheme_has_its_own() -> None:
    proxies = Proxies({"https_proxy": "proxy.corp:3128", "HTTP_PROXY": "http://other.corp"})
    assert proxies.choose("https", "huggingface.co", 443) == Proxy("proxy.corp", 3128)
    assert proxies.choose("http", "hub.corp", 80) == Proxy("other.corp", 80)


@pytest.mark.parametrize(
    ("rule", "host", "around"),
    [
        ("*", "huggingface.co", True),
        ("huggingface.co", "huggingface.co", True),
        (".hf.co", "us.aws.cdn.hf.co", True),
        ("hf.co", "us.aws.cdn.hf.co", True),
        ("*.hf.co", "us.aws.cdn.hf.co", True),
        ("f.co", "hf.co", False),
        ("huggingface.co:443", "huggingface.co", True),
        ("huggingface.co:8443", "huggingface.co", False),
        ("other.example, 8.8.0.0/16", "8.8.8.8", True),
        ("8.9.0.0/16,nonsense/99", "8.8.8.8", False),
        ("", "huggingface.co", False),
    ],
)
def test_hosts_that_go_around(rule: str, host: str, around: bool) -> None:
    chosen = Proxies({**HTTPS, "NO_PROXY": rule}).choose("https", host, 443)
    assert (chosen is None) is around


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "10.0.0.1", "192.168.1.1"])
def test_what_is_near_is_never_asked_for_through_a_proxy(host: str) -> None:
    assert Proxies(HTTPS).choose("https", host, 443) is None


def test_a_password_is_kept_out_of_sight() -> None:
    proxies = Proxies({"HTTPS_PROXY": "http://me:p%40ss@proxy.corp:3128"})
    proxy = proxies.choose("https", "huggingface.co", 443)
    assert proxy is not None
    assert proxy.url == "http://proxy.corp:3128"
    assert "ss" not in repr(proxy)
    assert proxy.authorization is not None
    assert proxy.authorization.reveal() == "Basic " + base64.b64encode(b"me:p@ss").decode()


@pytest.mark.parametrize(
    "url", ["socks5://proxy:1080", "https://proxy", "http://:1", "http://a b", "http://p:99999"]
)
def test_proxies_that_we_cannot_use(url: str) -> None:
    with pytest.raises(UpstreamRefused, match="proxy"):
        Proxies({"HTTPS_PROXY": url})
