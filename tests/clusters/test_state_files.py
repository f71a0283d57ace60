"""Restore points as files: which places are asked at all."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from clusters import state_files
from clusters.protocol import Unreachable


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
        await state_files.is_complete(path)
    assert "keeps state" in error.value.message or "cannot read" in error.value.message


async def test_a_driver_that_is_not_there_is_said():
    with pytest.raises(Unreachable) as error:
        await state_files.is_complete("oss://bucket/x")
    assert "oss" in error.value.message


async def test_the_number_of_a_point_is_in_the_head_of_its_metadata(tmp_path: Path):
    (tmp_path / "_metadata").write_bytes(struct.pack(">IIq", 0x4960672D, 6, 41) + b"states")
    assert await state_files.number_of(str(tmp_path)) == 41


@pytest.mark.parametrize("content", [b"", b"short", b"something else, of some length"])
async def test_what_is_no_metadata_of_flink_tells_no_number(tmp_path: Path, content: bytes):
    (tmp_path / "_metadata").write_bytes(content)
    assert await state_files.number_of(str(tmp_path)) is None


async def test_a_number_that_cannot_be_read_is_not_none(tmp_path: Path):
    with pytest.raises(Unreachable):
        await state_files.number_of(str(tmp_path))
