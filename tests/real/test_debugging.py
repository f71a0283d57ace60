"""A job's script as it will run, without writing anything: rows typed, sampled or live, all sinks side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.conftest import Stack
from tests.real.sse import rows, table, whole

SCRIPT = """CREATE TABLE orders (id BIGINT, who STRING, price DECIMAL(10, 2), bought TIMESTAMP(3),
  doubled AS price * 2, WATERMARK FOR bought AS bought - INTERVAL '5' SECOND)
  WITH ('connector' = 'datagen', 'rows-per-second' = '10', 'fields.who.length' = '1');
CREATE TABLE totals (who STRING, total DECIMAL(20, 2), PRIMARY KEY (who) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
CREATE TABLE windows (started TIMESTAMP(3), n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO windows SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(bought), INTERVAL '1' MINUTE))
  GROUP BY window_start, window_end;
INSERT INTO totals SELECT who, SUM(doubled) FROM orders GROUP BY who;
END;"""
ROWS = [
    {"id": 1, "who": "ann", "price": 1.5, "bought": "2026-01-01 10:00:01"},
    {"id": 2, "who": "bob", "price": 2, "bought": "2026-01-01T10:00:30"},
    {"id": 3, "who": "ann", "price": 3, "bought": "2026-01-01T10:01:10"},
]
CSV = "id,who,price,bought\n1,ann,1.5,2026-01-01 10:00:01\n2,bob,2,2026-01-01 10:00:30\n3,ann,3,2026-01-01 10:01:10\n"
TOTALS = [["ann", "9.00"], ["bob", "4.00"]]
WINDOWS = [["2026-01-01T10:00:00", 2], ["2026-01-01T10:01:00", 1]]


def script(folder: Path) -> str:
    # The upsert sink cannot be a file in production; it is never opened here.
    return SCRIPT.format(path=f"file://{folder}").replace(
        f"'connector' = 'filesystem', 'path' = 'file://{folder}', 'format' = 'json');\nCREATE TABLE windows",
        "'connector' = 'blackhole');\nCREATE TABLE windows",
    )


def debug(stack: Stack, sql: str, sources: dict, **more) -> dict:
    response = stack.http.post("/sql/debug", json={"sql": sql, "sources": sources, **more})
    assert response.status_code == 201, response.text
    return response.json()


@pytest.mark.parametrize("source", [{"rows": ROWS}, {"csv": CSV}])
def test_typed_rows_through_all_sinks_side_by_side(stack: Stack, tmp_path: Path, source):
    made = debug(stack, script(tmp_path), {"orders": source})
    assert [s["stream"] for s in made["streams"]] == ["windows", "totals"]
    found = whole(stack.http, made["id"])
    assert found[-1][1]["state"] == "FINISHED"
    assert sorted(table(found, "totals")) == TOTALS
    assert sorted(table(found, "windows")) == WINDOWS
    assert ("-U", ["ann", "3.00"]) in rows(found, "totals")
    assert list(tmp_path.iterdir()) == [], "a sink was written"


def test_a_hint_at_the_end_of_an_insert_counts(stack: Stack):
    sql = (
        "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '5');\n"
        "CREATE TABLE snk (id BIGINT) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO snk SELECT id FROM src /*+ OPTIONS('number-of-rows' = '7') */;"
    )
    found = whole(stack.http, debug(stack, sql, {}, limits={"seconds": 30})["id"])
    assert found[-1][1]["state"] == "FINISHED", found[-1]
    assert len(rows(found, "snk")) == 7


def test_live_sources_are_bounded_by_rows_and_nothing_is_written(stack: Stack, tmp_path: Path):
    made = debug(stack, script(tmp_path), {}, limits={"rows": 15, "seconds": 60})
    found = whole(stack.http, made["id"])
    assert len(rows(found, "totals")) == 15
    assert list(tmp_path.iterdir()) == []


def test_a_sample_of_a_live_source_is_kept_and_used(stack: Stack, tmp_path: Path):
    body = {"sql": script(tmp_path), "tables": ["orders"], "rows": 5}
    taken = stack.http.post("/projects/default/test-sets/sampled/sample", json=body)
    assert taken.status_code == 201, taken.text
    assert len(taken.json()["tables"]["orders"]) == 5
    # Computed columns are computed again.
    rows_ = [{k: v for k, v in r.items() if k != "doubled"} for r in taken.json()["tables"]["orders"]]
    stack.http.put("/projects/default/test-sets/mine", json={"tables": {"orders": rows_}})
    made = debug(stack, script(tmp_path), {"orders": {"test_set": "mine"}})
    found = whole(stack.http, made["id"])
    assert found[-1][1]["state"] == "FINISHED"
    assert sum(n for _, n in table(found, "windows")) == 5
    names = [t["name"] for t in stack.http.get("/projects/default/test-sets").json()["items"]]
    assert {"sampled", "mine"} <= set(names)


def test_a_sampled_set_is_used_as_it_is(stack: Stack, tmp_path: Path):
    body = {"sql": script(tmp_path), "tables": ["orders"], "rows": 4}
    stack.http.post("/projects/default/test-sets/as-is/sample", json=body)
    made = debug(stack, script(tmp_path), {"orders": {"test_set": "as-is"}})
    assert whole(stack.http, made["id"])[-1][1]["state"] == "FINISHED"


@pytest.mark.parametrize(
    ("sources", "code"),
    [
        ({"nowhere": {"rows": []}}, "source_not_found"),
        ({"totals": {"rows": []}}, "source_not_read"),
        ({"orders": {"rows": [{"idd": 1}]}}, "bad_rows"),
        ({"orders": {"csv": ""}}, "bad_rows"),
        ({"orders": {"csv": "id,who\n1\n"}}, "bad_rows"),
        ({"orders": {"test_set": "missing"}}, "test_set_not_found"),
        ({"orders": {}}, "invalid_input"),
        ({"x'); DROP TABLE orders; --": {"rows": []}}, None),
    ],
)
def test_wrong_rows_are_refused(stack: Stack, tmp_path: Path, sources, code):
    response = stack.http.post("/sql/debug", json={"sql": script(tmp_path), "sources": sources})
    assert response.status_code in (404, 422), response.text
    if code:
        assert response.json()["code"] == code


class TestTests:
    def test_expected_rows_go_with_a_version(self, stack: Stack, tmp_path: Path):
        job = stack.create(script(tmp_path))
        kept = stack.http.put(f"/jobs/{job}/versions/1/tests/basic", json={"inputs": {"orders": {"rows": ROWS}}})
        assert kept.status_code == 201, kept.text
        assert sorted(kept.json()["expected"]["totals"], key=lambda r: r["who"]) == [
            {"who": "ann", "total": "9.00"},
            {"who": "bob", "total": "4.00"},
        ]
        (result,) = stack.http.post(f"/jobs/{job}/versions/1/tests/run").json()["items"]
        assert result["passed"], result
        spec = {"type": "sql", "sql": script(tmp_path).replace("SUM(doubled)", "SUM(price)")}
        stack.http.post(f"/jobs/{job}/versions", json={"spec": spec})
        (result,) = stack.http.post(f"/jobs/{job}/versions/2/tests/run").json()["items"]
        assert not result["passed"]
        (totals,) = [s for s in result["sinks"] if s["sink"] == "totals"]
        assert {"who": "ann", "total": "9.00"} in totals["missing"]
        assert {"who": "ann", "total": "4.50"} in totals["unexpected"]
        assert next(s for s in result["sinks"] if s["sink"] == "windows")["passed"]

    def test_one_that_does_not_end_says_why(self, stack: Stack, tmp_path: Path):
        job = stack.create(
            script(tmp_path)
            .replace("FROM orders GROUP", "FROM orders JOIN live ON TRUE GROUP")
            .replace(
                "EXECUTE STATEMENT",
                "CREATE TABLE live (x INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');\nEXECUTE STATEMENT",
            )
        )
        body = {"inputs": {"orders": {"rows": ROWS}}, "expected": {"totals": []}}
        stack.http.put(f"/jobs/{job}/versions/1/tests/endless", json=body)
        (result,) = stack.http.post(f"/jobs/{job}/versions/1/tests/run", params={"seconds": 5}).json()["items"]
        assert not result["passed"]
        assert "5 seconds" in result["why"]

    def test_none(self, stack: Stack, tmp_path: Path):
        job = stack.create(script(tmp_path))
        assert stack.http.post(f"/jobs/{job}/versions/1/tests/run").json()["code"] == "no_tests"


class TestComparison:
    """What would change: two versions on the same rows."""

    def compared(self, stack: Stack, job: str, *versions: int) -> dict:
        sources = {"orders": {"rows": ROWS}}
        path = f"/jobs/{job}/versions/{versions[0]}/diff/{versions[1]}/rows"
        response = stack.http.post(path, json={"sources": sources})
        assert response.status_code == 200, response.text
        return response.json()

    def test_rows_and_columns_that_differ(self, stack: Stack, tmp_path: Path):
        job = stack.create(script(tmp_path))
        changed = (
            script(tmp_path)
            .replace("who STRING, total DECIMAL(20, 2),", "who STRING, total DECIMAL(20, 4), n BIGINT,")
            .replace(
                "SELECT who, SUM(doubled)", "SELECT who, SUM(CASE who WHEN 'ann' THEN price ELSE doubled END), COUNT(*)"
            )
        )
        stack.http.post(f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": changed}})
        assert self.compared(stack, job, 1, 1)["same"]
        found = self.compared(stack, job, 1, 2)
        assert not found["same"]
        assert (found["state"]["verdict"], found["state"]["summary"]) == ("UNKNOWN", "The job has no state yet.")
        windows, totals = found["sinks"]
        assert (windows["sink"], windows["same"], windows["rows_after"]) == ("windows", True, 2)
        assert totals == {
            "sink": "totals",
            "same": False,
            "columns_added": ["n"],
            "columns_removed": [],
            "removed": [{"who": "ann", "total": "9.00"}],
            "added": [{"who": "ann", "total": "4.5000"}],
            "rows_before": 2,
            "rows_after": 2,
        }

    def test_a_source_and_a_sink_that_only_one_has(self, stack: Stack, tmp_path: Path):
        job = stack.create(script(tmp_path))
        alone = script(tmp_path).split("INSERT INTO windows")[0] + "INSERT INTO totals SELECT 'x', 1;\nEND;"
        stack.http.post(f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": alone}})
        sinks = {sink["sink"]: sink for sink in self.compared(stack, job, 1, 2)["sinks"]}
        assert len(sinks["windows"]["removed"]) == 2
        assert sinks["totals"]["added"] == [{"who": "x", "total": "1.00"}]

    def test_one_that_does_not_end(self, stack: Stack, tmp_path: Path):
        job = stack.create(script(tmp_path))
        path = f"/jobs/{job}/versions/1/diff/1/rows"
        body = {"sources": {"nothing": {"rows": []}}}
        response = stack.http.post(path, json=body, params={"seconds": 2})
        assert response.status_code == 422
