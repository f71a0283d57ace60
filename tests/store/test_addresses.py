"""Addresses of clusters in the database: in the shape of their kind, and as older versions wrote and read them."""

from __future__ import annotations

from sqlalchemy import select, text

from clusters.flink.kind import RestAddress
from clusters.local.kind import HostAddress
from clusters.registry import address_of, columns_of
from store import clusters
from store.database import Database
from store.migrate import upgrade
from store.tables import Cluster
from tests.store.test_paths import downgrade
from tests.store.test_store import T0

REST = RestAddress(
    jobmanager_url="http://jm:8081",
    standby_urls=["http://standby:8081"],
    gateway_url="http://gateway:8083",
    gateway_urls=["http://other:8083"],
)
HOST = HostAddress(host="worker-1")


def row(name: str, kind: str, address: RestAddress | HostAddress) -> Cluster:
    more = {"flink_version": "2.3.0", "state_dir": "file:///s", "config": {}, "created_at": T0}
    return Cluster(name=name, kind=kind, **columns_of(address), **more)


async def both(database: Database) -> None:
    async with database.write() as session:
        session.add_all([row("flink", "flink-session", REST), row("machine", "processes", HOST)])


async def read(database: Database) -> list[RestAddress | HostAddress]:
    async with database.read() as session:
        return [address_of(found) for found in await session.scalars(select(Cluster).order_by(Cluster.name))]


async def test_what_is_written_is_read(database: Database):
    await both(database)
    assert await read(database) == [REST, HOST]
    async with database.read() as session:
        machine = await session.get(Cluster, "machine")
        assert machine is not None
        assert machine.address == {"host": "worker-1"}
        assert machine.jobmanager_url == "host://worker-1", "what a process of the version before looks for"


async def test_what_was_there_before_the_upgrade_has_the_address_that_it_had(database: Database):
    await both(database)
    await downgrade(database, "0008")
    await upgrade(database)
    assert await read(database) == [REST, HOST]
    async with database.read() as session:
        stored = await session.execute(text("SELECT address FROM clusters WHERE name = 'machine'"))
        assert "worker-1" in str(stored.scalar_one())


async def test_what_a_process_of_the_version_before_registers_meanwhile_is_found(database: Database):
    insert = (
        "INSERT INTO clusters (name, kind, jobmanager_url, flink_version, state_dir, config, created_at)"
        " VALUES ('{}', '{}', '{}', '2.3.0', 's', '{{}}', '2026-01-01 00:00:00')"
    )
    async with database.write() as session:
        await session.execute(text(insert.format("a", "flink-session", "http://jm:8081")))
        await session.execute(text(insert.format("b", "processes", "host://worker-2")))
    assert await read(database) == [RestAddress(jobmanager_url="http://jm:8081"), HostAddress(host="worker-2")]


async def test_who_answered_is_written_down_unless_the_address_has_changed_since(database: Database):
    await both(database)
    async with database.read() as session:
        asked = await clusters.get(session, "flink")
    async with database.write() as session:
        (await clusters.get(session, "flink")).jobmanager_url = "http://elsewhere"
    async with database.write() as session:
        await clusters.identified(session, asked, "flink-1")
    async with database.read() as session:
        found = await clusters.get(session, "flink")
        assert found.identity is None
    async with database.write() as session:
        await clusters.identified(session, found, "flink-1")
        await clusters.identified(session, found, "flink-2")
    async with database.read() as session:
        assert (await clusters.get(session, "flink")).identity == "flink-1", "once"
