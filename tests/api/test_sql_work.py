"""Working on SQL over HTTP: previews, debugging, sessions, test sets, tests, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.whole.penstock import SQL, Penstock, sql

LIVE = "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'datagen');"
EMPTY = "CREATE TABLE e (id BIGINT) WITH ('connector' = 'blackhole');"
DEBUGGED = SQL.format(sink="snk", what="id")
ROWS = [{"id": 1, "name": "a", "amt": 1.0}]


def events(penstock: Penstock, id_: str, **headers: str) -> list[tuple[str, Any]]:
    text = penstock.ok("GET", f"/sql/previews/{id_}/events", headers=headers)
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def preview(penstock: Penstock, text: str, **more: Any) -> str:
    body = {"sql": text, "cluster": "a", **more}
    return str(penstock.ok("POST", "/sql/previews", json=body)["id"])


class TestPreviews:
    def test_rows_come_until_a_limit(self, penstock: Penstock):
        id_ = preview(penstock, f"{LIVE} SELECT * FROM t", limits={"rows": 6, "rows_per_second": 10}, materialize=True)
        found = events(penstock, id_)
        words = [event for event, _ in found]
        assert {"start", "columns", "rows", "table", "ended", "end"} <= set(words)
        assert found[-1][1]["state"] == "LIMITED"
        assert sum(len(data["rows"]) for event, data in found if event == "rows") == 6
        penstock.ok("DELETE", f"/sql/previews/{id_}")
        later = events(penstock, id_, **{"Last-Event-ID": "2"})
        assert len(later) < len(found)

    def test_one_that_has_no_rows_ends(self, penstock: Penstock):
        assert events(penstock, preview(penstock, f"{EMPTY} SELECT * FROM e"))[-1][1]["state"] == "FINISHED"

    def test_nobody_listens(self, penstock: Penstock):
        id_ = preview(penstock, f"{LIVE} SELECT * FROM t", limits={"rows": 10_000})
        penstock.until(lambda: penstock.ok("GET", f"/sql/previews/{id_}")["state"] == "ABANDONED")

    def test_the_gateway_dies_meanwhile_and_it_is_run_again(self, penstock: Penstock):
        id_ = preview(penstock, f"{LIVE} SELECT * FROM t", limits={"rows": 10_000})
        penstock.wait(2)
        penstock.world.gateways["flink-a"].kill()
        assert events(penstock, id_)[-1][1]["state"] == "INTERRUPTED"
        penstock.wait(20)
        again = penstock.ok("POST", f"/sql/previews/{id_}/resume")
        penstock.ok("DELETE", f"/sql/previews/{again['id']}")

    def test_one_of_another_process(self, penstock: Penstock):
        id_ = preview(penstock, f"{LIVE} SELECT * FROM t")
        from tests.whole.penstock import the_app

        runs = the_app().state.bench.runs
        run = runs.find(id_)
        runs.drop(run)
        (event, data), *_ = events(penstock, id_)
        assert (event, "another API process" in data["why"]) == ("end", True)
        penstock.ok("DELETE", f"/sql/previews/{id_}")
        run.stop()
        penstock.wait(5)
        assert "another" not in events(penstock, id_)[0][1]["why"]
        penstock.ok("DELETE", f"/sql/previews/{id_}")

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("SELECT 1; SELECT 2", "not_one_query"),
            (f"{EMPTY} SELECT * FROM nowhere", "sql_invalid"),
            ("SELECT 'x", None),
        ],
    )
    def test_what_is_no_query(self, penstock: Penstock, text: str, code: str | None):
        penstock.no("POST", "/sql/previews", 422, code, json={"sql": text, "cluster": "a"})

    def test_an_event_that_is_none(self, penstock: Penstock):
        id_ = preview(penstock, f"{EMPTY} SELECT * FROM e")
        penstock.no("GET", f"/sql/previews/{id_}/events", 422, headers={"Last-Event-ID": "x"})
        penstock.running("streams")
        penstock.no("GET", "/jobs/default:streams/commands/1/log/stream", 422, headers={"Last-Event-ID": "x"})


class TestDebugging:
    def test_with_rows_of_a_test_set_and_csv(self, penstock: Penstock):
        penstock.ok("PUT", "/projects/default/test-sets/given", json={"tables": {"src": ROWS}})
        for source in ({"test_set": "given"}, {"csv": "id,name,amt\n1,a,1.0\n"}, {"rows": ROWS}):
            body = {"sql": DEBUGGED, "cluster": "a", "sources": {"src": source}}
            id_ = penstock.ok("POST", "/sql/debug", json=body)["id"]
            assert events(penstock, id_)[-1][1]["state"] == "FINISHED"
        again = penstock.ok("POST", f"/sql/previews/{id_}/resume")
        penstock.ok("DELETE", f"/sql/previews/{again['id']}")
        source = {"test_set": "given", "table": "nothing"}
        body = {"sql": DEBUGGED, "cluster": "a", "sources": {"src": source}}
        penstock.no("POST", "/sql/debug", 422, "table_not_in_test_set", json=body)
        body["sources"] = {"snk": {"rows": ROWS}}
        penstock.no("POST", "/sql/debug", 422, "source_not_read", json=body)
        body["sources"] = {"nowhere": {"rows": ROWS}}
        penstock.no("POST", "/sql/debug", 422, "source_not_found", json=body)
        penstock.no("POST", "/sql/debug", 422, "sql_no_insert", json={"sql": EMPTY, "cluster": "a"})
        penstock.no("POST", "/sql/debug", 422, json={**body, "sources": {"src": {}}})


class TestNumbers:
    def test_rows_are_kept_as_they_were_written(self, penstock: Penstock):
        text = (
            '{"tables": {"t": [{"a": 1.10, "b": 12345678901234567890.5, "c": 9007199254740993, "d": 1.5, "e": NaN}]}}'
        )
        penstock.ok(
            "PUT", "/projects/default/test-sets/exact", content=text, headers={"Content-Type": "application/json"}
        )
        (row,) = penstock.ok("GET", "/projects/default/test-sets/exact")["tables"]["t"]
        assert row == {"a": "1.10", "b": "12345678901234567890.5", "c": 9007199254740993, "d": 1.5, "e": "NaN"}

    def test_other_numbers_of_such_a_request_are_numbers(self, penstock: Penstock):
        text = f'{{"sql": "{EMPTY} SELECT * FROM e", "cluster": "a", "limits": {{"seconds": 2.50, "rows": 10.0}}}}'
        penstock.ok("POST", "/sql/previews", content=text, headers={"Content-Type": "application/json"})
        penstock.no("POST", "/sql/previews", 422, content='{"sql": 1.', headers={"Content-Type": "application/json"})


class TestChecking:
    def test_all_that_is_wrong_is_told(self, penstock: Penstock):
        def check(text: str, **more: Any) -> Any:
            return penstock.ok("POST", "/sql/validate", json={"sql": text, "cluster": "a", **more})

        assert check(DEBUGGED)["valid"]
        assert check(f"{LIVE} SELECT * FROM t", queries=True)["valid"]
        for text in ("INSERT INTO a SELECT 'x", EMPTY, "INSERT INTO nowhere SELECT id FROM none;", "SELECT 1"):
            assert not check(text)["valid"], text
        assert check("CREATE CATALOG c WITH ('type' = 'generic_in_memory'); USE CATALOG c;" + DEBUGGED)["statements"]
        penstock.no(
            "POST", "/sql/validate", 422, json={"sql": DEBUGGED, "cluster": "a", "config": {"pipeline.name": "x"}}
        )

    def test_a_cluster_without_a_gateway(self, penstock: Penstock):
        new = {"name": "bare", "jobmanager_url": "http://nowhere:1", "flink_version": "2.3.0", "state_dir": "sim://s"}
        penstock.ok("POST", "/clusters", json=new)
        for path, text in (("validate", DEBUGGED), ("previews", f"{EMPTY} SELECT * FROM e")):
            penstock.no("POST", f"/sql/{path}", 422, json={"sql": text, "cluster": "bare"})
        penstock.no("POST", "/sql/sessions", 422, json={"cluster": "bare"})
        penstock.create("unplanned", sql("unplanned"), cluster="bare")
        assert penstock.ok("GET", "/jobs/default:unplanned/versions/1/plan")["plan"] is None

    def test_a_gateway_that_is_away(self, penstock: Penstock):
        penstock.world.network.endpoints["http://gateway-a:8083"].mode = "refuse"
        penstock.no("POST", "/sql/validate", 503, json={"sql": DEBUGGED, "cluster": "a"})
        penstock.no("POST", "/sql/previews", 503, json={"sql": f"{EMPTY} SELECT * FROM e", "cluster": "a"})
        penstock.world.network.endpoints["http://gateway-a:8083"].mode = "ok"

    def test_completion(self, penstock: Penstock):
        def at(text: str, **more: Any) -> list[str]:
            body = {"sql": text, "position": len(text), "cluster": "a", **more}
            return [c["text"] for c in penstock.ok("POST", "/sql/complete", json=body)["candidates"]]

        session = penstock.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"]
        assert "SELECT" in at("SE")
        assert "SELECT" in at("SE", session=session)
        assert "t" in at(f"{LIVE} SELECT * FROM ")
        assert at(f"{LIVE} SELECT * FROM t /*+ OPTIONS('rows") == ["rows-per-second"]
        assert at(f"{LIVE} SELECT * FROM elsewhere /*+ OPTIONS('rows") == []
        deep = "CREATE TABLE d (place ROW<city STRING>) WITH ('connector' = 'datagen'); "
        assert at(f"{deep} SELECT 1 FROM d WHERE d.place.") == ["city"]
        assert "place" not in at(f"{deep} INSERT INTO d SELECT ")
        assert "place" in at(f"{deep} INSERT INTO d (")
        union = "SELECT * FROM d UNION ALL SELECT d. FROM (SELECT 1 AS first_one) d"
        body = {"sql": deep + union, "position": len(deep) + union.index("d.") + 2, "cluster": "a"}
        assert [c["text"] for c in penstock.ok("POST", "/sql/complete", json=body)["candidates"]] == ["first_one"]


class TestSessions:
    def test_it_outlives_its_gateway(self, penstock: Penstock):
        id_ = penstock.ok("POST", "/sql/sessions", json={"cluster": "a", "name": "s"})["id"]

        def say(text: str) -> Any:
            return penstock.ok("POST", f"/sql/sessions/{id_}/statements", json={"statement": text})

        say(LIVE.rstrip(";"))
        say("SET 'table.local-time-zone' = 'UTC'")
        assert ["t"] in say("SHOW TABLES")["rows"]
        penstock.world.gateways["flink-a"].kill()
        penstock.wait(20)
        rebuilt = say("SHOW TABLES")["rebuilt"]
        assert rebuilt["reset"] == {"table.local-time-zone": "UTC"}
        say("SET 'table.local-time-zone' = 'UTC'")
        say("RESET 'table.local-time-zone'")
        found = penstock.ok("GET", f"/sql/sessions/{id_}")
        assert (found["generation"], found["settings"]) == (2, {})
        run = say("SELECT * FROM t")["preview"]
        penstock.no("POST", f"/sql/previews/{run}/resume", 422, "not_resumable")
        penstock.ok("DELETE", f"/sql/previews/{run}")
        for text in (
            "INSERT INTO t SELECT 1",
            "SHOW TABLES; SHOW TABLES",
            "SET x",
            "CALL x()",
            "SELECT * FROM nowhere",
        ):
            penstock.no("POST", f"/sql/sessions/{id_}/statements", 422, json={"statement": text})
        penstock.wait(100)
        penstock.ok("DELETE", f"/sql/sessions/{id_}")
        penstock.no("GET", f"/sql/sessions/{id_}", 404)


class TestTests:
    def test_of_versions(self, penstock: Penstock):
        penstock.create("tested", {"type": "sql", "sql": DEBUGGED})
        path = "/jobs/default:tested/versions/1/tests"
        assert penstock.ok("GET", path)["items"] == []
        penstock.no("POST", f"{path}/run", 404, "no_tests")
        penstock.ok("PUT", f"{path}/good", json={"inputs": {"src": {"rows": ROWS}}})
        wrong = {"inputs": {"src": {"rows": ROWS}}, "expected": {"snk": [{"id": 2}]}}
        penstock.ok("PUT", f"{path}/wrong", json=wrong)
        penstock.ok("PUT", f"{path}/wrong", json=wrong)
        results = {r["name"]: r for r in penstock.ok("POST", f"{path}/run")["items"]}
        assert (results["good"]["passed"], results["wrong"]["passed"]) == (True, False)
        assert results["wrong"]["sinks"][0]["missing"]
        said = penstock.cli("sql", "test", "tested")
        assert (said.code, "failed" in said.out) == (1, True)
        penstock.ok("POST", "/jobs/default:tested/versions", json={"spec": {"type": "sql", "sql": DEBUGGED + "--"}})
        assert len(penstock.ok("GET", "/jobs/default:tested/versions/2/tests")["items"]) == 2
        penstock.ok("PUT", f"{path}/sink", json={**wrong, "expected": {"nowhere": []}})
        penstock.no("POST", f"{path}/run", 422, "sink_not_written")
        penstock.no("DELETE", f"{path}/nothing", 404, "test_not_found")
        live = {"inputs": {"other": {"rows": ROWS}}}
        penstock.no("PUT", f"{path}/live", 422, json=live)

    def test_a_source_that_never_ends(self, penstock: Penstock):
        two = DEBUGGED.replace("INSERT", "CREATE TABLE s2 (id BIGINT) WITH ('connector' = 'datagen'); INSERT", 1)
        penstock.create("endless", {"type": "sql", "sql": two + "INSERT INTO snk SELECT id FROM s2;"})
        body = {"inputs": {"src": {"rows": ROWS}}}
        penstock.no("PUT", "/jobs/default:endless/versions/1/tests/t", 422, "test_not_finished", json=body)

    def test_only_sql_has_them(self, penstock: Penstock):
        spec = {"type": "jar", "git": {"url": "https://git.example.com/x.git"}}
        penstock.create("a-jar", spec)
        penstock.no("GET", "/jobs/default:a-jar/versions/1/tests", 422, "not_sql")

    def test_samples(self, penstock: Penstock):
        path = "/projects/default/test-sets/sampled/sample"
        body = {"sql": f"{LIVE}{EMPTY}{DEBUGGED}", "tables": ["t"], "cluster": "a", "rows": 3, "seconds": 5}
        assert len(penstock.ok("POST", path, json=body)["tables"]["t"]) == 3
        penstock.no("POST", path, 422, "no_data", json={**body, "tables": ["e"]})
        penstock.no("POST", path, 422, json={**body, "tables": ["nowhere"]})
        penstock.no("POST", path, 422, json={**body, "tables": [";"]})
