"""What each type of job is like."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

from core.jobs.types import TYPES, traits
from core.specs import JobSpec, JobType

ROOT = Path(__file__).resolve().parents[3]
MAKES_PROGRAMS = {"activities/programs.py"}
"""Where the program of an attempt is made of its spec, which is another thing for each type."""


def test_each_type_that_may_be_created_has_traits():
    assert set(TYPES) == set(get_args(JobType))


@pytest.mark.parametrize("spec", get_args(get_args(JobSpec)[0]), ids=lambda spec: spec.__name__)
def test_what_is_built_is_what_has_a_place_in_git(spec: type):
    (name,) = get_args(spec.model_fields["type"].annotation)
    assert traits(name).is_built == ("git" in spec.model_fields)


def test_a_cluster_has_no_state_of_its_own():
    assert not any(type_.keeps_state and type_.runs_cluster for type_ in TYPES.values())


def test_nobody_asks_for_a_type_by_its_name():
    asking = set()
    for path in ROOT.rglob("*.py"):
        where = path.relative_to(ROOT)
        if where.parts[0] not in ("tests", "benchmarks") and any(map(_asks, ast.walk(ast.parse(path.read_text())))):
            asking.add(str(where))
    assert asking <= MAKES_PROGRAMS


def _asks(node: ast.AST) -> bool:
    """Whether this compares something called `type` with the name of a type of job."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    words = {leaf.value for side in sides for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)}
    of_type = any(isinstance(side, ast.Attribute) and side.attr in ("type", "type_") for side in sides)
    return (of_type or "type" in words) and bool(words & set(TYPES))
