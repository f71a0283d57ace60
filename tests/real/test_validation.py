"""Checking a whole script by Flink's own parser and planner, over REST and from the terminal."""

from __future__ import annotations

import json
import re
import uuid
import zipfile
from pathlib import Path

import pytest

from core.sql import setting_keys
from core.sql.layout import formatted
from core.sql.outside import changed_outside
from core.sql.script import parse
from sql.options import _SUPPORTED, told
from sql.templates import Template, templates
from sql.validate import harmless
from stack.parts import StackParts
from tests.real.conftest import Stack
from tests.real.test_cli import penstock

TABLES = """CREATE TABLE src (id BIGINT, name STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '5');
CREATE TABLE snk (name STRING, n BIGINT) WITH ('connector' = 'blackhole');
"""


def validate(stack: Stack, sql: str, **more) -> dict:
    response = stack.http.post("/sql/validate", json={"sql": sql, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_good_script_says_what_it_reads_and_writes_and_runs_nothing(stack: Stack):
    before = len(stack.flink.get("/jobs/overview").json()["jobs"])
    found = validate(stack, TABLES + "INSERT INTO snk SELECT name, COUNT(*) FROM src GROUP BY name;")
    assert found["valid"], found
    assert found["reads"] == ["default_catalog.default_database.src"]
    assert found["writes"] == ["default_catalog.default_database.snk"]
    assert any("two-phase" in w["message"] for w in found["warnings"])
    assert [s["kind"] for s in found["statements"]] == ["setup", "setup", "insert"]
    assert len(stack.flink.get("/jobs/overview").json()["jobs"]) == before


def test_every_error_with_its_place(stack: Stack):
    sql = (
        TABLES
        + "CREATE VIEW v AS SELECT UPER(name) AS u FROM src;\n"
        + "INSERT INTO snk SELECT u, 1 FROM v;\n"
        + "  INSERT INTO snk SELECT nam, 1 FROM src;\n"
        + "INSERT INTO snk SELECT name FROM src;\n"
        + "SELECT 1;\nINSERT INTO snk SELECT name, 1 FROM src WHER id > 1;"
    )
    errors = {e["statement"]: e for e in validate(stack, sql)["errors"]}
    assert sorted(errors) == [3, 4, 5, 6, 7, 8]
    assert (errors[3]["line"], errors[3]["column"]) == (3, 25)
    assert errors[4]["caused_by"] == 3
    assert (errors[5]["line"], errors[5]["column"]) == (5, 26)
    assert "'nam' not found" in errors[5]["message"]
    assert "Different number of columns" in errors[6]["message"]
    assert errors[7]["code"] == "sql_script"
    assert errors[8]["line"] == 8
    assert not any("\tat " in e["message"] or "Exception" in e["message"] for e in errors.values())


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 'open", "sql_unclosed"),
        ("SELECT `open", "sql_unclosed"),
        ("SELECT /* open", "sql_unclosed"),
        ("-- nothing", "sql_no_insert"),
        (";;;", "sql_no_insert"),
        ("SET 'execution.target' = 'local';", "sql_script"),
        ("INSERT INTO \U0001f680", "sql_invalid"),
        ("DROP CATALOG default_catalog;\nINSERT INTO x SELECT 1", "sql_invalid"),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO x SELECT 1;", "sql_script"),
    ],
)
def test_what_is_wrong_before_flink_is_asked_and_after(stack: Stack, sql: str, code: str):
    found = validate(stack, sql)
    assert not found["valid"]
    assert code in [e["code"] for e in found["errors"]], found["errors"]


@pytest.mark.parametrize(
    "statement",
    [
        "EXECUTE PLAN '/tmp/x.json'",
        "ANALYZE TABLE src COMPUTE STATISTICS",
        "REPLACE TABLE src AS SELECT 1 AS id",
        "CREATE MATERIALIZED TABLE m FRESHNESS = INTERVAL '1' MINUTE AS SELECT 1 AS id",
        "ALTER MATERIALIZED TABLE m RESUME",
        "CALL sys.run()",
        "STOP JOB 'x'",
        "CREATE TABLE c AS SELECT 1 AS id",
        "CREATE OR REPLACE TABLE c AS SELECT 1 AS id",
    ],
)
def test_what_would_run_a_job_of_its_own_is_not_even_tried(stack: Stack, statement: str):
    before = len(stack.flink.get("/jobs/overview").json()["jobs"])
    for queries in (True, False):
        found = validate(stack, f"{TABLES}{statement};\nINSERT INTO snk SELECT name, id FROM src", queries=queries)
        assert [e["code"] for e in found["errors"]] == ["sql_script"], found["errors"]
    response = stack.http.post("/sql/previews", json={"sql": f"{TABLES}{statement};\nSELECT 1"})
    assert (response.status_code, response.json()["code"]) == (422, "sql_script")
    session = stack.http.post("/sql/sessions", json={}).json()["id"]
    refused = stack.http.post(f"/sql/sessions/{session}/statements", json={"statement": statement})
    assert (refused.status_code, refused.json()["code"]) == (422, "statement_refused")
    assert len(stack.flink.get("/jobs/overview").json()["jobs"]) == before


def test_ddl_of_the_sessions_own_catalogs_is_tried(stack: Stack):
    sql = (
        "CREATE CATALOG other WITH ('type' = 'generic_in_memory');\nUSE CATALOG other;\nCREATE DATABASE d;\n"
        "CREATE TABLE d.t (id BIGINT) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO d.t SELECT CAST(1 AS BIGINT)"
    )
    found = validate(stack, sql)
    assert found["valid"], found
    assert found["writes"] == ["other.d.t"]


@pytest.mark.parametrize(
    ("statement", "sent"),
    [
        ("CREATE TABLE t (id BIGINT) WITH ('a'='b')", "CREATE TEMPORARY TABLE t (id BIGINT) WITH ('a'='b')"),
        ("CREATE VIEW hive.d.v AS SELECT 1", "CREATE TEMPORARY VIEW hive.d.v AS SELECT 1"),
        ("DROP TABLE IF EXISTS t", None),
        ("ALTER TABLE t RENAME TO u", None),
        ("CREATE DATABASE d", None),
        ("DROP DATABASE default_catalog.d", "DROP DATABASE default_catalog.d"),
        ("CREATE TEMPORARY TABLE t (id BIGINT)", "CREATE TEMPORARY TABLE t (id BIGINT)"),
        ("SHOW TABLES", "SHOW TABLES"),
    ],
)
def test_nothing_outside_the_session_is_changed(statement: str, sent: str | None):
    """In a catalog that outlives the session (Hive, JDBC) tables are made for the session only, and nothing is dropped
    or altered. No such catalog is at hand here, so this holds the rule, not a real catalog, to it."""
    (parsed,) = parse(statement).setup
    assert harmless(parsed, changed_outside(parsed.tokens, "hive", {"default_catalog"}))[0] == sent


def test_a_catalog_that_is_not_there_is_missed(stack: Stack):
    """Of a TEMPORARY view, as which it is tried, Flink does not ask for the catalog."""
    found = validate(
        stack, TABLES + "CREATE VIEW nowhere.d.v AS SELECT id FROM src;\nINSERT INTO snk SELECT name, id FROM src"
    )
    assert [(e["statement"], e["message"]) for e in found["errors"]] == [(3, "Catalog nowhere does not exist.")]


def test_where_flink_knows_no_place_it_is_that_of_the_statement(stack: Stack):
    """It says "line 0, column 0" of a function in a MATCH_RECOGNIZE that it does not have."""
    table = "CREATE TABLE timed (id BIGINT, name STRING, p AS PROCTIME()) WITH ('connector' = 'datagen');\n"
    matched = "MEASURES A.id AS i, no_function(1, 2) AS b PATTERN (A B) DEFINE A AS id = 1, B AS name = 'b'"
    query = f"SELECT t.i\nFROM timed MATCH_RECOGNIZE (\nORDER BY p {matched}) AS t"
    found = validate(stack, f"{table}\n{query}", queries=True)
    assert [(e["line"], e["column"]) for e in found["errors"]] == [(3, 1)], found


def test_a_huge_script(stack: Stack):
    many = TABLES + "".join(f"CREATE TABLE t{i} (id BIGINT) WITH ('connector'='blackhole');\n" for i in range(150))
    found = validate(stack, many + "INSERT INTO t149 SELECT id FROM src")
    assert found["valid"]
    assert len(found["statements"]) == 153
    assert stack.http.post("/sql/validate", json={"sql": "-" * 600_000}).status_code == 422


class TestCompletion:
    def complete(self, stack: Stack, sql: str) -> list[str]:
        body = {"sql": sql.replace("|", ""), "position": sql.index("|")}
        response = stack.http.post("/sql/complete", json=body)
        assert response.status_code == 200, response.text
        return [c["text"] for c in response.json()["candidates"]]

    def test_columns_tables_options_keywords_and_functions(self, stack: Stack):
        assert self.complete(stack, TABLES + "SELECT na| FROM src")[0] == "name"
        assert self.complete(stack, TABLES + "SELECT * FROM sr|")[0] == "src"
        assert any(c.upper().startswith("NTILE") for c in self.complete(stack, "SELECT NTI| FROM src"))
        assert self.complete(stack, "|") is not None

    MADE = (
        "CREATE TABLE bills (id BIGINT, `order` STRING, `a b` INT, `monday` DOUBLE) WITH ('connector'='datagen');\n"
        "CREATE VIEW big AS SELECT id AS number_of_it, `monday` FROM bills;\n"
    )

    @pytest.mark.parametrize(
        ("sql", "found"),
        [
            ("SEL|", ["SELECT"]),
            ("CREATE TEMPORARY T|", ["TABLE"]),
            ("SELECT b.| FROM bills AS b", ["`a b`", "`monday`", "`order`", "id"]),
            ("SELECT b.o| FROM bills AS b", ["`order`"]),
            ("SELECT `o| FROM bills", ["`order`"]),
            ("WITH c AS (SELECT id AS x, `order` FROM bills) SELECT c.| FROM c", ["`order`", "x"]),
            ("SELECT num| FROM big", ["number_of_it"]),
            ("SELECT v.n| FROM big v", ["number_of_it"]),
            ("CREATE TABLE t (a INT) WITH ('connector'='filesystem','path'='/','format'='js|", ["json"]),
            ("CREATE TABLE t (a INT) WITH ('connector'='datagen','fields.a.k|", ["fields.a.kind"]),
            ("SELECT * FROM bills /*+ OPTIONS('rows-p|", ["rows-per-second"]),
            ("SELECT * FROM bills /*+ OPTIONS('fields.id.k|", ["fields.id.kind"]),
            ("SELECT b.n| FROM big b UNION ALL SELECT b.id FROM bills b", ["number_of_it"]),
            ("CREATE TABLE t (p ROW<city STRING>) WITH ('connector'='datagen'); SELECT x.p.| FROM t x", ["city"]),
            ("SET 'table.exec.state|", ["table.exec.state.ttl"]),
            ("SET 'execution.runtime-mode'='b|", ["BATCH"]),
            ("SELECT 'b|", []),
        ],
    )
    def test_what_stands_in_the_text_and_in_flink(self, stack: Stack, sql: str, found: list[str]):
        assert self.complete(stack, self.MADE + sql) == found

    def test_a_candidate_is_valid_where_it_is_put(self, stack: Stack):
        for name in self.complete(stack, self.MADE + "SELECT b.| FROM bills AS b"):
            assert validate(stack, f"{self.MADE}SELECT b.{name}, {name} FROM bills AS b", queries=True)["valid"], name

    def test_a_session_completes_what_was_made_in_it(self, stack: Stack):
        session = stack.http.post("/sql/sessions", json={}).json()["id"]
        for statement in self.MADE.split(";\n")[:-1]:
            stack.http.post(f"/sql/sessions/{session}/statements", json={"statement": statement})
        for text, wanted in (("SELECT b.| FROM bills b", "`order`"), ("SELECT 1; SELECT * FROM bil|", "bills")):
            body = {"sql": text.replace("|", ""), "position": text.index("|"), "session": session}
            found = stack.http.post("/sql/complete", json=body).json()
            assert wanted in [c["text"] for c in found["candidates"]], found
        stack.http.delete(f"/sql/sessions/{session}")

    def test_the_keys_of_a_set_are_flinks(self, parts: StackParts):
        for version in ("1.20.5", "2.3.0"):
            home = parts.flink(version) / "lib"
            known: set[str] = {"parallelism.default"}
            for jar in (*home.glob("flink-dist-*.jar"), *home.glob("flink-table-api-java-uber-*.jar")):
                with zipfile.ZipFile(jar) as archive:
                    for name in archive.namelist():
                        if re.search(r"(configuration|config|environment|rocksdb)/\w*(Options|Config)\.class$", name):
                            data = archive.read(name)
                            known |= {key for key in setting_keys.KEYS if key.encode() in data}
            assert known >= set(setting_keys.KEYS), (version, set(setting_keys.KEYS) - known)

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ("'con|", {"connector"}),
            ("'connector' = 'd|", {"datagen"}),
            ("'connector' = 'datagen', 'number|", {"number-of-rows"}),
            ("'connector' = 'print', 'st|", {"standard-error"}),  # it can be written only
            ("'connector' = 'filesystem', 'pat|", {"path"}),  # path and format are required before all else
            ("'connector' = 'filesystem', 'path' = '/x', 'pat|", set()),
            # Flink says nothing of a format's options where `filesystem` is the connector; where kafka is, it does.
            ("'connector' = 'filesystem', 'format' = 'json', 'json.ig|", set()),
            ("'connector' = 'none-such', '|", set()),
            ("'connector' = 'x''); DROP TABLE src; --', '|", set()),
        ],
    )
    def test_connectors_and_options_are_those_that_flink_has(self, stack: Stack, options: str, found: set[str]):
        assert set(self.complete(stack, f"CREATE TABLE t (a INT) WITH ({options}")) == found


def test_lists_in_messages_of_flink():
    message = "Unsupported options:\n\na.b\n\nSupported options:\n\nconnector\nx.# (deprecated: y)\nfields.#.kind"
    assert told(_SUPPORTED, message) == ["connector", "x.#", "fields.#.kind"]
    assert told(_SUPPORTED, "something else") == []


@pytest.mark.parametrize(
    "sql",
    [
        "select a,b from t where x=1 -- why\n;insert into s select * from t",
        "SELECT 'it''s; fine', `a;b` FROM t",
        "create table t (a int) with ('A'='b')",
    ],
)
def test_laying_out_changes_no_meaning(stack: Stack, sql: str):
    made = stack.http.post("/sql/format", json={"sql": sql}).json()["sql"]
    again = stack.http.post("/sql/format", json={"sql": made}).json()["sql"]
    assert "".join(made.split()).lower().replace("--why", "") == "".join(sql.split()).lower().replace("--why", "")
    assert again == made


class TestTerminal:
    def test_from_an_idea_to_a_tested_job(self, stack: Stack, tmp_path: Path):
        name = f"sql-{uuid.uuid4().hex[:8]}"
        good, bad, query, rows = (tmp_path / n for n in ("good.sql", "bad.sql", "query.sql", "rows.json"))
        good.write_text(TABLES + "INSERT INTO snk SELECT name, COUNT(*) FROM src GROUP BY name;")
        bad.write_text(TABLES + "INSERT INTO snk SELECT nam, 1 FROM src;")
        rows.write_text('{"id": 1, "name": "ann"}\n{"id": 2, "name": "ann"}\n')
        assert "valid" in penstock(stack, "sql", "validate", str(good)).stdout
        refused = penstock(stack, "sql", "validate", str(bad), code=1)
        assert f"{bad}:3:24: Column 'nam' not found" in refused.stderr
        assert "INSERT INTO snk\n" in penstock(stack, "sql", "format", str(good)).stdout
        query.write_text("SELECT * FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t(n, s)")
        shown = penstock(stack, "sql", "preview", str(query)).stdout
        assert "n | s" in shown
        assert "+I 2 | NULL" in shown
        seen = penstock(stack, "sql", "debug", str(good), "--source", f"src={rows}", "--table").stdout
        assert "ann | 2" in seen
        penstock(stack, "jobs", "create", name, "-f", str(good))
        assert (
            "snk: 1 rows expected"
            in penstock(stack, "sql", "add-test", name, "basic", "--source", f"src={rows}").stdout
        )
        assert "passed basic" in penstock(stack, "sql", "test", name).stdout
        changed = {"type": "sql", "sql": good.read_text().replace("COUNT(*)", "COUNT(*) + 1")}
        penstock(stack, "jobs", "add-version", name, "-f", "-", text=json.dumps(changed))
        failed = penstock(stack, "sql", "test", name, code=1).stdout
        assert '- {"name": "ann", "n": 2}' in failed
        assert '+ {"name": "ann", "n": 3}' in failed
        penstock(stack, "jobs", "start", name, "--version", "1", "--wait")
        verdict = penstock(stack, "jobs", "verdict", name).stdout
        assert "COMPATIBLE" in verdict
        assert "snk.n" in penstock(stack, "lineage", "show", name).stdout
        assert name in penstock(stack, "lineage", "graph", "--job", name).stdout

    def test_tables_secrets_and_sessions(self, stack: Stack, tmp_path: Path):
        project = f"p{uuid.uuid4().hex[:8]}"
        stack.http.post("/projects", json={"name": project})
        assert "${secret:key}" in penstock(stack, "secrets", "set", "key", "-p", project, text="hidden\n").stdout
        assert "hidden" not in penstock(stack, "secrets", "list", "-p", project).stdout
        sample = tmp_path / "sample.json"
        sample.write_text('{"id": 1, "at": "2026-01-01T10:00:00Z"}')
        made = json.loads(penstock(stack, "resources", "infer", "json", "-f", str(sample), "-p", project).stdout)
        made["options"] = {"connector": "datagen", "number-of-rows": "2"}
        penstock(stack, "resources", "put", "events", "-", "-p", project, text=json.dumps(made))
        assert "events" in penstock(stack, "resources", "list", "-p", project).stdout
        assert "TIMESTAMP_LTZ(3)" in penstock(stack, "resources", "show", "events", "-p", project).stdout
        session = penstock(stack, "sql", "session", "open", "-p", project).stdout.strip()
        assert "events" in penstock(stack, "sql", "session", "run", session, "SHOW TABLES").stdout
        counted = penstock(
            stack, "sql", "session", "run", session, "SELECT COUNT(*) AS n FROM events", "--table"
        ).stdout
        assert counted.strip().endswith("2")
        penstock(stack, "sql", "session", "close", session)
        code = tmp_path / "words.py"
        code.write_text("def f(x):\n    return x\n")
        added = penstock(stack, "libraries", "add", "words", "1", "--file", str(code), "-p", project).stdout
        assert "words 1 is ready" in added
        assert "READY" in penstock(stack, "libraries", "list", "-p", project).stdout
        penstock(stack, "libraries", "delete", "words", "1", "-p", project)


class TestTemplates:
    @pytest.fixture(params=[t.name for t in templates()])
    def template(self, request: pytest.FixtureRequest) -> Template:
        return next(t for t in templates() if t.name == request.param)

    def test_flink_takes_it(self, stack: Stack, template: Template):
        found = stack.http.post("/sql/validate", json={"sql": template.sql}).json()
        assert found["valid"], found

    def test_it_says_what_it_is_for_and_is_laid_out(self, template: Template):
        assert formatted(template.sql) == template.sql
        assert template.title
        assert template.purpose
        assert all(template.variables.values()), "a variable without a default: it does not run as it is"
