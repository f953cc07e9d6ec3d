from __future__ import annotations

from ipaddress import ip_address

import pytest

from moongate.core.errors import UpstreamRefused
from moongate.upstream.addresses import is_public, normal_host


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("127.255.0.9", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.0.8", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("100::1", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("HuggingFace.co", "huggingface.co"),
        ("huggingface.co.", "huggingface.co"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("cdn_1.example", "cdn_1.example"),
        ("1.2.3.4", "1.2.3.4"),
        ("4.example", "4.example"),
    ],
)
def test_one_spelling(host: str, normal: str) -> None:
    assert normal_host(host) == normal


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5"),
        *(
            "017700000001",
            "0x7f.0x0.0x0.0x1",
            "127.0.0.0x1",
            "0x",
            "1.1.1.256",
            "fe80::1%eth0",
            "[::1",
            "::g",
        ),
        *("", ".", "a..b", "a b", "a/b", "a\r\nb", "ⓛocalhost", "１２７.0.0.1", "-a", "x" * 300),
    ],
)
def test_odd_spellings_are_refused(host: str) -> None:
    with pytest.raises(UpstreamRefused):
        normal_host(host)
