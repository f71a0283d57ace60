"""What a debug run shows is what the job writes: the same script writes to files by the bare gateway, as the judge."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.sql.changelog import as_text
from core.sql.values import comparable, of_text
from tests.real.conftest import Stack
from tests.real.same.bare import Bare
from tests.real.servers import postgres, psql
from tests.real.sse import rows, table, whole
from tests.real.test_debugging import debug
from tests.real.test_resources import JDBC_JARS, library

SOURCE = {
    "d": "DECIMAL(20, 6)",
    "t": "TIMESTAMP(6)",
    "tz": "TIMESTAMP_LTZ(6)",
    "s": "STRING",
    "c": "CHAR(3)",
    "v": "VARCHAR(3)",
    "n": "INT",
    "b": "BIGINT",
    "bin": "BYTES",
    "r": "ROW<a INT, d DECIMAL(20, 6)>",
    "a": "ARRAY<STRING>",
    "m": "MAP<STRING, DECIMAL(20, 6)>",
    "f": "DOUBLE",
    "fl": "FLOAT",
}
CASTS = [
    ("d", "DECIMAL(10, 2)"),
    ("d", "DECIMAL(38, 18)"),
    ("d", "DOUBLE"),
    ("t", "TIMESTAMP(0)"),
    ("t", "TIMESTAMP(9)"),
    ("t", "DATE"),
    ("tz", "TIMESTAMP_LTZ(0)"),
    ("tz", "TIMESTAMP(3)"),
    ("s", "VARCHAR(3)"),
    ("s", "STRING"),
    ("c", "CHAR(5)"),
    ("c", "CHAR(2)"),
    ("c", "VARCHAR(2)"),
    ("v", "STRING"),
    ("v", "VARCHAR(2)"),
    ("n", "BIGINT"),
    ("n", "DECIMAL(3, 0)"),
    ("n", "DOUBLE"),
    ("b", "DOUBLE"),
    ("b", "DECIMAL(20, 0)"),
    ("bin", "VARBINARY(2)"),
    ("r", "ROW<a BIGINT, d DECIMAL(10, 2)>"),
    ("r", "ROW<x BIGINT, y DECIMAL(10, 2)>"),
    ("a", "ARRAY<VARCHAR(2)>"),
    ("m", "MAP<STRING, DECIMAL(10, 2)>"),
    ("f", "DECIMAL(5, 2)"),
    ("fl", "DOUBLE"),
]
ROWS = [
    {
        "d": "12345678901.123456",
        "t": "2026-01-01T10:00:00.999999",
        "tz": "2026-01-01T10:00:00.999999Z",
        "s": "abcdef",
        "c": "xyzuv",
        "v": "abcdef",
        "n": 70000,
        "b": 9007199254740993,
        "bin": "AAECAw==",
        "r": {"a": 1, "d": "1.235"},
        "a": ["abc", "d", None],
        "m": {"k": "1.005"},
        "f": 1234.5678,
        "fl": 1.1,
    },
    {"d": "1.125", "s": "a", "c": "x", "v": "a", "n": 5, "b": 1, "bin": "AA==", "f": 0.1},
    {},
]


def written_by_flink(stack: Stack, script: str) -> tuple[str, str]:
    """Run a script of one INSERT to its end, without anything of ours: the state of its Flink job, and why it failed."""
    bare = Bare(stack.gateway_url)
    for statement in [s for s in script.split(";\n") if s.strip()]:
        answer = bare.ask(statement.rstrip(";"))
        assert answer.error is None, answer.error
    bare.close()
    for _ in range(600):
        state = stack.flink.get(f"/jobs/{answer.job_id}").json()["state"]
        if state in ("FINISHED", "FAILED"):
            break
        time.sleep(0.1)
    return state, stack.flink.get(f"/jobs/{answer.job_id}/exceptions").text


class Case:
    """A script that reads rows of a file and writes to another folder, each time it is run into a new one."""

    def __init__(self, stack: Stack, folder: Path):
        self.stack, self.folder = stack, folder
        (folder / "in").mkdir()
        (folder / "in" / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def script(self, sink: str, insert: str, *, settings: str = "", partitioned: str = "") -> str:
        options = "'connector' = 'filesystem', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'"
        source = ", ".join(f"`{name}` {kind}" for name, kind in SOURCE.items())
        return (
            f"{settings}CREATE TABLE src ({source}) WITH ({options}, 'path' = 'file://{self.folder}/in');\n"
            f"CREATE TABLE snk ({sink}){partitioned} WITH ({options}, 'path' = 'file://{self.folder}/out');\n"
            f"{insert};\n"
        )

    def written(self) -> list[dict[str, Any]]:
        files = [f for f in (self.folder / "out").rglob("*") if f.is_file() and f.name.startswith("part")]
        read = [json.loads(line, parse_float=str) for file in files for line in file.read_text().splitlines()]
        partitions = [dict(p.split("=", 1) for p in file.parts if "=" in p) for file in files]
        return [{**row, **(partitions[0] if partitions else {})} for row in read]

    def shown(self, script: str) -> list[tuple[str, Any]]:
        return whole(self.stack.http, debug(self.stack, script, {})["id"])

    def check(self, script: str, columns: dict[str, str]) -> list[dict[str, Any]]:
        """Both ways give the same rows; they are returned as they are shown."""
        state, why = written_by_flink(self.stack, script)
        assert state == "FINISHED", why
        events = self.shown(script)
        assert events[-1][1]["state"] == "FINISHED", events
        names = next(data for event, data in events if event == "columns")["columns"]
        shown = [dict(zip([c["name"] for c in names], fields, strict=True)) for fields in table(events, "snk")]
        types = {name: of_text(kind) for name, kind in columns.items()}
        exact = [
            sorted(as_text({n: comparable(row.get(n), t) for n, t in types.items()}) for row in many)
            for many in (shown, self.written())
        ]
        assert exact[0] == exact[1]
        return shown


@pytest.fixture
def case(stack: Stack, tmp_path: Path) -> Case:
    return Case(stack, tmp_path)


def test_every_cast_to_the_type_of_a_column(case: Case):
    columns = {f"x{number}": kind for number, (_, kind) in enumerate(CASTS)}
    sink = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    query = ", ".join(f"`{name}`" for name, _ in CASTS)
    shown = case.check(case.script(sink, f"INSERT INTO snk SELECT {query} FROM src"), columns)
    assert [row["x0"] for row in shown] == [None, "1.13", None]  # does not fit; is rounded
    assert [row["x3"] for row in shown] == ["2026-01-01T10:00:00", None, None]
    assert [row["x8"] for row in shown] == ["abc", "a", None]


@pytest.mark.parametrize(
    ("insert", "partitioned"),
    [
        ("INSERT INTO snk (s, d) SELECT v, d FROM src", ""),
        ("INSERT INTO snk PARTITION (p = 'x;y') SELECT d, s FROM src", " PARTITIONED BY (p)"),
        ("INSERT INTO snk PARTITION (p = 'x') (s) SELECT s FROM src", " PARTITIONED BY (p)"),
        ("INSERT INTO snk /*+ OPTIONS('sink.parallelism' = '1') */ SELECT d, s, 'lit' FROM src", ""),
        ("INSERT INTO snk SELECT d, s, s FROM src UNION ALL SELECT d, v, s FROM src", ""),
    ],
)
def test_every_form_of_an_insert(case: Case, insert: str, partitioned: str):
    columns = {"d": "DECIMAL(10, 2)", "s": "VARCHAR(3)", "p": "STRING"}
    sink = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    case.check(case.script(f"{sink}, c AS CHAR_LENGTH(s)", insert, partitioned=partitioned), columns)


SET = "SET 'table.exec.sink.{}' = '{}';\n"


def test_nulls_that_are_not_allowed_are_dropped(case: Case):
    settings = SET.format("not-null-enforcer", "DROP")
    script = case.script("s STRING, n BIGINT NOT NULL", "INSERT INTO snk SELECT s, n FROM src", settings=settings)
    assert len(case.check(script, {"s": "STRING", "n": "BIGINT"})) == 2


def test_lengths_are_kept_where_types_say_nothing_new(case: Case):
    columns = {"v": "VARCHAR(3)", "c": "CHAR(3)"}
    settings = SET.format("type-length-enforcer", "TRIM_PAD")
    insert = "INSERT INTO snk SELECT v, c FROM src WHERE v IS NOT NULL AND c IS NOT NULL"
    script = case.script("v VARCHAR(3), c CHAR(3)", insert, settings=settings)
    assert [row["v"] for row in case.check(script, columns)] == ["abc", "a"]


@pytest.mark.parametrize(
    ("sink", "insert", "settings", "words"),
    [
        ("s STRING NOT NULL", "SELECT s FROM src", "", "Column 's' is NOT NULL"),
        (
            "v VARCHAR(3)",
            "SELECT v FROM src",
            SET.format("type-length-enforcer", "ERROR"),
            "a string of length 6 is being written into it",
        ),
    ],
)
def test_what_fails_the_job_fails_the_run(case: Case, sink: str, insert: str, settings: str, words: str):
    script = case.script(sink, f"INSERT INTO snk {insert}", settings=settings)
    state, why = written_by_flink(case.stack, script)
    assert state == "FAILED"
    assert words in why
    events = case.shown(script)
    ended = next(data for event, data in events if event == "ended")
    assert ended["state"] == "FAILED"
    assert words in ended["why"]


KEYED = (
    "CREATE TABLE src (id BIGINT, k STRING, n INT) WITH ('connector' = 'filesystem', 'path' = 'file:///nowhere', "
    "'format' = 'json');\n"
    "CREATE TABLE snk (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ({});\n"
)
GIVEN = [{"id": 1, "k": "a", "n": 1}, {"id": 2, "k": "a", "n": 1}, {"id": 3, "k": "b", "n": 7}]


class TestPrimaryKeys:
    """A sink with a primary key has one row of each."""

    @pytest.mark.parametrize(
        ("connector", "query", "written"),
        [
            ("'connector' = 'blackhole'", "SELECT k, id FROM src", [["a", 2], ["b", 3]]),
            ("'connector' = 'blackhole'", "SELECT k, COUNT(*) FROM src GROUP BY k", [["a", 2], ["b", 1]]),
            (
                "'connector' = 'blackhole'",
                "SELECT k, SUM(n) FROM src GROUP BY k, id ON CONFLICT DO DEDUPLICATE",
                [["a", 1], ["b", 7]],
            ),
            (  # one that takes inserts only does not look at its key
                "'connector' = 'filesystem', 'path' = 'file:///nowhere/out', 'format' = 'json'",
                "SELECT k, id FROM src",
                [["a", 1], ["a", 2], ["b", 3]],
            ),
        ],
    )
    def test_the_newest_row_counts(self, stack: Stack, connector: str, query: str, written: list[Any]):
        made = debug(stack, f"{KEYED.format(connector)}INSERT INTO snk {query};", {"src": {"rows": GIVEN}})
        events = whole(stack.http, made["id"])
        assert events[-1][1]["state"] == "FINISHED", events
        assert sorted(table(events, "snk")) == written


EXACT = (
    "CREATE TABLE src (d DECIMAL(20, 6), s STRING, f DOUBLE, b BIGINT, t TIMESTAMP(9), bin BYTES, "
    "r ROW<d DECIMAL(38, 10), t TIMESTAMP(3)>, a ARRAY<DECIMAL(4, 2)>) WITH ('connector' = 'datagen');\n"
    "CREATE TABLE snk (d DECIMAL(20, 6), s STRING, f DOUBLE, b BIGINT, t TIMESTAMP(9), bin BYTES, "
    "r ROW<d DECIMAL(38, 10), t TIMESTAMP(3)>, a ARRAY<DECIMAL(4, 2)>) WITH ('connector' = 'blackhole');\n"
    "INSERT INTO snk SELECT * FROM src;"
)
EXACT_JSON = """[
{"d": 12345678901234.123456, "s": 1.10, "f": NaN, "b": 9223372036854775807, "t": "2026-01-01 10:00:00.123456789",
 "bin": "AAE=", "r": {"d": 1234567890123456789012345678.0123456789, "t": "2026-01-01 10:00:00.5"}, "a": [1.10, null]},
{"d": 0.1, "s": "NaN", "f": 1e300, "b": -1, "a": []}]"""
EXACT_CSV = """d,s,f,b,t,bin,r,a
12345678901234.123456,1.10,NaN,9223372036854775807,2026-01-01 10:00:00.123456789,AAE=,"{""d"": 1234567890123456789012345678.0123456789, ""t"": ""2026-01-01 10:00:00.5""}","[1.10, null]"
0.1,NaN,1e300,-1,,,,[]
"""
EXACT_ROWS = [
    [
        "12345678901234.123456",
        "1.10",
        "NaN",
        9223372036854775807,
        "2026-01-01T10:00:00.123456789",
        "AAE=",
        {"d": "1234567890123456789012345678.0123456789", "t": "2026-01-01T10:00:00.5"},
        ["1.10", None],
    ],
    ["0.100000", "NaN", 1e300, -1, None, None, None, []],
]


def body(sql: str, sources: str) -> dict[str, Any]:
    """A request as a client writes it that keeps its numbers."""
    return {
        "content": f'{{"sql": {json.dumps(sql)}, "sources": {sources}}}',
        "headers": {"Content-Type": "application/json"},
    }


def test_rows_come_in_the_order_that_is_written(stack: Stack):
    """Flink drops the ORDER BY of a subquery."""
    sql = (
        "CREATE TABLE src (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = "
        "'datagen');\nCREATE TABLE snk (id BIGINT, again BIGINT) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO snk SELECT id, id FROM src ORDER BY ts;"
    )
    given = [{"id": n, "ts": f"2026-01-01 10:00:0{n}"} for n in (3, 1, 2)]
    events = whole(stack.http, debug(stack, sql, {"src": {"rows": given}})["id"])
    assert [fields for _, fields in rows(events, "snk")] == [[1, 1], [2, 2], [3, 3]]


class TestExactly:
    """From what is typed to Flink, and from Flink to what is shown."""

    @pytest.mark.parametrize("source", [f'{{"rows": {EXACT_JSON}}}', json.dumps({"csv": EXACT_CSV})])
    def test_debug(self, stack: Stack, source: str):
        response = stack.http.post("/sql/debug", **body(EXACT, f'{{"src": {source}}}'))
        assert response.status_code == 201, response.text
        events = whole(stack.http, response.json()["id"])
        assert [fields for _, fields in rows(events, "snk")] == EXACT_ROWS, events[-2:]
        assert table(events, "snk") == EXACT_ROWS

    def test_preview(self, stack: Stack):
        sql = (
            "SELECT CAST('12345678901234567.890' AS DECIMAL(38, 3)), CAST(1.10 AS DECIMAL(4, 2)), 9223372036854775807, "
            "CAST('0' AS DECIMAL(38, 12)), ROW(CAST(1.10 AS DECIMAL(4, 2)))"
        )
        made = stack.http.post("/sql/previews", json={"sql": sql}).json()
        ((_, fields),) = rows(whole(stack.http, made["id"]))
        assert fields == ["12345678901234567.890", "1.10", 9223372036854775807, "0.000000000000", {"EXPR$0": "1.10"}]

    def test_a_test_is_held_to_what_is_written(self, stack: Stack):
        job = stack.create(EXACT.replace("(d DECIMAL(20, 6), s STRING, f", "(d DECIMAL(20, 6), s STRING, f", 1))
        path = f"/jobs/{job}/versions/1/tests/exact"
        inputs = f'"inputs": {{"src": {{"rows": {EXACT_JSON}}}}}'
        expected = EXACT_JSON.replace("12345678901234.123456", "12345678901234.123457")
        headers = {"Content-Type": "application/json"}
        kept = stack.http.put(path, content=f"{{{inputs}}}", headers=headers)
        assert kept.status_code == 201, kept.text
        assert [row["d"] for row in kept.json()["expected"]["snk"]] == ["12345678901234.123456", "0.100000"]
        for rows_, passes in ((EXACT_JSON, True), (expected, False)):
            stack.http.put(path, content=f'{{{inputs}, "expected": {{"snk": {rows_}}}}}', headers=headers)
            (result,) = stack.http.post(f"/jobs/{job}/versions/1/tests/run").json()["items"]
            assert result["passed"] is passes, result
        wrong = f'{{{inputs}, "expected": {{"snk": [{{"dd": 1}}]}}}}'
        stack.http.put(path, content=wrong, headers=headers)
        assert stack.http.post(f"/jobs/{job}/versions/1/tests/run").json()["code"] == "bad_rows"

    def test_keys_that_json_does_not_have(self, stack: Stack):
        sql = (
            "CREATE TABLE k (m MAP<INT, ARRAY<DECIMAL(4, 2)>>, c MULTISET<BIGINT>, v VARIANT) "
            "WITH ('connector' = 'blackhole');\nINSERT INTO k SELECT MAP[1, ARRAY[1.10]], COLLECT(x), "
            "PARSE_JSON('{\"a\": 1}') FROM (VALUES (CAST(7 AS BIGINT)), (7)) AS t(x);"
        )
        events = whole(stack.http, debug(stack, sql, {})["id"])
        assert table(events, "k") == [[{"1": ["1.10"]}, {"7": 2}, '{"a":1}']], events[-2:]
        made = stack.http.post("/sql/previews", json={"sql": "SELECT MAP[1, 'x']"})
        words = made.text if made.status_code != 201 else str(whole(stack.http, made.json()["id"])[-3:])
        assert "CAST(... AS MAP<STRING, ...>)" in words

    @pytest.mark.parametrize("source", [{"csv": "x\nyes\n"}, {"csv": "x\n1\n"}, {"rows": [{"x": 1}]}])
    def test_a_truth_value_that_is_none_is_refused(self, stack: Stack, source: dict[str, Any]):
        sql = "CREATE TABLE s (x BOOLEAN) WITH ('connector' = 'datagen');\nCREATE TABLE k (x BOOLEAN) WITH ('connector' = 'blackhole');\nINSERT INTO k SELECT x FROM s;"
        response = stack.http.post("/sql/debug", json={"sql": sql, "sources": {"s": source}})
        assert response.json()["code"] == "bad_rows"


JOINED = """CREATE TABLE orders (id BIGINT, cur STRING, price DECIMAL(10, 2), bought TIMESTAMP(3), pt AS PROCTIME(),
  WATERMARK FOR bought AS bought) WITH ('connector' = 'datagen');
CREATE TABLE rates (cur STRING, rate DECIMAL(10, 4), since TIMESTAMP(3), doubled AS rate * 2,
  WATERMARK FOR since AS since, PRIMARY KEY (cur) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'file:///nowhere', 'format' = '{}');
CREATE TABLE snk (id BIGINT, amount DECIMAL(12, 2)) WITH ('connector' = 'blackhole');
INSERT INTO snk SELECT o.id, o.price * r.rate FROM orders o
  LEFT JOIN rates FOR SYSTEM_TIME AS OF o.{} r ON o.cur = r.cur;"""
ORDERS = [
    {"id": n, "cur": cur, "price": 10, "bought": f"2026-01-01 {hour}:30:00"}
    for n, (cur, hour) in enumerate([("EUR", 10), ("EUR", 11), ("USD", 11), ("EUR", 12)], 1)
]
RATES = [
    {"cur": "EUR", "rate": 1.1, "since": "2026-01-01 10:00:00"},
    {"cur": "EUR", "rate": 1.2, "since": "2026-01-01 11:00:00"},
]


class TestKeysOfGivenRows:
    def joined(self, stack: Stack, rates: list[dict[str, Any]], format_: str = "json") -> Callable[[], list[Any]]:
        sources = {"orders": {"rows": ORDERS}, "rates": {"rows": rates}}
        events = whole(stack.http, debug(stack, JOINED.format(format_, "bought"), sources)["id"])
        assert events[-1][1]["state"] == "FINISHED", events
        return sorted(table(events, "snk"))

    def test_a_temporal_join(self, stack: Stack):
        assert self.joined(stack, RATES) == [[1, "11.00"], [2, "12.00"], [3, None], [4, "12.00"]]

    def test_a_temporal_join_of_changes(self, stack: Stack):
        gone = {"$kind": "-D", "cur": "EUR", "rate": 1.2, "since": "2026-01-01 12:00:00"}
        changes = [RATES[0], {"$kind": "-U", **RATES[0]}, {"$kind": "+U", **RATES[1]}, gone]
        assert self.joined(stack, changes, "debezium-json") == [[1, "11.00"], [2, "12.00"], [3, None], [4, None]]

    def test_a_lookup_of_what_cannot_be_looked_up(self, stack: Stack):
        """Flink says no to the script itself; `TestDatabase` has one that it takes."""
        sources = {"orders": {"rows": ORDERS}, "rates": {"rows": RATES}}
        response = stack.http.post("/sql/debug", json={"sql": JOINED.format("json", "pt"), "sources": sources})
        assert response.status_code == 422
        assert "Processing-time temporal join" in response.json()["detail"]


CHANGES = """CREATE TABLE src (id BIGINT, who STRING, n INT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'file:///nowhere', 'format' = '{}');
CREATE TABLE snk (who STRING, n BIGINT) WITH ('connector' = 'print');
INSERT INTO snk SELECT who, SUM(n) FROM src GROUP BY who;"""


class TestChanges:
    def test_rows_that_change(self, stack: Stack):
        given = [
            {"id": 1, "who": "ann", "n": 1},
            {"id": 2, "who": "bob", "n": 5},
            {"$kind": "+U", "id": 1, "who": "ann", "n": 3},
            {"$kind": "-D", "id": 2},
        ]
        for source in ({"rows": given}, {"csv": "$kind,id,who,n\n,1,ann,1\n+I,2,bob,5\n+U,1,ann,3\n-D,2,,\n"}):
            made = debug(stack, CHANGES.format("debezium-json"), {"src": source})
            events = whole(stack.http, made["id"])
            assert events[-1][1]["state"] == "FINISHED", events
            assert table(events, "snk") == [["ann", 3]]
            assert ("-D", ["bob", 5]) in rows(events, "snk")

    def test_not_of_a_table_that_gives_inserts_only(self, stack: Stack):
        given = [{"$kind": "-D", "id": 1, "who": "ann", "n": 1}]
        response = stack.http.post(
            "/sql/debug", json={"sql": CHANGES.format("json"), "sources": {"src": {"rows": given}}}
        )
        assert response.json()["code"] == "bad_rows"


def test_decimals_are_text_where_they_are_kept(stack: Stack):
    """In a test set that is sampled."""
    sql = "CREATE TABLE t (d DECIMAL(30, 10)) WITH ('connector' = 'datagen');"
    taken = stack.http.post(
        "/projects/default/test-sets/decimals/sample", json={"sql": sql, "tables": ["t"], "rows": 2}
    )
    assert taken.status_code == 201, taken.text
    for row in taken.json()["tables"]["t"]:
        assert -Decimal(row["d"]).as_tuple().exponent == 10


def test_a_database_has_what_was_shown(stack: Stack, tmp_path: Path):
    """PostgreSQL as the judge: one row per key, and lookups go to it while the other sources are given."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name, postgres(Path(name) / "pg", "pg") as port:

        def sql(text: str) -> str:
            return psql(Path(name), port, "pg", text)

        sql("CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR(5) NOT NULL, worth NUMERIC(10, 2))")
        project = f"p{uuid.uuid4().hex[:10]}"
        stack.http.post("/projects", json={"name": project})
        source = {"type": "maven", "coordinates": JDBC_JARS}
        library(stack, project, {"name": "jdbc", "version": "4", "kind": "jar", "source": source})
        uses = [{"name": "jdbc", "version": "4"}]
        stack.http.put(f"/projects/{project}/secrets/db", json={"value": "pg"})
        people = (
            "CREATE TABLE people (id BIGINT, name VARCHAR(5) NOT NULL, worth DECIMAL(10, 2), PRIMARY KEY (id) NOT ENFORCED)"
            f" WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:{port}/postgres', 'table-name' = 'people',"
            " 'username' = 'postgres', 'password' = '${secret:db}');\n"
        )
        text = (
            "SET 'table.exec.sink.not-null-enforcer' = 'DROP';\n"
            "CREATE TABLE src (id BIGINT, name STRING, worth DECIMAL(20, 6), pt AS PROCTIME()) WITH ('connector' = "
            f"'filesystem', 'format' = 'json', 'path' = 'file://{tmp_path}');\n"
            f"{people}INSERT INTO people SELECT id, name, worth FROM src ON CONFLICT DO DEDUPLICATE;"
        )
        given = [
            {"id": 1, "name": "annabel", "worth": "1.005"},
            {"id": 1, "name": "ann", "worth": "123456789012.5"},
            {"id": 2, "worth": 1},
            {"id": 3, "name": "bob"},
        ]
        (tmp_path / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in given))
        made = debug(stack, text, {}, project=project, libraries=uses)
        shown = sorted(table(whole(stack.http, made["id"]), "people"))
        assert shown == [[1, "ann", None], [3, "bob", None]]
        spec = {"type": "sql", "sql": text, "libraries": uses}
        job = stack.http.post("/jobs", json={"project": project, "name": "j", "spec": spec}).json()["id"]
        stack.do(job, "start")
        stack.state(job, "FINISHED")
        assert sql("SELECT * FROM people ORDER BY id") == "1|ann|\n3|bob|"

        asked = text.replace(
            "INSERT INTO people SELECT id, name, worth FROM src ON CONFLICT DO DEDUPLICATE;",
            "CREATE TABLE snk (id BIGINT, name STRING) WITH ('connector' = 'blackhole');\nINSERT INTO snk SELECT s.id, "
            "p.name FROM src s JOIN people FOR SYSTEM_TIME AS OF s.pt p ON s.id = p.id;",
        )
        rows_ = {"src": {"rows": [{"id": 3}, {"id": 4}]}}
        made = debug(stack, asked, rows_, project=project, libraries=uses)
        assert table(whole(stack.http, made["id"]), "snk") == [[3, "bob"]]
        body = {"sql": asked, "project": project, "libraries": uses}
        sources = {**rows_, "people": {"rows": [{"id": 3, "name": "x"}]}}
        made = debug(stack, asked, sources, project=project, libraries=uses)
        assert table(whole(stack.http, made["id"]), "snk") == [[3, "x"]]

        both = asked.replace("p.id;", "p.id WHERE s.id IN (SELECT id FROM people);")
        refused = stack.http.post("/sql/debug", json={**body, "sql": both, "sources": sources}).json()
        assert refused["code"] == "source_looked_up"
        assert "Leave it out" in refused["remedy"]

        keys = (
            "CREATE TABLE src (id BIGINT, dated DATE, k DECIMAL(10, 2), pt AS PROCTIME()) WITH ('connector' = 'datagen');\n"
            "CREATE TABLE prices (dated DATE, k DECIMAL(10, 2), who STRING, seen TIMESTAMP(3), PRIMARY KEY (dated, k)"
            f" NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:{port}/postgres',"
            " 'table-name' = 'prices');\n"
            "CREATE TABLE snk (id BIGINT, name STRING, seen TIMESTAMP(3)) WITH ('connector' = 'blackhole');\n"
            "INSERT INTO snk SELECT s.id, p.who, p.seen FROM src s LEFT JOIN prices FOR SYSTEM_TIME AS OF s.pt p"
            " ON s.dated = p.dated AND s.k = p.k;"
        )
        given_ = {
            "src": {
                "rows": [
                    {"id": 1, "dated": "2026-01-02", "k": "1.5"},
                    {"id": 2, "dated": "2026-01-03", "k": "1.50"},
                    {"id": 3, "dated": None, "k": 2},
                ]
            },
            "prices": {
                "rows": [
                    {"dated": "2026-01-02", "k": "1.50", "who": "a", "seen": "2026-01-01T00:00:00.123"},
                    {"dated": "2026-01-02", "k": "1.5", "who": "b"},
                    {"dated": "2026-01-04", "k": "1.5"},
                ]
            },
        }
        made = debug(stack, keys, given_, project=project, libraries=uses)
        shown = sorted(table(whole(stack.http, made["id"]), "snk"), key=str)
        assert shown == [[1, "a", "2026-01-01T00:00:00.123"], [1, "b", None], [2, None, None], [3, None, None]]
