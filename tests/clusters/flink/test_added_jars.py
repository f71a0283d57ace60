"""Jars that a Python program adds by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.flink.added_jars import absent


@pytest.mark.parametrize(
    ("text", "jars"),
    [
        ('env.add_jars("file:///path/to/kafka.jar")', ["file:///path/to/kafka.jar"]),
        ('env.add_jars("file://{here}", "file:///b%20c.jar")', ["file:///b%20c.jar"]),
        ('# env.add_jars("file:///path/to/kafka.jar")', []),
        ('env.add_jars(*found); env.add_jars("https://a/b.jar"); add_jars("file:///a.jar")', []),
        ("this is no Python", []),
    ],
)
def test_those_that_are_not_there(tmp_path: Path, text: str, jars: list[str]):
    there = tmp_path / "there.jar"
    there.touch()
    (tmp_path / "job.py").write_text(text.replace("{here}", str(there)))
    assert absent(tmp_path, "job.py") == jars


def test_a_module_has_no_file_to_look_into(tmp_path: Path):
    assert absent(tmp_path, None) == []
