"""Restore points as files: which places are asked at all."""

from __future__ import annotations

import pytest

from engine import files
from engine.base import Unreachable


@pytest.mark.parametrize(
    "path",
    [
        "ftp://127.0.0.1:1/x",
        "http://127.0.0.1:1/x",
        "github://a:b@c/x",
        "zip:///etc/x",
        "reference:///x",
        "dir:///x",
        "simplecache::file:///x",
    ],
)
async def test_what_keeps_no_state_is_not_connected_to(path: str):
    with pytest.raises(Unreachable) as error:
        await files.is_complete(path)
    assert "keeps state" in error.value.message or "cannot read" in error.value.message


async def test_a_driver_that_is_not_there_is_said():
    with pytest.raises(Unreachable) as error:
        await files.is_complete("oss://bucket/x")
    assert "oss" in error.value.message
