"""Open sealed files: shared by their readers, closed with the last of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moongate.hub.handles import Handles


async def test_one_more_reader_of_what_is_open_until_it_is_given_up(tmp_path: Path) -> None:
    place = tmp_path / "content"
    place.write_bytes(b"content")
    handles: Handles[str] = Handles(lambda key: os.open(place, os.O_RDONLY) if key == "here" else None)
    assert handles.acquire("elsewhere") is None
    handle = handles.acquire("here")
    assert handle is not None
    handle.release()
    assert handle.again(), "nobody reads it, and it is still open"
    assert handle.users == 1
    handles.close()
    assert not handle.again()
    assert os.pread(handle.fd, 7, 0) == b"content", "its reader goes on"
    handle.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle.fd)
    again = handles.acquire("here")
    assert again is not None
    assert again is not handle
    again.release()
    handles.close()
