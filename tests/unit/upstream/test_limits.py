from __future__ import annotations

import pytest

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamBusy
from moongate.upstream.limits import Limits, bucket_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_kinds_of_request_and_tokens_are_counted_apart() -> None:
    secret = Secret("hf_secret")
    names = [
        bucket_of("/api/models/a/b?x=/resolve/", None),
        bucket_of("/a/b/resolve/main/x", None),
        bucket_of("/a/b", None),
        bucket_of("/api/models/a/b", secret),
    ]
    assert len(set(names)) == 4
    assert bucket_of("/api/resolve-cache/models/a/b/c/d", None) == names[1]
    assert bucket_of("/api/datasets", None) == names[0]
    assert "hf_secret" not in "".join(names)


async def test_a_closed_bucket_opens_when_its_time_is_up() -> None:
    clock = Clock()
    limits = Limits(clock)
    await limits.wait("api")
    limits.close("api", 30)
    limits.close("api", 5)
    with pytest.raises(UpstreamBusy) as caught:
        await limits.wait("api")
    assert caught.value.retry_after_seconds == 30
    await limits.wait("pages")
    clock.now += 30
    await limits.wait("api")
    assert limits.remaining_seconds("api") == 0
