"""Registered tables, grants, secrets and libraries, on a real Flink with a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.parts import StackParts
from tests.real.conftest import GitRepository, Stack
from tests.real.servers import kafka, postgres, produce, psql
from tests.real.sse import rows, whole

PASSWORD = "geheim'; it-is"
KAFKA_JAR = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
JDBC_JARS = [
    "org.apache.flink:flink-connector-jdbc-core:4.0.0-2.0",
    "org.apache.flink:flink-connector-jdbc-postgres:4.0.0-2.0",
    "org.postgresql:postgresql:42.7.4",
]


@pytest.fixture
def project(stack: Stack) -> str:
    name = f"p{uuid.uuid4().hex[:10]}"
    assert stack.http.post("/projects", json={"name": name}).status_code == 201
    return name


def table(*columns: str, **options: str) -> dict:
    return {
        "columns": [dict(zip(("name", "type"), c.split(" ", 1), strict=True)) for c in columns],
        "options": {k.replace("__", ".").replace("_", "-"): v for k, v in options.items()},
    }


def register(stack: Stack, project: str, name: str, definition: dict, status: int = 201) -> dict:
    response = stack.http.put(f"/projects/{project}/resources/{name}", json={"definition": definition})
    assert response.status_code == status, response.text
    return response.json()


NUMBERS = table(
    "id BIGINT",
    connector="datagen",
    number_of_rows="5",
    fields__id__kind="sequence",
    fields__id__start="1",
    fields__id__end="5",
)


def validate(stack: Stack, project: str, sql: str, **more) -> dict:
    response = stack.http.post("/sql/validate", json={"project": project, "sql": sql, **more})
    assert response.status_code == 200, response.text
    return response.json()


DDL = """
-- what a team has in its repository
CREATE TABLE clicks (
  id BIGINT NOT NULL COMMENT 'it''s the key',
  `text` STRING,
  price DECIMAL(10, 2),
  `at` TIMESTAMP(3),
  `where` ROW<city STRING, tags ARRAY<MAP<STRING, INT>>>,
  `a b` AS price * 2
) COMMENT 'Clicks' WITH ('connector' = 'datagen', 'rows-per-second' = '7');
CREATE TEMPORARY TABLE keyed (
  now AS PROCTIME(),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND,
  CONSTRAINT mine PRIMARY KEY (id) NOT ENFORCED
) LIKE clicks
"""


def imported(stack: Stack, project: str, sql: str, **more) -> list[dict]:
    response = stack.http.post(f"/projects/{project}/resources/import", json={"sql": sql, **more})
    assert response.status_code == 200, response.text
    return response.json()["items"]


class TestTables:
    def test_a_script_needs_no_ddl_for_what_is_registered(self, stack: Stack, project: str):
        register(stack, project, "numbers", NUMBERS)
        register(stack, project, "hole", table("id BIGINT", connector="blackhole"))
        sql = "INSERT INTO hole SELECT id FROM numbers"
        found = validate(stack, project, sql)
        assert found["valid"], found
        assert found["resources"] == [f"{project}/hole", f"{project}/numbers"]
        made = stack.http.post("/sql/previews", json={"project": project, "sql": "SELECT id FROM numbers"}).json()
        assert len(rows(whole(stack.http, made["id"]))) == 5
        job = stack.http.post(
            "/jobs", json={"project": project, "name": "j", "spec": {"type": "sql", "sql": sql}}
        ).json()
        stack.do(job["id"], "start")
        found = stack.http.get(f"/jobs/{project}:j/lineage").json()
        assert [r["table"].split(".")[-1] for r in found["reads"]] == ["numbers"]

    def test_tables_come_from_the_ddl_that_somebody_has_and_go_back_to_it(self, stack: Stack, project: str):
        stack.http.put(f"/projects/{project}/secrets/pw", json={"value": PASSWORD}).raise_for_status()
        answer = imported(stack, project, DDL, dry_run=True)
        assert [(t["name"], t["action"]) for t in answer] == [("clicks", "created"), ("keyed", "created")]
        assert stack.http.get(f"/projects/{project}/resources").json()["items"] == []
        first = imported(stack, project, DDL)
        keyed = first[1]["definition"]
        assert [c["name"] for c in keyed["columns"]] == ["id", "text", "price", "at", "where", "a b", "now"]
        assert keyed["primary_key"] == ["id"]
        assert keyed["watermark"]["column"] == "at"
        assert keyed["options"] == {"connector": "datagen", "rows-per-second": "7"}  # LIKE is resolved
        again = ";\n".join(t["ddl"] for t in stack.http.get(f"/projects/{project}/resources").json()["items"])
        assert [t["action"] for t in imported(stack, project, again)] == ["unchanged", "unchanged"]
        script = "CREATE TABLE hole (id BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO hole SELECT id FROM keyed"
        assert validate(stack, project, script)["valid"]

    @pytest.mark.parametrize(
        ("ddl", "why"),
        [
            (
                "CREATE TABLE t (a INT) WITH ('connector'='x');\nCREATE TABLE u (a NOTHING) WITH ('connector'='x')",
                "Statement 2, line 2, column 19",
            ),
            ("CREATE TABLE t (a INT) WITH ('connector'='jdbc', 'password'='clear')", "secret in clear"),
            ("CREATE TABLE t (a INT) WITH ('connector'='jdbc', 'password'='${secret:none}')", "none"),
            ("CREATE TABLE t (a INT) DISTRIBUTED BY HASH(a) INTO 3 BUCKETS WITH ('connector'='x')", "DISTRIBUTED BY"),
            ("CREATE TABLE t (a INT)", "connector"),
            ("CREATE TABLE t AS SELECT 1 AS a", "runs a job"),
        ],
    )
    def test_of_an_import_that_is_refused_nothing_stays(self, stack: Stack, project: str, ddl: str, why: str):
        response = stack.http.post(f"/projects/{project}/resources/import", json={"sql": ddl})
        assert response.status_code in (404, 422), response.text
        assert why in response.json()["detail"]
        assert stack.http.get(f"/projects/{project}/resources").json()["items"] == []

    def test_what_a_script_makes_itself_goes_first(self, stack: Stack, project: str):
        register(stack, project, "numbers", NUMBERS)
        own = "CREATE TABLE numbers (other STRING) WITH ('connector'='datagen');\nSELECT other FROM numbers"
        assert validate(stack, project, own, queries=True)["valid"]

    @pytest.mark.parametrize(
        "change",
        [
            {"columns": [{"name": "id", "type": "BIGINT) WITH ('connector'='print'); --"}]},
            {"columns": [{"name": "id", "type": "INT, other INT"}]},
            {"columns": [{"name": "id", "type": "ROW<a INT"}]},
            {"columns": [{"name": "id", "expression": "1; DROP TABLE x"}]},
            {"columns": []},
            {"columns": [{"name": "id", "type": "INT"}, {"name": "id", "type": "INT"}]},
            {"primary_key": ["nothing"]},
            {"watermark": {"column": "at", "expression": "at"}},
            {"options": {}},
            {"options": {"connector": "jdbc", "password": "in the clear"}},
            {"options": {"connector": "jdbc", "url": "jdbc:x://h/d?user=a&password=b"}},
            {"options": {"connector": "kafka", "properties.sasl.jaas.config": 'x required username="a" password="b";'}},
            {"options": {"connector": "jdbc", "password": "${secret:UPPER}"}},
        ],
    )
    def test_a_definition_that_is_wrong_or_hostile_is_refused(self, stack: Stack, project: str, change: dict):
        response = stack.http.put(f"/projects/{project}/resources/t", json={"definition": {**NUMBERS, **change}})
        assert response.status_code == 422, response.text
        assert "in the clear" not in response.text
        assert stack.http.get(f"/projects/{project}/resources").json()["items"] == []

    def test_quotes_in_names_and_options_stay_inside(self, stack: Stack, project: str):
        definition = {
            "columns": [
                {"name": "odd`; DROP", "type": "STRING", "comment": "it's"},
                {"name": "pt", "expression": "PROCTIME()"},
            ],
            "options": {"connector": "datagen", "number-of-rows": "1"},
        }
        register(stack, project, "odd", definition)
        made = stack.http.post("/sql/previews", json={"project": project, "sql": "SELECT `odd``; DROP` FROM odd"})
        assert made.status_code == 201, made.text
        whole(stack.http, made.json()["id"])


class TestGrants:
    @pytest.fixture
    def other(self, stack: Stack, project: str) -> str:
        name = f"{project}-other"
        stack.http.post("/projects", json={"name": name})
        register(stack, project, "numbers", NUMBERS)
        hole = {"connector": "filesystem", "path": f"file:///tmp/{project}", "format": "json"}
        register(stack, project, "hole", {**table("id BIGINT", connector="filesystem"), "options": hole})
        return name

    def test_nothing_is_seen_without_a_grant(self, stack: Stack, project: str, other: str):
        assert stack.http.get(f"/projects/{other}/resources").json()["items"] == []
        for name in ("numbers", f"`{project}`.numbers"):
            found = validate(stack, other, f"SELECT id FROM {name}", queries=True)
            assert not found["valid"]
            assert "not found" in found["errors"][0]["message"]

    def test_reading_and_writing_are_granted_apart(self, stack: Stack, project: str, other: str):
        def grant(resource: str, **rights: bool) -> None:
            path = f"/projects/{project}/resources/{resource}/grants/{other}"
            assert stack.http.put(path, json=rights).status_code == 200

        script = f"INSERT INTO `{project}`.hole SELECT id FROM `{project}`.numbers"
        grant("numbers", read=True, write=False)
        grant("hole", read=True, write=False)
        found = validate(stack, other, script)
        assert [e["code"] for e in found["errors"]] == ["access_denied"]
        assert f"{project}/hole" in found["errors"][0]["message"]
        job = stack.http.post(
            "/jobs", json={"project": other, "name": "j", "spec": {"type": "sql", "sql": script}}
        ).json()
        failed = stack.do(job["id"], "start", "FAILED")
        assert "may not write" in failed["error"]
        grant("hole", read=False, write=True)
        assert validate(stack, other, script)["valid"]
        stack.do(job["id"], "start")
        denied = stack.http.post("/sql/previews", json={"project": other, "sql": f"SELECT * FROM `{project}`.hole"})
        assert (denied.status_code, denied.json()["code"]) == (422, "access_denied")
        stack.http.delete(f"/projects/{project}/resources/numbers/grants/{other}")
        assert not validate(stack, other, script)["valid"]

    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE TABLE mine LIKE `{p}`.numbers;\nSELECT id FROM mine",
            "CREATE TEMPORARY TABLE mine WITH ('number-of-rows'='9') LIKE `{p}`.numbers;\nSELECT id FROM mine",
            "ALTER TABLE `{p}`.numbers SET ('number-of-rows'='9');\nSELECT id FROM `{p}`.numbers",
            "USE `{p}`;\nALTER TABLE numbers SET ('number-of-rows'='9');\nSELECT id FROM `{p}`.numbers",
            "SELECT id FROM `{p}`.numbers /*+ OPTIONS('number-of-rows'='9') */",
            "USE `{p}`;\nSELECT id FROM numbers /*+ OPTIONS('number-of-rows'='9') */, `{p}`.numbers AS n",
            "DROP TABLE `{p}`.numbers;\nCREATE TABLE `{p}`.numbers (id INT) WITH ('connector'='datagen');\nSELECT id FROM `{p}`.numbers",
        ],
    )
    def test_a_granted_table_cannot_be_pointed_elsewhere(self, stack: Stack, project: str, other: str, sql: str):
        """Its options carry access: LIKE would take it, ALTER and hints would turn it to what was never granted."""
        stack.http.put(f"/projects/{project}/resources/numbers/grants/{other}", json={"read": True})
        text = sql.format(p=project)
        response = stack.http.post("/sql/previews", json={"project": other, "sql": text})
        assert (response.status_code, response.json()["code"]) == (422, "access_denied"), response.text
        # Statement by statement in a session it is no different.
        session = stack.http.post("/sql/sessions", json={"project": other}).json()["id"]
        codes = []
        for statement in text.split(";\n"):
            body = {"statement": statement, "limits": {"rows": 1}}
            codes.append(stack.http.post(f"/sql/sessions/{session}/statements", json=body).json().get("code"))
        assert "access_denied" in codes
        stack.http.delete(f"/sql/sessions/{session}")

    def test_a_short_name_in_a_granted_database_has_the_same_rights(self, stack: Stack, project: str, other: str):
        stack.http.put(f"/projects/{project}/resources/hole/grants/{other}", json={"read": False, "write": True})
        session = stack.http.post("/sql/sessions", json={"project": other}).json()["id"]
        path = f"/sql/sessions/{session}/statements"
        assert stack.http.post(path, json={"statement": f"USE `{project}`"}).status_code == 200
        denied = stack.http.post(path, json={"statement": "SELECT * FROM hole"})
        assert (denied.status_code, denied.json()["code"]) == (422, "access_denied")


class TestSecrets:
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT '${secret:mine}'",
            "SELECT CONCAT('k', '${secret:mine}')",
            "SELECT 'a' = '${secret:mine}'",
            "CREATE VIEW v AS SELECT '${secret:mine}' AS x;\nSELECT x FROM v",
        ],
    )
    def test_it_cannot_be_selected(self, stack: Stack, project: str, sql: str):
        stack.http.put(f"/projects/{project}/secrets/mine", json={"value": PASSWORD})
        response = stack.http.post("/sql/previews", json={"project": project, "sql": sql})
        assert (response.status_code, response.json()["code"]) == (422, "secret_misplaced")
        assert PASSWORD not in response.text

    def test_nor_shown_by_a_session_that_made_a_table_with_it(self, stack: Stack, project: str):
        stack.http.put(f"/projects/{project}/secrets/mine", json={"value": PASSWORD})
        session = stack.http.post("/sql/sessions", json={"project": project}).json()["id"]
        path = f"/sql/sessions/{session}/statements"
        create = (
            "CREATE TABLE t (id INT) WITH ('connector'='datagen', 'password'='${secret:mine}', 'x'='a-${secret:mine}')"
        )
        assert stack.http.post(path, json={"statement": create}).status_code == 200
        shown = stack.http.post(path, json={"statement": "SHOW CREATE TABLE t"}).json()
        assert "'x' = 'a-******'" in shown["rows"][0][0]
        assert PASSWORD.split("'")[0] not in json.dumps(shown)
        assert "${secret:mine}" in stack.http.get(f"/sql/sessions/{session}").text

    def test_it_is_never_shown(self, stack: Stack, project: str):
        path = f"/projects/{project}/secrets/db-password"
        assert stack.http.put(path, json={"value": PASSWORD}).status_code == 201
        assert stack.http.put(path, json={"value": PASSWORD}).status_code == 200
        listed = stack.http.get(f"/projects/{project}/secrets")
        assert listed.json()["items"][0]["reference"] == "${secret:db-password}"
        assert PASSWORD not in listed.text
        stored = (stack.home / "penstock.db").read_bytes() + (stack.home / "penstock.db-wal").read_bytes()
        assert PASSWORD.encode() not in stored
        assert oct((stack.home / "secret.key").stat().st_mode)[-3:] == "600"

    def test_in_clear_it_is_refused_with_the_remedy(self, stack: Stack, project: str):
        sql = "CREATE TABLE t (id INT) WITH ('connector'='jdbc', 'password'='hunter2');\nINSERT INTO t SELECT 1"
        response = stack.http.post("/jobs", json={"project": project, "name": "x", "spec": {"type": "sql", "sql": sql}})
        assert response.status_code == 422
        assert response.json()["code"] == "secret_in_clear"
        assert "${secret:password}" in response.json()["remedy"]
        assert "hunter2" not in response.text
        hint = "INSERT INTO t SELECT * FROM s /*+ OPTIONS('password'='hunter2') */"
        assert validate(stack, project, hint)["errors"][0]["code"] == "secret_in_clear"

    def test_one_that_is_not_there(self, stack: Stack, project: str):
        definition = {**NUMBERS, "options": {**NUMBERS["options"], "password": "${secret:nothing}"}}
        assert register(stack, project, "t", definition, 404)["code"] == "secret_not_found"

    def test_another_projects_secret_is_not_there_either(self, stack: Stack, project: str):
        stack.http.put("/projects/default/secrets/mine", json={"value": "x"})
        sql = "CREATE TABLE t (id INT) WITH ('connector'='datagen','password'='${secret:mine}');\nSELECT id FROM t"
        response = stack.http.post("/sql/previews", json={"project": project, "sql": sql})
        assert (response.status_code, response.json()["code"]) == (404, "secret_not_found")


def library(stack: Stack, project: str, body: dict, state: str = "READY") -> dict:
    response = stack.http.post(f"/projects/{project}/libraries", json=body)
    assert response.status_code == 201, response.text
    path = f"/projects/{project}/libraries/{body['name']}/{body['version']}"
    return stack.until(
        lambda: (found := stack.http.get(path).json())["state"] == state and found, f"{body['name']} is {state}", 600
    )


def test_a_missing_connector_points_to_the_library_that_has_it(stack: Stack, project: str):
    table_of = "CREATE TABLE t (a INT) WITH ('connector'='{}', 'topic'='t', 'format'='json');\nSELECT a FROM t"
    nothing = validate(stack, project, table_of.format("kafka"), queries=True)
    assert "No library of the project" in nothing["errors"][0]["remedy"]
    source = {"type": "maven", "coordinates": [KAFKA_JAR]}
    library(stack, project, {"name": "streams", "version": "5.0.0", "kind": "jar", "source": source})
    found = validate(stack, project, table_of.format("kafka"), queries=True)
    assert "streams:5.0.0" in found["errors"][0]["remedy"]
    body = {"project": project, "sql": table_of.format("kafka")}
    assert "streams:5.0.0" in stack.http.post("/sql/previews", json=body).json()["remedy"]
    other = validate(stack, project, table_of.format("mqtt"), queries=True)
    assert "No library" in other["errors"][0]["remedy"]
    job = f"{project}:misses"
    spec = {"type": "sql", "sql": table_of.format("kafka").replace("SELECT", "INSERT INTO t SELECT")}
    stack.http.post("/jobs", json={"project": project, "name": "misses", "spec": spec})
    assert "streams:5.0.0" in stack.do(job, "start", "FAILED")["error"]
    session = stack.http.post("/sql/sessions", json={"project": project}).json()["id"]
    path = f"/sql/sessions/{session}/statements"
    create, query = body["sql"].split(";\n")
    assert stack.http.post(path, json={"statement": create}).status_code == 200
    assert "streams:5.0.0" in stack.http.post(path, json={"statement": query}).json()["remedy"]


@pytest.fixture(scope="class")
def broker(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka(parts, tmp_path_factory.mktemp("kafka")) as address:
        yield address


class TestKafka:
    def test_from_records_to_a_running_job(self, stack: Stack, parts: StackParts, project: str, broker: str):
        source = {"type": "maven", "coordinates": [KAFKA_JAR]}
        made = library(stack, project, {"name": "kafka", "version": "5.0.0", "kind": "jar", "source": source})
        assert made["files"][0]["size"] > 1_000_000
        uses = [{"name": "kafka", "version": "5.0.0"}]
        produce(
            parts,
            broker,
            "orders",
            [
                '{"id": 1, "who": "ann", "at": "2026-01-01T10:00:00Z", "address": {"city": "Ulm", "zip": null}, "tags": ["a"]}',
                '{"id": 2, "who": "bob", "at": "2026-01-01T10:00:01.5Z", "address": {"city": "Bonn", "zip": "53"}, "tags": []}',
            ],
        )
        start = "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'format' = 'json', '"
        asked = {"project": project, "sql": start, "position": len(start)}
        for more, its in (({}, True), ({"libraries": uses}, True), ({"project": "default"}, False)):
            found = {c["text"] for c in stack.http.post("/sql/complete", json={**asked, **more}).json()["candidates"]}
            wanted = {"topic", "properties.bootstrap.servers", "scan.startup.mode", "json.ignore-parse-errors"}
            assert (wanted <= found) if its else not found
        options = {"topic": "orders", "properties.bootstrap.servers": broker}
        body = {"kind": "kafka", "options": options, "libraries": uses}
        inferred = stack.http.post(f"/projects/{project}/resources/infer", json=body)
        assert inferred.status_code == 200, inferred.text
        found = inferred.json()
        assert {c["name"]: c["type"] for c in found["columns"]} == {
            "id": "BIGINT",
            "who": "STRING",
            "at": "TIMESTAMP_LTZ(3)",
            "address": "ROW<`city` STRING, `zip` STRING>",
            "tags": "ARRAY<STRING>",
        }
        definition = {
            "columns": found["columns"],
            "options": {**found["options"], "scan.startup.mode": "earliest-offset"},
            "watermark": {"column": "at", "expression": "`at` - INTERVAL '1' SECOND"},
        }
        register(stack, project, "orders", definition)
        upper = table(
            "who STRING",
            "city STRING",
            connector="kafka",
            topic="people",
            format="json",
            properties__bootstrap__servers=broker,
        )
        upper["options"] = {
            "connector": "kafka",
            "topic": "people",
            "format": "json",
            "properties.bootstrap.servers": broker,
            "scan.startup.mode": "earliest-offset",
        }
        register(stack, project, "people", upper)
        sql = "INSERT INTO people SELECT UPPER(who), o.address.city FROM orders o"
        spec = {"type": "sql", "sql": sql, "libraries": uses}
        job = stack.http.post("/jobs", json={"project": project, "name": "j", "spec": spec}).json()
        stack.do(job["id"], "start")
        query = {"project": project, "sql": "SELECT who, city FROM people", "libraries": uses, "limits": {"rows": 2}}

        def shown() -> list[list[str]]:
            """None while the job, which runs, has not made its topic yet: that is said as an error."""
            preview = stack.http.post("/sql/previews", json=query).json()
            return sorted(f for _, f in rows(whole(stack.http, preview["id"])))

        found = stack.until(shown, "the job has written")
        assert found == [["ANN", "Ulm"], ["BOB", "Bonn"]]
        lineage = stack.http.get(f"/jobs/{project}:j/lineage").json()
        assert lineage["reads"][0]["place"] == f"kafka:properties.bootstrap.servers={broker};topic=orders"
        city = next(c for c in lineage["columns"] if c["column"] == "city")
        assert city["sources"][0][1] == "address.city"
        in_use = stack.http.delete(f"/projects/{project}/libraries/kafka/5.0.0")
        assert (in_use.status_code, in_use.json()["code"]) == (409, "library_in_use")

    def test_an_empty_topic_says_so(self, stack: Stack, parts: StackParts, project: str, broker: str):
        source = {"type": "maven", "coordinates": [KAFKA_JAR]}
        library(stack, project, {"name": "kafka", "version": "1", "kind": "jar", "source": source})
        produce(parts, broker, "once", ["x"])
        body = {"kind": "kafka", "libraries": [{"name": "kafka", "version": "1"}]}
        options = {"topic": "once", "properties.bootstrap.servers": broker}
        bad = stack.http.post(f"/projects/{project}/resources/infer", json={**body, "options": options})
        assert bad.json()["code"] == "bad_sample"
        without = stack.http.post(
            "/sql/previews",
            json={
                "project": project,
                "sql": "CREATE TABLE t (v STRING) WITH ('connector'='kafka','topic'='t','format'='raw');SELECT * FROM t",
            },
        )
        assert without.status_code == 422
        assert "kafka" in without.json()["detail"]


class TestDatabase:
    def test_a_table_read_by_jdbc_with_a_secret(self, stack: Stack, project: str):
        import tempfile

        with (
            tempfile.TemporaryDirectory(dir="/tmp") as folder,
            postgres(Path(folder) / "pg", PASSWORD.replace("'", "''")) as port,
        ):
            psql(
                Path(folder),
                port,
                PASSWORD,
                "CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL, since TIMESTAMP, tags TEXT[], worth NUMERIC(10,2), extra JSONB)",
            )
            psql(
                Path(folder),
                port,
                PASSWORD,
                "INSERT INTO people VALUES (1, 'ann', '2026-01-01 10:00:00', '{a}', 1.50, '{}')",
            )
            stack.http.put(f"/projects/{project}/secrets/db", json={"value": PASSWORD})
            url = f"jdbc:postgresql://127.0.0.1:{port}/postgres"
            body = {"kind": "database", "url": url, "table": "people", "user": "postgres", "password": "${secret:db}"}
            answer = stack.http.post(f"/projects/{project}/resources/infer", json=body)
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert {c["name"]: c["type"] for c in found["columns"]} == {
                "id": "BIGINT NOT NULL",
                "name": "VARCHAR(50) NOT NULL",
                "since": "TIMESTAMP(6)",
                "tags": "ARRAY<STRING>",
                "worth": "DECIMAL(10, 2)",
                "extra": "STRING",
            }
            assert found["primary_key"] == ["id"]
            assert PASSWORD not in answer.text
            clear = stack.http.post(f"/projects/{project}/resources/infer", json={**body, "password": PASSWORD})
            assert clear.json()["code"] == "secret_in_clear"
            library(
                stack,
                project,
                {"name": "jdbc", "version": "4", "kind": "jar", "source": {"type": "maven", "coordinates": JDBC_JARS}},
            )
            columns = [c for c in found["columns"] if c["name"] in ("id", "name", "worth")]
            register(stack, project, "people", {"columns": columns, "options": found["options"]})
            register(stack, project, "numbers", NUMBERS)
            uses = [{"name": "jdbc", "version": "4"}]
            sql = (
                "INSERT INTO people SELECT id + 10, 'n' || CAST(id AS STRING), CAST(id AS DECIMAL(10, 2)) FROM numbers"
            )
            job = stack.http.post(
                "/jobs", json={"project": project, "name": "j", "spec": {"type": "sql", "sql": sql, "libraries": uses}}
            ).json()
            stack.do(job["id"], "start")
            stack.state(job["id"], "FINISHED")
            assert psql(Path(folder), port, PASSWORD, "SELECT count(*) FROM people") == "6"
            query = {"project": project, "sql": "SELECT id, name FROM people WHERE id = 1", "libraries": uses}
            made = stack.http.post("/sql/previews", json=query).json()
            assert rows(whole(stack.http, made["id"])) == [("+I", [1, "ann"])]
            session = stack.http.post("/sql/sessions", json={"project": project, "libraries": uses}).json()["id"]
            shown = stack.http.post(
                f"/sql/sessions/{session}/statements", json={"statement": "SHOW CREATE TABLE people"}
            )
            assert "people" in shown.text
            # Neither in an answer, a log, a plan nor a workflow's history.
            plan = stack.http.get(f"/jobs/{job['id']}/versions/1/plan").text
            log = stack.http.get(f"/jobs/{job['id']}/commands/1/log").text
            for text in (shown.text, plan, log, whole_of(stack.home)):
                assert PASSWORD not in text
                assert json.dumps(PASSWORD)[1:-1] not in text

    def test_a_database_that_is_not_there(self, stack: Stack, project: str):
        body = {"kind": "database", "url": "jdbc:postgresql://127.0.0.1:9/x", "table": "t"}
        answer = stack.http.post(f"/projects/{project}/resources/infer", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "database_refused")


def whole_of(folder: Path) -> str:
    """Databases and logs of Penstock and Temporal."""
    files = [*folder.glob("*.db*"), *(folder / "logs").rglob("*")]
    return "\n".join(f.read_bytes().decode("latin-1") for f in files if f.is_file())


UDF_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>udf</artifactId><version>1</version>
<properties><maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target></properties>
<dependencies><dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-common</artifactId>
<version>2.3.0</version><scope>provided</scope></dependency></dependencies></project>"""
UDF = """package t;
public class Shout extends org.apache.flink.table.functions.ScalarFunction {
  public String eval(String s) { return s + "%s"; }
}
"""


class TestFunctions:
    def test_two_versions_of_a_java_function_side_by_side(self, stack: Stack, project: str, repository: GitRepository):
        for version, mark in (("1", "!"), ("2", "?")):
            commit = repository.write({"pom.xml": UDF_POM, "src/main/java/t/Shout.java": UDF % mark})
            source = {"type": "git", "git": {"url": str(repository.folder), "ref": commit}}
            body = {
                "name": "text",
                "version": version,
                "kind": "jar",
                "source": source,
                "functions": [{"name": "shout", "class": "t.Shout"}],
            }
            library(stack, project, body)
        again = stack.http.post(f"/projects/{project}/libraries", json=body)
        assert (again.status_code, again.json()["code"]) == (409, "library_exists")
        sql = (
            "CREATE TABLE s (x STRING) WITH ('connector'='datagen','rows-per-second'='5','fields.x.length'='1');\n"
            "CREATE TABLE o (x STRING) WITH ('connector'='filesystem','path'='{}','format'='csv',"
            "'sink.rolling-policy.rollover-interval'='1 s','sink.rolling-policy.check-interval'='500 ms');\n"
            "SET 'execution.checkpointing.interval'='500 ms';\nINSERT INTO o SELECT shout(x) FROM s"
        )
        folders = {}
        for version in ("1", "2"):
            folders[version] = repository.folder.parent / f"out-{version}"
            spec = {
                "type": "sql",
                "sql": sql.format(folders[version]),
                "libraries": [{"name": "text", "version": version}],
            }
            job = stack.http.post("/jobs", json={"project": project, "name": f"j{version}", "spec": spec}).json()
            stack.do(job["id"], "start")
        for version, mark in (("1", "!"), ("2", "?")):
            found = stack.until(
                lambda v=version: [f.read_text() for f in folders[v].rglob("part-*") if not f.name.startswith(".")],
                f"version {version} has written",
            )
            assert {line.strip('"')[-1] for line in "".join(found).split()} == {mark}

    def test_a_python_function_that_is_uploaded(self, stack: Stack, project: str):
        body = {
            "name": "py",
            "version": "1",
            "kind": "python",
            "source": {"type": "upload", "file": "texts.py"},
            "functions": [{"name": "twice", "class": "texts.twice"}],
        }
        library(stack, project, body, "WAITING")
        path = f"/projects/{project}/libraries/py/1/content"
        broken = stack.http.put(path, content=b"def (")
        assert (broken.status_code, broken.json()["code"]) == (422, "bad_content")
        code = (
            "from pyflink.table import DataTypes\nfrom pyflink.table.udf import udf\n\n"
            "@udf(result_type=DataTypes.STRING())\ndef twice(x):\n    if x == 'bad':\n        raise ValueError('not this one')\n    while x == 'endless':\n        pass\n    return x + x\n"
        )
        assert stack.http.put(path, content=code.encode()).json()["state"] == "READY"
        assert stack.http.put(path, content=code.encode()).status_code == 409
        uses = [{"name": "py", "version": "1"}]
        query = {"project": project, "sql": "SELECT twice('ab')", "libraries": uses, "limits": {"seconds": 120}}
        made = stack.http.post("/sql/previews", json=query)
        assert made.status_code == 201, made.text
        assert rows(whole(stack.http, made.json()["id"])) == [("+I", ["abab"])]
        bad = "SET 'restart-strategy.type'='disable';SELECT twice('bad')"
        made = stack.http.post("/sql/previews", json={**query, "sql": bad}).json()
        ended = next(d for e, d in whole(stack.http, made["id"]) if e == "ended")
        assert ended["state"] == "FAILED"
        assert "not this one" in ended["why"]
        endless = {**query, "sql": "SELECT twice('endless')", "limits": {"seconds": 15}}
        made = stack.http.post("/sql/previews", json=endless).json()
        assert whole(stack.http, made["id"])[-1][1]["state"] == "LIMITED"
        flink_job = made["streams"][0]["flink_job_id"]
        ended_states = ("CANCELED", "FAILED", "FINISHED")
        stack.until(lambda: stack.flink.get(f"/jobs/{flink_job}").json()["state"] in ended_states, "it is gone")

    def test_what_cannot_be_had_says_why(self, stack: Stack, project: str):
        source = {"type": "maven", "coordinates": ["org.example:nothing:1.0"]}
        made = library(stack, project, {"name": "no", "version": "1", "kind": "jar", "source": source}, "FAILED")
        assert "org.example:nothing" in made["why"]
        sql = {"project": project, "sql": "SELECT 1", "libraries": [{"name": "no", "version": "1"}]}
        assert stack.http.post("/sql/previews", json=sql).json()["code"] == "library_not_ready"

    @pytest.mark.parametrize(
        "change",
        [
            {"source": {"type": "maven", "coordinates": ["a:b"]}},
            {"source": {"type": "maven", "coordinates": ["a:b:1 -X"]}},
            {"source": {"type": "upload", "file": "../x.jar"}},
            {"source": {"type": "upload", "file": "x.py"}},
            {"source": {"type": "git", "git": {"url": "ext::sh -c id"}}},
            {"version": "../1"},
            {"functions": [{"name": "f` AS", "class": "a.B"}]},
            {"functions": [{"name": "f", "class": "a.B' LANGUAGE JAVA; --"}]},
        ],
    )
    def test_hostile_ones_are_refused(self, stack: Stack, project: str, change: dict):
        body = {"name": "x", "version": "1", "kind": "jar", "source": {"type": "upload", "file": "x.jar"}, **change}
        assert stack.http.post(f"/projects/{project}/libraries", json=body).status_code == 422


def test_a_name_in_a_foreign_project_is_not_completed(stack: Stack, project: str):
    register(stack, project, "numbers_of_ours", NUMBERS)
    body = {"sql": "SELECT * FROM numbers_", "position": 22}
    own = stack.http.post("/sql/complete", json={**body, "project": project}).json()
    assert own["candidates"][0] == {"text": "numbers_of_ours", "kind": "table", "detail": ""}
    foreign = stack.http.post("/sql/complete", json=body).json()
    assert all("numbers_of" not in c["text"] for c in foreign["candidates"])
