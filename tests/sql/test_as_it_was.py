"""The environment of an attempt is made again from what was written down with it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, select

from core.errors import InvalidInput
from core.specs import Use
from core.sql.script import parse
from sql.environment import as_it_was, environment
from store.database import Database
from store.tables import Grant, Library, Project, Resource, Secret
from tests.store.test_store import T0, add_job

SCRIPT = parse("INSERT INTO hole SELECT f(id) FROM numbers, other.theirs")


def definition(*columns: str, **options: str) -> dict:
    return {
        "columns": [{"name": c, "type": "BIGINT"} for c in columns],
        "options": {"connector": "datagen", **options},
    }


@pytest.fixture
async def services(database: Database) -> SimpleNamespace:
    await add_job(database, project="mine")
    async with database.write() as session:
        session.add(Project(name="other", config={}, created_at=T0))
        await session.flush()
        for project, name in (("mine", "numbers"), ("mine", "hole"), ("other", "theirs")):
            made = definition("id", password="${secret:word}") if name == "theirs" else definition("id")
            session.add(Resource(project=project, name=name, definition=made, created_at=T0, updated_at=T0))
        session.add(Secret(project="other", name="word", sealed="first", created_at=T0, updated_at=T0))
        session.add(
            Library(
                project="mine",
                name="lib",
                version="1",
                kind="jar",
                source={},
                state="READY",
                created_at=T0,
                files=[{"sha256": "a" * 64, "size": 1, "name": "a.jar"}],
                functions=[{"name": "f", "class": "x.F"}],
            )
        )
        await session.flush()
        session.add(Grant(project="other", resource="theirs", grantee="mine", read=True, write=False, created_at=T0))
    return SimpleNamespace(
        database=database,
        vault=SimpleNamespace(open=lambda sealed: f"opened-{sealed}"),
        artifacts=SimpleNamespace(jar=lambda sha: f"/jars/{sha[:4]}.jar"),
    )


async def now(services: SimpleNamespace):
    async with services.database.read() as session:
        return await environment(
            services, session, "mine", SCRIPT, uses=[Use(name="lib", version="1")], open_secrets=True
        )


async def test_tables_and_libraries_as_they_were_and_secrets_as_they_are(services: SimpleNamespace):
    then = await now(services)
    made_of = json.loads(json.dumps(then.made_of))
    assert "opened" not in json.dumps(made_of), "no secret is written down"
    async with services.database.write() as session:
        (await session.get(Resource, ("mine", "numbers"))).definition = definition("another")
        await session.delete(await session.get(Resource, ("mine", "hole")))
        library = await session.get(Library, ("mine", "lib", "1"))
        library.files = [{"sha256": "b" * 64, "size": 1, "name": "b.jar"}]
        (await session.scalars(select(Secret))).one().sealed = "second"
    async with services.database.read() as session:
        again = await as_it_was(services, session, "mine", SCRIPT, made_of)
    assert again.before == [s.replace("opened-first", "opened-second") for s in then.before]
    assert again.before != then.before
    assert (again.inputs, again.made_of) == (then.inputs, then.made_of)
    assert (await now(services)).inputs != then.inputs


async def test_access_that_was_taken_back_does_not_come_back(services: SimpleNamespace):
    made_of = (await now(services)).made_of
    async with services.database.write() as session:
        await session.execute(delete(Grant))
    async with services.database.read() as session:
        with pytest.raises(InvalidInput) as refused:
            await as_it_was(services, session, "mine", SCRIPT, made_of)
    assert refused.value.code == "access_denied"
