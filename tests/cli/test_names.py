"""What is a name, and what is an id."""

from __future__ import annotations

import uuid

import pytest

from cli.commands import named, ref
from core.names import is_job_id


def test_an_id_is_one():
    assert is_job_id(str(uuid.uuid4()))


@pytest.mark.parametrize("name", ["", "clicks", "a-name-of-36-characters-like-no-other", "x" * 36, "0" * 32])
def test_a_name_is_none(name: str):
    """Of 36 characters and four dashes it was taken for one by the command line."""
    assert not is_job_id(name)
    assert ref(name) == f"default:{name}"
    assert named(name) == ("default", name)


def test_a_job_that_is_to_be_made_is_named_whatever_its_name_looks_like():
    given = str(uuid.uuid4())
    assert ref(given) == given
    assert named(given) == ("default", given)
    assert named("sales:clicks") == ("sales", "clicks")
