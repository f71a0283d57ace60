"""What each kind of cluster is: its address, what it can do, and who may ask for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from clusters.flink.session import FlinkSession
from clusters.local.hosted import HostedClusters
from clusters.protocol import (
    Checkpoints,
    Engine,
    Failures,
    HostsClusters,
    Identified,
    Logs,
    Metrics,
    Outputs,
    Savepoints,
    SharedByPrograms,
    SqlSessions,
    SqlWorkbench,
    Unreachable,
)
from clusters.registry import KINDS, Engines, address_of, columns_of, kind_of
from core.errors import InvalidInput
from core.specs import JobType
from settings import Settings
from store.tables import Cluster

ROOT = Path(__file__).resolve().parents[2]
TOLD = {Metrics, Failures, Logs, Outputs}
STATE = {Savepoints, Checkpoints, *TOLD, SharedByPrograms, Identified, SqlSessions, SqlWorkbench}


def cluster(kind: str, **more: Any) -> Cluster:
    given = {"name": "c", "jobmanager_url": "http://a", "flink_version": "2.3.0", "config": {}, **more}
    return Cluster(kind=kind, **given)


@pytest.mark.parametrize(("kind", "can"), [("flink-session", STATE), ("processes", {HostsClusters, Logs})])
def test_what_a_kind_can_do_is_what_its_adapter_is(kind: str, can: set[type]):
    assert KINDS[kind].capabilities == can


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_an_adapter_has_no_method_of_a_capability_that_it_does_not_claim(kind: Any):
    """A stub that raises would be one."""
    claimed = {name for capability in (Engine, *kind.capabilities) for name in vars(capability)}
    for capability in STATE | {HostsClusters}:
        if not kind.can(capability):
            assert not [n for n in vars(capability) if n in vars(kind.engine) and n not in claimed and n[0] != "_"]


def test_each_job_type_has_a_kind_to_run_on():
    assert {type_ for kind in KINDS.values() for type_ in kind.job_types} == set(get_args(JobType))


@pytest.mark.parametrize(
    ("kind", "flat", "shape"),
    [
        ("flink-session", {"jobmanager_url": "http://a:1"}, {"jobmanager_url": "http://a:1"}),
        (
            "flink-session",
            {"jobmanager_url": "http://a", "standby_urls": ["http://b"], "gateway_url": "http://g"},
            {"jobmanager_url": "http://a", "standby_urls": ["http://b"], "gateway_url": "http://g"},
        ),
        ("processes", {"jobmanager_url": "host://m"}, {"host": "m"}),
    ],
)
def test_both_ways_to_give_an_address_are_one(kind: str, flat: dict[str, Any], shape: dict[str, Any]):
    given = KINDS[kind].address.from_flat(kind, flat)
    assert given == KINDS[kind].address.of(shape)
    assert address_of(cluster(kind, **columns_of(given))) == given
    assert {k: v for k, v in columns_of(given).items() if k in flat} == flat


@pytest.mark.parametrize(
    ("kind", "flat", "code"),
    [
        ("flink-session", {"jobmanager_url": "host://m"}, "bad_address"),
        ("flink-session", {}, "bad_address"),
        ("processes", {"jobmanager_url": "http://a"}, "bad_address"),
        ("processes", {"jobmanager_url": "host://m", "gateway_url": "http://g"}, "field_unused"),
    ],
)
def test_an_address_of_another_kind_is_refused(kind: str, flat: dict[str, Any], code: str):
    with pytest.raises(InvalidInput) as refused:
        KINDS[kind].address.from_flat(kind, flat)
    assert refused.value.code == code


@pytest.mark.parametrize("shape", [{"host": "a/b"}, {"host": ""}, {}, {"host": "m", "port": 1}])
def test_a_shape_is_checked(shape: dict[str, Any]):
    with pytest.raises(InvalidInput) as refused:
        KINDS["processes"].address.of(shape)
    assert refused.value.code == "bad_address"
    assert str(refused.value.field).startswith("address")


async def test_each_cluster_is_spoken_to_by_its_kind():
    engines = Engines(Settings())
    assert isinstance(engines.get(cluster("flink-session")), FlinkSession)
    machine = cluster("processes", name="m", jobmanager_url="host://m")
    assert isinstance(engines.get(machine), HostedClusters)
    for door in (engines.compiler, engines.workbench):
        assert isinstance(door(cluster("flink-session")), SqlSessions)
        with pytest.raises(InvalidInput) as refused:
            door(machine)
        assert refused.value.code == "wrong_cluster_kind"
    await engines.close()


def test_a_kind_of_a_later_version_cannot_be_asked():
    with pytest.raises(Unreachable):
        kind_of(cluster("yarn"))


def above_the_protocol() -> Iterator[tuple[Path, ast.AST]]:
    """Every piece of code outside of `clusters/`."""
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts
        if room[0] not in ("tests", "benchmarks", "clusters") and "migrations" not in room:
            yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())))


def test_nobody_above_makes_a_handle_of_a_flink_job_id():
    """Only the adapter knows which belongs to which."""
    same = []
    for path, node in above_the_protocol():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Ref":
            flink_job_id, handle = node.args
            if ast.dump(flink_job_id) == ast.dump(handle):
                same.append(f"{path}:{node.lineno}")
    assert same == []


def test_nobody_above_compares_kinds():
    """Questions about a kind are put to the registry; its name is for people and for the row."""
    names = set(KINDS)
    asking = []
    for path, node in above_the_protocol():
        if isinstance(node, ast.Compare):
            compared = [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)]
            if names.intersection(value for value in compared if isinstance(value, str)):
                asking.append(f"{path}:{node.lineno}")
    assert asking == []
