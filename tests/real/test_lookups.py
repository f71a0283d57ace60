"""Rows in the place of a table that is looked up. `test_session_clusters.py` has the same on Flink 1.20."""

from __future__ import annotations

from pathlib import Path

from tests.real.conftest import Stack
from tests.real.lookups import EXPECTED, found


def test_keys_of_every_type_with_every_hint(stack: Stack, tmp_path: Path):
    assert found(stack, stack.local.stack.flink_version, tmp_path) == EXPECTED
