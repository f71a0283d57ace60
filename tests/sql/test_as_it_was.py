"""The environment of an attempt is made again from what was written down with it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from sqlalchemy import delete, select

from core.errors import InvalidInput
from core.specs import Use
from core.sql.catalogs import Position
from core.sql.script import Script, parse
from sql.environment import Environment, as_it_was, environment
from store.database import Database
from store.tables import Catalog, Grant, Library, Project, Resource, Secret
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


class TestCatalogs:
    """They are part of what an attempt is made from, with the jars that they need."""

    SCRIPT = parse("INSERT INTO pg.shop.sums SELECT id FROM numbers")
    OPTIONS: ClassVar = {"type": "jdbc", "default-database": "shop", "password": "${secret:pw}"}

    @pytest.fixture
    async def pg(self, services: SimpleNamespace) -> SimpleNamespace:
        async with services.database.write() as session:
            uses = [{"name": "lib", "version": "1"}]
            more = {"created_at": T0, "updated_at": T0}
            session.add(Catalog(project="mine", name="pg", options=self.OPTIONS, libraries=uses, **more))
            session.add(Catalog(project="other", name="foreign", options={"type": "jdbc"}, libraries=[], **more))
            session.add(Secret(project="mine", name="pw", sealed="first", **more))
        return services

    async def made(self, services: SimpleNamespace, script: Script = SCRIPT, **more: Any) -> Environment:
        async with services.database.read() as session:
            return await environment(services, session, "mine", script, open_secrets=False, **more)

    async def test_a_script_that_names_one_finds_it_and_its_jars(self, pg: SimpleNamespace):
        env = await self.made(pg)
        jar, function, catalog, shadow, table = env.before
        assert jar == "ADD JAR '/jars/aaaa.jar'"
        assert function.startswith("CREATE TEMPORARY SYSTEM FUNCTION")
        assert catalog.startswith("CREATE CATALOG IF NOT EXISTS `pg` WITH (")
        assert "'password' = 'opened-first'" in catalog, "it is connected to when it is made"
        assert env.secrets == ["opened-first"]
        assert shadow.endswith("LIKE `pg`.`shop`.`sums`")
        assert "`numbers`" in table
        assert env.catalogs == [jar, catalog, shadow]
        assert "catalog" in env.without_plan

    async def test_a_hint_is_no_part_of_a_plan(self, pg: SimpleNamespace):
        for text, is_hinted in {
            "INSERT INTO a SELECT * FROM b /*+ OPTIONS('k' = 'v') */;": True,
            "CREATE VIEW v AS SELECT * FROM b /*+ options('k' = 'v') */ AS c; INSERT INTO a SELECT * FROM v": True,
            "INSERT INTO a SELECT /*+ STATE_TTL('b' = '1d'), LOOKUP('table' = 'b') */ * FROM b /* OPTIONS('k' = 'v') */": False,
            "INSERT INTO a SELECT options FROM b /*+ NOTHING */ AS OPTIONS": False,
        }.items():
            assert bool((await self.made(pg, parse(text))).without_plan) == is_hinted, text

    async def test_others_are_left_alone(self, pg: SimpleNamespace):
        env = await self.made(pg, parse("SELECT pg.id FROM numbers AS pg, foreign.x.y"))
        assert (len(env.before), env.catalogs, env.without_plan, env.secrets) == (1, [], "", [])
        own = await self.made(pg, parse("CREATE CATALOG pg WITH ('type' = 'x'); SELECT * FROM pg.shop.sums"))
        assert own.before == []

    async def test_a_session_in_it_has_short_names_of_there(self, pg: SimpleNamespace):
        env = await self.made(pg, parse("SELECT * FROM sums"), where=Position("pg"))
        assert env.catalogs[-1].endswith("LIKE `pg`.`shop`.`sums`")

    async def test_it_is_run_again_as_it_was(self, pg: SimpleNamespace):
        then = await self.made(pg)
        made_of = json.loads(json.dumps(then.made_of))
        assert "opened" not in json.dumps(made_of), "no secret is written down"
        async with pg.database.write() as session:
            (await session.get(Catalog, ("mine", "pg"))).options = {**self.OPTIONS, "default-database": "other"}
            (await session.scalars(select(Secret).where(Secret.name == "pw"))).one().sealed = "second"
        assert (await self.made(pg)).inputs != then.inputs
        async with pg.database.write() as session:
            await session.delete(await session.get(Catalog, ("mine", "pg")))
        async with pg.database.read() as session:
            again = await as_it_was(pg, session, "mine", self.SCRIPT, made_of)
        assert again.before == [s.replace("opened-first", "opened-second") for s in then.before]
        assert again.inputs == then.inputs

    async def test_another_version_of_its_library_is_refused(self, pg: SimpleNamespace):
        with pytest.raises(InvalidInput) as refused:
            await self.made(pg, uses=[Use(name="lib", version="2")])
        assert refused.value.code == "library_conflict"


class TestViews:
    """They are made behind the tables, each after what it names, in the order of their names otherwise."""

    @pytest.fixture
    async def views(self, services: SimpleNamespace) -> SimpleNamespace:
        queries = {
            "total": "SELECT SUM(id) FROM both_",
            "both_": "SELECT id FROM numbers UNION ALL SELECT id FROM other.theirs",
            "stored": "SELECT id FROM pg.shop.orders",
        }
        async with services.database.write() as session:
            more = {"created_at": T0, "updated_at": T0}
            for name, query in queries.items():
                view = {"kind": "view", "query": query}
                session.add(Resource(project="mine", name=name, definition=view, **more))
            session.add(Catalog(project="mine", name="pg", options={"type": "jdbc"}, libraries=[], **more))
        return services

    @staticmethod
    async def made(services: SimpleNamespace, text: str, **more: Any) -> Environment:
        async with services.database.read() as session:
            return await environment(services, session, "mine", parse(text), open_secrets=False, **more)

    @staticmethod
    def heads(env: Environment) -> list[str]:
        return [" ".join(s.split("(")[0].replace("IF NOT EXISTS ", "").split()[:3]) for s in env.before]

    async def test_what_a_view_names_is_made_before_it(self, views: SimpleNamespace):
        env = await self.made(views, "INSERT INTO hole SELECT * FROM total")
        assert [h.replace("`default_catalog`.", "") for h in self.heads(env)] == [
            "CREATE TABLE `default_database`.`hole`",
            "CREATE TABLE `default_database`.`numbers`",
            "CREATE DATABASE `other`",
            "CREATE TABLE `other`.`theirs`",
            "CREATE VIEW `default_database`.`both_`",
            "CREATE VIEW `default_database`.`total`",
        ]
        assert "default_catalog.other.theirs" in env.rights
        made_of = json.loads(json.dumps(env.made_of))
        async with views.database.read() as session:
            again = await as_it_was(views, session, "mine", SCRIPT, made_of)
        assert [s for s in again.before if "VIEW" in s] == [s for s in env.before if "VIEW" in s]

    async def test_catalogs_of_views_are_found(self, views: SimpleNamespace):
        env = await self.made(views, "SELECT * FROM stored")
        assert [h.split()[1] for h in self.heads(env)] == ["CATALOG", "TEMPORARY", "VIEW"]
        assert env.without_plan

    async def test_a_view_that_changes_changes_the_inputs(self, views: SimpleNamespace):
        before = await self.made(views, "SELECT * FROM total")
        async with views.database.write() as session:
            row = await session.get(Resource, ("mine", "both_"))
            row.definition = {"kind": "view", "query": "SELECT id FROM numbers"}
        assert (await self.made(views, "SELECT * FROM total")).inputs != before.inputs

    async def test_a_session_begins_with_those_that_need_no_catalog(self, views: SimpleNamespace):
        env = await self.made(views, "", everything=True)
        assert [h.rpartition(".")[2] for h in self.heads(env) if "VIEW" in h] == ["`both_`", "`total`"]
        assert env.catalogs == []

    async def test_none_is_made_where_short_names_are_others(self, views: SimpleNamespace):
        assert not (await self.made(views, "SELECT * FROM total", where=Position("pg"))).through_views

    async def test_what_a_script_makes_itself_goes_first(self, views: SimpleNamespace):
        env = await self.made(views, "CREATE VIEW total AS SELECT 1 AS x; SELECT * FROM total")
        assert env.before == []

    async def test_a_view_takes_no_rights_that_were_not_granted(self, views: SimpleNamespace):
        text = "INSERT INTO hole SELECT * FROM total"
        async with views.database.write() as session:
            grant = await session.get(Grant, ("other", "theirs", "mine"))
            grant.read, grant.write = False, True
        with pytest.raises(InvalidInput, match="reads other/theirs"):
            (await self.made(views, text)).check_text()
        async with views.database.write() as session:
            grant = await session.get(Grant, ("other", "theirs", "mine"))
            grant.read = True
            row = await session.get(Resource, ("mine", "both_"))
            query = "SELECT id FROM other.theirs /*+ OPTIONS('path' = 'x') */"
            row.definition = {"kind": "view", "query": query}
        with pytest.raises(InvalidInput, match="OPTIONS hint"):
            await self.made(views, text)
