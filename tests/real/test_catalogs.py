"""Registered catalogs on a real Flink: a JDBC catalog over a real PostgreSQL, a Paimon catalog in a folder, and Flink's
own in memory. The jars are libraries of the project."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.real.conftest import Stack
from tests.real.servers import postgres, psql
from tests.real.sse import rows, table, whole

pytestmark = pytest.mark.real

PASSWORD = "geheim'; it-is"
JARS = {
    "jdbc": [
        "org.apache.flink:flink-connector-jdbc-core:4.0.0-2.0",
        "org.apache.flink:flink-connector-jdbc-postgres:4.0.0-2.0",
        "org.postgresql:postgresql:42.7.4",
    ],
    "no-driver": [
        "org.apache.flink:flink-connector-jdbc-core:4.0.0-2.0",
        "org.apache.flink:flink-connector-jdbc-postgres:4.0.0-2.0",
    ],
    # Paimon asks for Hadoop's classes also where its warehouse is a folder.
    "paimon": [
        "org.apache.paimon:paimon-flink-2.0:1.4.2",
        "org.apache.flink:flink-shaded-hadoop-2-uber:2.8.3-10.0",
    ],
}
CHECKPOINTS = "SET 'execution.checkpointing.interval' = '1 s';\n"


@dataclass
class Project:
    """A project of one catalog, and what a person does there."""

    stack: Stack
    name: str

    def catalog(self, name: str, options: dict[str, str], *libraries: str) -> httpx.Response:
        uses = [{"name": library, "version": "1"} for library in libraries]
        path = f"/projects/{self.name}/catalogs/{name}"
        return self.stack.http.put(path, json={"options": options, "libraries": uses})

    def inside(self, path: str, status: int = 200) -> Any:
        response = self.stack.http.get(f"/projects/{self.name}/catalogs/{path}")
        assert response.status_code == status, response.text
        assert PASSWORD not in response.text
        return response.json()

    def names(self, path: str) -> list[str]:
        return [item["name"] for item in self.inside(path)["items"]]

    def library(self, name: str) -> None:
        source = {"type": "maven", "coordinates": JARS[name]}
        body = {"name": name, "version": "1", "kind": "jar", "source": source}
        path = f"/projects/{self.name}/libraries"
        assert self.stack.http.post(path, json=body).status_code == 201
        state = self.stack.until(
            lambda: (found := self.stack.http.get(f"{path}/{name}/1").json())["state"] != "FETCHING" and found,
            f"{name} is fetched",
            600,
        )
        assert state["state"] == "READY", state

    def validated(self, sql: str, **more: Any) -> dict[str, Any]:
        response = self.stack.http.post("/sql/validate", json={"project": self.name, "sql": sql, **more})
        assert response.status_code == 200, response.text
        assert PASSWORD not in response.text
        return response.json()

    def query(self, sql: str) -> list[tuple[str, list[Any]]]:
        response = self.stack.http.post("/sql/previews", json={"project": self.name, "sql": sql})
        assert response.status_code == 201, response.text
        return rows(whole(self.stack.http, response.json()["id"]))

    def job(self, name: str, sql: str, **more: Any) -> str:
        body = {"project": self.name, "name": name, "spec": {"type": "sql", "sql": sql, **more}}
        response = self.stack.http.post("/jobs", json=body)
        assert response.status_code == 201, response.text
        return f"{self.name}:{name}"

    def complete(self, sql: str, **more: Any) -> dict[str, str]:
        body = {"project": self.name, "sql": sql, "position": len(sql), **more}
        response = self.stack.http.post("/sql/complete", json=body)
        assert response.status_code == 200, response.text
        return {c["text"]: c["kind"] for c in response.json()["candidates"]}


def new_project(stack: Stack) -> Project:
    name = f"p{uuid.uuid4().hex[:10]}"
    assert stack.http.post("/projects", json={"name": name}).status_code == 201
    return Project(stack, name)


class TestInMemory:
    """Flink's own kind, whose tables live as long as the session."""

    def test_a_job_runs_from_a_plan_whose_tables_are_in_the_catalog(self, stack: Stack):
        project = new_project(stack)
        assert project.catalog("mem", {"type": "generic_in_memory"}).status_code == 201
        assert project.catalog("mem", {"type": "generic_in_memory"}).status_code == 200
        assert project.names("mem/databases") == ["default"]
        sql = (
            CHECKPOINTS + "CREATE TABLE mem.`default`.src (id BIGINT) WITH ('connector' = 'datagen');\n"
            "USE CATALOG mem;\nCREATE TABLE hole (id BIGINT) WITH ('connector' = 'blackhole');\n"
            "INSERT INTO hole SELECT id FROM src"
        )
        found = project.validated(sql)
        assert (found["reads"], found["writes"]) == (["mem.default.src"], ["mem.default.hole"])
        job = project.job("j", sql)
        stack.do(job, "start")
        assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"]
        lineage = stack.http.get(f"/jobs/{job}/lineage").json()
        assert lineage["columns"][0]["sources"] == [["mem.default.src", "id"]]
        stack.do(job, "restart")
        stack.do(job, "kill")

    def test_a_script_that_makes_a_catalog_of_the_name_has_its_own(self, stack: Stack):
        project = new_project(stack)
        assert project.catalog("mem", {"type": "generic_in_memory", "default-database": "theirs"}).status_code == 201
        own = "CREATE CATALOG mem WITH ('type' = 'generic_in_memory', 'default-database' = 'mine');\n"
        table = "CREATE TABLE mem.mine.t (id INT) WITH ('connector' = 'datagen');\nSELECT id FROM mem.mine.t"
        assert project.validated(own + table, queries=True)["valid"]
        assert not project.validated(table, queries=True)["valid"]
        assert project.validated(table.replace("mine", "theirs"), queries=True)["valid"]

    def test_what_flink_refuses_is_not_registered(self, stack: Stack):
        project = new_project(stack)
        response = project.catalog("c", {"type": "generic_in_memory", "nothing": "x"})
        assert (response.status_code, response.json()["code"]) == (422, "catalog_refused")
        assert "Unsupported options" in response.json()["detail"]
        assert "Could not find any factory" in project.catalog("c", {"type": "jdbc"}).json()["detail"]
        assert stack.http.get(f"/projects/{project.name}/catalogs").json()["items"] == []


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Path, int]]:
    # Not below pytest's folder, which every pytest that starts on this machine closes to the server's user.
    with tempfile.TemporaryDirectory(prefix="penstock-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "data"
        with postgres(folder, PASSWORD.replace("'", "''")) as port:
            yield folder, port


def test_a_catalog_without_its_driver_is_refused_and_stands_in_nobodys_way(stack: Stack, database: tuple[Path, int]):
    """Java looks for drivers once in the life of a gateway: with the first that asks, who may have none."""
    project = new_project(stack)
    project.library("no-driver")
    project.library("jdbc")
    assert stack.http.put(f"/projects/{project.name}/secrets/password", json={"value": PASSWORD}).status_code == 201
    refused = project.catalog("pg", of_postgres(database[1]), "no-driver")
    assert refused.status_code == 422
    assert "No suitable driver" in refused.json()["detail"]
    answer = project.catalog("pg", of_postgres(database[1]), "jdbc")
    assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def shop(stack: Stack, database: tuple[Path, int]) -> Project:
    """A project with the catalog `pg` over a PostgreSQL."""
    folder, port = database
    psql(folder, port, PASSWORD, "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, price NUMERIC(10, 2))")
    psql(folder, port, PASSWORD, "INSERT INTO items SELECT n, 'item ' || n, n FROM generate_series(0, 9) n")
    psql(folder, port, PASSWORD, "CREATE TABLE seen (name TEXT PRIMARY KEY, n BIGINT)")
    project = new_project(stack)
    project.library("jdbc")
    path = f"/projects/{project.name}/secrets/password"
    assert stack.http.put(path, json={"value": PASSWORD}).status_code == 201
    response = project.catalog("pg", of_postgres(port), "jdbc")
    assert response.status_code == 201, response.text
    return project


def of_postgres(port: int) -> dict[str, str]:
    return {
        "type": "jdbc",
        "base-url": f"jdbc:postgresql://127.0.0.1:{port}",
        "default-database": "postgres",
        "username": "postgres",
        "password": "${secret:password}",
    }


class TestPostgres:
    def test_what_is_in_it_is_shown_without_a_secret(self, shop: Project):
        assert "postgres" in shop.names("pg/databases")
        assert {"public.items", "public.seen"} <= set(shop.names("pg/databases/postgres/tables"))
        first = shop.inside("pg/databases/postgres/tables?limit=1")
        rest = shop.names(f"pg/databases/postgres/tables?cursor={first['next_cursor']}")
        assert [*(i["name"] for i in first["items"]), *rest] == shop.names("pg/databases/postgres/tables")
        table = shop.inside("pg/databases/postgres/tables/public.items")
        assert [(c["name"], c["type"], c["nullable"], c["key"]) for c in table["columns"]] == [
            ("id", "BIGINT", False, True),
            ("name", "STRING", True, False),
            ("price", "DECIMAL(10, 2)", True, False),
        ]
        assert table["options"]["password"] == "******"
        assert table["options"]["connector"] == "jdbc"
        assert shop.inside("pg")["options"]["password"] == "${secret:password}"
        assert shop.inside("pg/databases/nowhere/tables", 404)["code"] == "database_not_found"
        assert shop.inside("pg/databases/postgres/tables/nothing", 404)["code"] == "table_not_found"

    def test_options_that_do_not_connect_are_refused_with_flinks_words(self, shop: Project, database):
        wrong = {**of_postgres(database[1]), "username": "nobody"}
        response = shop.catalog("other", wrong, "jdbc")
        assert response.status_code == 422, response.text
        assert 'password authentication failed for user "nobody"' in response.json()["detail"]
        assert PASSWORD not in response.text
        clear = shop.catalog("other", {**wrong, "password": "hunter2"}, "jdbc")
        assert (clear.status_code, clear.json()["code"]) == (422, "secret_in_clear")
        missing = shop.catalog("other", {**wrong, "password": "${secret:none}"}, "jdbc")
        assert (missing.status_code, missing.json()["code"]) == (404, "secret_not_found")
        assert shop.inside("other", 404)["code"] == "catalog_not_found"

    def test_scripts_find_it(self, shop: Project):
        query = "SELECT id, name FROM pg.postgres.items WHERE id < 2"
        assert shop.validated(query, queries=True)["reads"] == ["pg.postgres.items"]
        assert sorted(fields for _, fields in shop.query(query)) == [[0, "item 0"], [1, "item 1"]]
        moved = "USE CATALOG pg;\nSELECT COUNT(*) FROM `public.items`"
        assert shop.query(moved)[-1][1] == [10]
        assert "nothing" in shop.validated("SELECT * FROM pg.postgres.nothing", queries=True)["errors"][0]["message"]

    @pytest.mark.parametrize("name", ["pg.postgres.items", "items"])
    def test_a_script_is_debugged_with_rows_in_place_of_its_tables(self, shop: Project, name: str):
        move = "" if "." in name else "USE CATALOG pg;\n"
        sql = f"{move}INSERT INTO pg.postgres.seen SELECT name, COUNT(*) FROM {name} GROUP BY name"
        given = [{"id": 1, "name": "a", "price": 1}, {"id": 2, "name": "a", "price": 2}]
        body = {"project": shop.name, "sql": sql, "sources": {name: {"rows": given}}}
        response = shop.stack.http.post("/sql/debug", json=body)
        assert response.status_code == 201, response.text
        found = whole(shop.stack.http, response.json()["id"])
        (stream,) = {d["stream"] for e, d in found if e == "table"}
        assert table(found, stream) == [["a", 2]]

    def test_a_registered_view_names_it(self, stack: Stack, shop: Project):
        cheap = {"kind": "view", "query": "SELECT id, name FROM pg.postgres.items WHERE price < 3"}
        assert stack.http.put(f"/projects/{shop.name}/resources/cheap", json=cheap).status_code == 201
        assert sorted(fields[0] for _, fields in shop.query("SELECT id FROM cheap")) == [0, 1, 2]
        session = stack.http.post("/sql/sessions", json={"project": shop.name}).json()["id"]
        path = f"/sql/sessions/{session}/statements"
        answer = stack.http.post(path, json={"statement": "DESCRIBE cheap"}).json()
        assert [row[0] for row in answer["rows"]] == ["id", "name"]

    def test_a_session_moves_into_it_and_is_made_again_there(self, shop: Project):
        http = shop.stack.http
        session = http.post("/sql/sessions", json={"project": shop.name}).json()["id"]

        def run(statement: str) -> dict[str, Any]:
            response = http.post(f"/sql/sessions/{session}/statements", json={"statement": statement})
            assert response.status_code == 200, response.text
            assert PASSWORD not in response.text
            return response.json()

        assert ["pg"] in run("SHOW CATALOGS")["rows"]
        run("USE CATALOG pg")
        assert ["public.items"] in run("SHOW TABLES")["rows"]
        assert "******" in str(run("SHOW CREATE TABLE items")["rows"])
        preview = run("SELECT id FROM items WHERE id = 3")["preview"]
        assert [fields for _, fields in rows(whole(http, preview))] == [[3]]
        shop.stack.kill("gateway")
        shop.stack.start("gateway")
        again = run("SELECT id FROM items WHERE id = 4")
        assert again["rebuilt"]["lost"] == []
        assert [fields for _, fields in rows(whole(http, again["preview"]))] == [[4]]
        assert shop.complete("SELECT * FROM `public.i", session=session) == {"`public.items`": "table"}

    def test_completion_knows_what_is_in_it(self, shop: Project):
        assert shop.complete("USE CATALOG p")["pg"] == "catalog"
        assert shop.complete("SELECT * FROM pg.")["postgres"] == "database"
        assert shop.complete("SELECT * FROM pg.postgres.")["`public.items`"] == "table"
        assert shop.complete("SELECT * FROM pg.postgres.`public.items` i WHERE i.pr")["price"] == "column"

    def test_a_job_writes_into_it_and_goes_on_with_its_state(self, stack: Stack, shop: Project, database):
        folder, port = database
        sql = CHECKPOINTS + (
            "CREATE TABLE ticks (id BIGINT, pt AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '20', "
            "'fields.id.min' = '0', 'fields.id.max' = '9');\n"
            "INSERT INTO pg.postgres.seen SELECT i.name, COUNT(*) FROM ticks AS t JOIN pg.postgres.items "
            "FOR SYSTEM_TIME AS OF t.pt AS i ON t.id = i.id GROUP BY i.name"
        )
        job = shop.job("counts", sql)

        def count() -> int:
            return int(psql(folder, port, PASSWORD, "SELECT COALESCE(SUM(n), 0) FROM seen"))

        stack.do(job, "start")
        stack.until(lambda: count() > 60, "it has counted")
        stack.do(job, "pause")
        before = count()
        psql(folder, port, PASSWORD, "DELETE FROM seen")
        stack.do(job, "start")
        stack.until(lambda: count() > before, "the counts of before are in those of now")
        lineage = stack.http.get(f"/jobs/{job}/lineage").json()
        assert {u["table"] for u in lineage["reads"]} == {"pg.postgres.items", "default_catalog.default_database.ticks"}
        (written,) = lineage["writes"]
        assert written["table"] == "pg.postgres.seen"
        assert written["place"] == f"jdbc:table-name=public.seen;url=jdbc:postgresql://127.0.0.1:{port}/postgres"
        assert PASSWORD not in str(lineage)
        # What it was started with is written down: it runs on with that when the catalog is another one, or gone.
        assert stack.http.delete(f"/projects/{shop.name}/catalogs/pg").status_code == 204
        try:
            stack.do(job, "restart")
            refused = shop.validated(sql)
            assert "pg" in refused["errors"][0]["message"]
        finally:
            assert shop.catalog("pg", of_postgres(port), "jdbc").status_code == 201
        log = [e["message"] for e in stack.items(job, "timeline")] + [
            stack.http.get(f"/jobs/{job}/commands/{n}/log").text for n in (1, 2, 3, 4)
        ]
        assert PASSWORD not in str(log)
        stack.do(job, "kill")

    def test_a_catalog_that_does_not_answer_is_said(self, stack: Stack, shop: Project, database):
        folder, port = database
        psql(folder, port, PASSWORD, "ALTER ROLE postgres PASSWORD 'another'")
        try:
            answer = shop.inside("pg/databases", 503)
            assert answer["code"] == "catalog_unavailable"
            assert "password authentication failed" in answer["detail"]
            errors = stack.http.post(
                "/sql/validate",
                json={"project": shop.name, "sql": "SELECT * FROM pg.postgres.items", "queries": True},
            )
            assert "password authentication failed" in errors.text
        finally:
            psql(folder, port, "another", f"ALTER ROLE postgres PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")


@pytest.fixture(scope="module")
def lake(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(stack)
    project.library("paimon")
    warehouse = tmp_path_factory.mktemp("warehouse").as_uri()
    response = project.catalog("lake", {"type": "paimon", "warehouse": warehouse}, "paimon")
    assert response.status_code == 201, response.text
    session = stack.http.post("/sql/sessions", json={"project": project.name}).json()["id"]
    for statement in (
        "CREATE DATABASE lake.shop",
        "CREATE TABLE lake.shop.clicks (id BIGINT, who STRING)",
        "CREATE TABLE lake.shop.counts (who STRING PRIMARY KEY NOT ENFORCED, n BIGINT)",
    ):
        made = stack.http.post(f"/sql/sessions/{session}/statements", json={"statement": statement})
        assert made.status_code == 200, made.text
    return project


class TestPaimon:
    """A catalog in a folder, whose tables have no connector of their own."""

    def test_a_job_from_table_to_table_goes_on_with_its_state(self, stack: Stack, lake: Project):
        self._insert(lake, "(1, 'ann'), (2, 'bob'), (3, 'ann')")
        sql = CHECKPOINTS + "INSERT INTO lake.shop.counts SELECT who, COUNT(*) FROM lake.shop.clicks GROUP BY who"
        job = lake.job("counts", sql)
        stack.do(job, "start")
        stack.until(lambda: self._counts(lake) == {"ann": 2, "bob": 1}, "it has counted")
        stack.do(job, "pause")
        self._insert(lake, "(4, 'ann'), (5, 'cid')")
        stack.do(job, "start")
        stack.until(lambda: self._counts(lake) == {"ann": 3, "bob": 1, "cid": 1}, "it goes on from its counts")
        lineage = stack.http.get(f"/jobs/{job}/lineage").json()
        assert [u["table"] for u in lineage["reads"]] == ["lake.shop.clicks"]
        assert lineage["reads"][0]["place"].endswith("shop.db/clicks")
        assert "catalog" in lineage["why"]
        stack.do(job, "kill")

    def test_its_tables_are_shown(self, lake: Project):
        assert set(lake.names("lake/databases")) == {"default", "shop"}
        assert lake.names("lake/databases/shop/tables") == ["clicks", "counts"]
        table = lake.inside("lake/databases/shop/tables/counts")
        assert [(c["name"], c["key"]) for c in table["columns"]] == [("who", True), ("n", False)]

    def test_a_session_that_is_made_again_leaves_its_tables_alone(self, stack: Stack, lake: Project):
        session = stack.http.post("/sql/sessions", json={"project": lake.name}).json()["id"]

        def run(statement: str) -> dict[str, Any]:
            response = stack.http.post(f"/sql/sessions/{session}/statements", json={"statement": statement})
            assert response.status_code == 200, response.text
            return response.json()

        for statement in (
            "CREATE DATABASE lake.tries",
            "USE lake.tries",
            "CREATE TABLE dropped (id BIGINT)",
            "DROP TABLE dropped",
            "CREATE TEMPORARY VIEW who AS SELECT who FROM lake.shop.clicks",
        ):
            run(statement)
        lake.stack.kill("gateway")
        lake.stack.start("gateway")
        other = stack.http.post("/sql/sessions", json={"project": lake.name}).json()["id"]
        made = {"statement": "CREATE TABLE lake.tries.dropped (id BIGINT)"}
        assert stack.http.post(f"/sql/sessions/{other}/statements", json=made).status_code == 200
        again = run("SHOW TABLES")
        assert again["rebuilt"]["lost"] == []
        assert sorted(name for (name,) in again["rows"]) == ["dropped", "who"]

    def test_a_library_that_it_needs_is_kept(self, stack: Stack, lake: Project):
        response = stack.http.delete(f"/projects/{lake.name}/libraries/paimon/1")
        assert response.status_code == 409
        assert "the catalog lake" in response.json()["detail"]

    @staticmethod
    def _insert(lake: Project, values: str) -> None:
        sql = f"SET 'execution.runtime-mode' = 'batch';\nINSERT INTO lake.shop.clicks VALUES {values}"
        job = lake.job(f"insert-{uuid.uuid4().hex[:6]}", sql)
        lake.stack.do(job, "start")
        lake.stack.state(job, "FINISHED")

    @staticmethod
    def _counts(lake: Project) -> dict[str, int]:
        query = "SET 'execution.runtime-mode' = 'batch';\nSELECT who, n FROM lake.shop.counts"
        counted = {str(fields[0]): int(fields[1]) for _, fields in lake.query(query)}
        time.sleep(1)
        return counted
