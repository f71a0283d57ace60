"""Both ways to say where a cluster is: the fields that the API has had from the beginning, and the shape of a kind."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from api.clusters import router
from api.clusters.schemas import ClusterOut, ClusterPatch, NewCluster
from api.security import EVERYBODY
from core.errors import Conflict, InvalidInput
from tests.simulation.world import World, collect

COMMON = {"flink_version": "2.3.0", "state_dir": "file:///s"}
Change = Callable[..., Awaitable[ClusterOut]]


@pytest.fixture(scope="module", autouse=True)
def _worlds() -> Iterator[None]:
    """What worlds have left is collected when all tests are over: they turn the collector off."""
    yield
    collect()
    gc.unfreeze()
    gc.enable()


CALLER = EVERYBODY


def play(story: Callable[[Change, Change], Awaitable[None]]) -> None:
    """`story` is given what registers a cluster, and what changes one."""

    async def told(world: World) -> None:
        async def register(name: str, **fields: Any) -> ClusterOut:
            new = NewCluster.model_validate({"name": name, **COMMON, **fields})
            return await world.ask(lambda services: router.create_cluster(new, services))

        async def change(name: str, **fields: Any) -> ClusterOut:
            changes = ClusterPatch.model_validate(fields)
            return await world.ask(lambda services: router.patch_cluster(name, changes, services, CALLER))

        await story(register, change)

    world = World("addresses", calm=True)
    world.run(told)


@pytest.mark.parametrize(
    "fields", [{"address": {"host": "m-1"}}, {"jobmanager_url": "host://m-1"}], ids=["by its shape", "as before"]
)
def test_a_machine(fields: dict[str, Any]):
    async def story(register: Change, change: Change) -> None:
        shown = await register("machine", kind="processes", **fields)
        assert (shown.address, shown.jobmanager_url) == ({"host": "m-1"}, "host://m-1")
        assert (await change("machine", address={"host": "m-2"})).jobmanager_url == "host://m-2"
        assert (await change("machine", jobmanager_url="host://m-3")).address == {"host": "m-3"}
        for wrong in ({"jobmanager_url": "http://a"}, {"gateway_url": "http://g"}, {"address": {"url": "x"}}):
            with pytest.raises(InvalidInput):
                await change("machine", **wrong)
        assert (await change("machine", config={})).address == {"host": "m-3"}

    play(story)


def test_a_machine_is_the_apis_own_by_default():
    async def story(register: Change, change: Change) -> None:
        shown = await register("machine", kind="processes")
        assert shown.jobmanager_url == f"host://{shown.address['host']}"

    play(story)


def test_a_session_cluster():
    async def story(register: Change, change: Change) -> None:
        shape = {"jobmanager_url": "http://jm:1", "gateway_url": "http://g:1", "standby_urls": ["http://s:1"]}
        whole = {**shape, "gateway_urls": []}
        assert (await register("flat", **shape)).address == whole
        shown = await register("shaped", address=shape)
        assert shown.address == whole
        assert {name: getattr(shown, name) for name in whole} == whole
        assert (await change("shaped", gateway_url=None)).address == {**whole, "gateway_url": None}
        assert (await change("shaped", gateway_urls=["http://h:1"])).address["standby_urls"] == ["http://s:1"]
        assert (await change("shaped", address={"jobmanager_url": "http://x:1"})).standby_urls == []
        with pytest.raises(InvalidInput):
            await change("shaped", address={"jobmanager_url": "http://x:1"}, gateway_url="http://g:1")

    play(story)


def test_a_flink_that_is_known_by_another_name_is_refused_either_way():
    async def story(register: Change, change: Change) -> None:
        await register("a-flink", jobmanager_url="http://flink-a:8081", force=True)
        with pytest.raises(Conflict) as refused:
            await register("again", address={"jobmanager_url": "http://flink-a:8081"})
        assert refused.value.code == "cluster_known"
        assert "http://flink-a:8081" in refused.value.message

    play(story)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "yarn"},
        {"kind": "flink-session"},
        {"kind": "flink-session", "jobmanager_url": "host://m"},
        {"kind": "flink-session", "address": {"host": "m"}},
        {"kind": "processes", "jobmanager_url": "http://a"},
        {"kind": "processes", "gateway_url": "http://g"},
        {"kind": "processes", "jobmanager_url": "host://m", "address": {"host": "m"}},
        {"kind": "processes", "address": {}},
    ],
)
def test_what_is_no_address_of_the_kind_is_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        NewCluster.model_validate({"name": "c", **COMMON, **fields})
