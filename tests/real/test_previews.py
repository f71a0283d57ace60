"""Previews on a real gateway: rows as they come, limits, and that nothing is left whatever dies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.real.conftest import Stack
from tests.real.sse import events, rows, table, whole

SOURCE = (
    "CREATE TABLE src (id BIGINT, k BIGINT) WITH ('connector'='datagen','rows-per-second'='50',"
    "'fields.id.kind'='sequence','fields.id.start'='1','fields.id.end'='{end}','fields.k.min'='0','fields.k.max'='2');\n"
)
ENDLESS = SOURCE.format(end=20_000)  # 400 s; Flink keeps all values of a sequence in memory, and in each checkpoint


def preview(stack: Stack, sql: str, **more) -> dict:
    response = stack.http.post("/sql/previews", json={"sql": sql, **more})
    assert response.status_code == 201, response.text
    return response.json()


def state(stack: Stack, flink_job: str) -> str:
    found = stack.flink.get(f"/jobs/{flink_job}").json()
    return found.get("state", "MISSING")


def gone(stack: Stack, made: dict) -> None:
    for stream in made["streams"]:
        stack.until(
            lambda job=stream["flink_job_id"]: state(stack, job) in ("CANCELED", "FINISHED", "FAILED", "MISSING"),
            "the Flink job of the preview has ended",
        )


def test_a_bounded_query_streams_its_rows_and_ends(stack: Stack):
    made = preview(stack, SOURCE.format(end=20) + "SELECT id, id * 2 AS twice FROM src")
    found = whole(stack.http, made["id"])
    assert [fields for _, fields in rows(found)] == [[i, 2 * i] for i in range(1, 21)]
    columns = next(d for e, d in found if e == "columns")["columns"]
    assert columns == [{"name": "id", "type": "BIGINT"}, {"name": "twice", "type": "BIGINT"}]
    assert found[-1] == ("end", {"run": made["id"], "state": "FINISHED"})
    gone(stack, made)
    assert stack.http.get(f"/sql/previews/{made['id']}").json()["state"] == "FINISHED"


def test_changes_have_their_kinds_and_the_table_is_what_they_come_to(stack: Stack):
    sql = SOURCE.format(end=100) + "SELECT k, COUNT(*) AS n FROM src GROUP BY k"
    found = whole(stack.http, preview(stack, sql, materialize=True)["id"])
    kinds = {kind for kind, _ in rows(found)}
    assert kinds == {"+I", "-U", "+U"}
    assert sum(n for _, n in table(found)) == 100
    assert sorted(k for k, _ in table(found)) == [0, 1, 2]


@pytest.mark.parametrize("end", ["", ";", " -- first five\r;"])
def test_a_hint_at_the_end_of_a_statement_counts(stack: Stack, end: str):
    sql = ENDLESS + f"SELECT id -- ends with a carriage return\rFROM src /*+ OPTIONS('fields.id.end'='5') */{end}"
    found = whole(stack.http, preview(stack, sql, limits={"seconds": 30})["id"])
    assert found[-1][1]["state"] == "FINISHED", found[-1]
    assert [fields for _, fields in rows(found)] == [[i] for i in range(1, 6)]


class TestLimits:
    def test_rows(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"rows": 30})
        found = whole(stack.http, made["id"])
        assert len(rows(found)) == 30
        assert found[-1][1]["state"] == "LIMITED"
        gone(stack, made)

    def test_seconds(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"seconds": 3, "rows": 10_000})
        ended = [d for e, d in whole(stack.http, made["id"]) if e == "ended"]
        assert ended[0]["state"] == "LIMITED"
        assert "3 seconds" in ended[0]["why"]
        gone(stack, made)

    def test_rate(self, stack: Stack):
        sql = ENDLESS.replace("'50'", "'5000'") + "SELECT id FROM src"
        made = preview(stack, sql, limits={"rows": 400, "rows_per_second": 100, "seconds": 120})
        began = time.monotonic()
        assert len(rows(whole(stack.http, made["id"]))) == 400
        assert time.monotonic() - began > 1.5

    def test_size(self, stack: Stack):
        sql = ENDLESS.replace("'50'", "'5000'") + "SELECT id, REPEAT('x', 100000) FROM src"
        made = preview(stack, sql, limits={"rows": 10_000})
        ended = next(d for e, d in whole(stack.http, made["id"]) if e == "ended")
        assert (ended["state"], ended["why"]) == ("LIMITED", "the limit of 32 MB")
        gone(stack, made)

    @pytest.mark.parametrize("limits", [{"rows": 0}, {"rows": 10**9}, {"seconds": 0}, {"parallelism": 1000}])
    def test_limits_have_limits(self, stack: Stack, limits):
        body = {"sql": ENDLESS + "SELECT id FROM src", "limits": limits}
        assert stack.http.post("/sql/previews", json=body).status_code == 422


class TestRefused:
    @pytest.mark.parametrize(
        ("sql", "code", "words"),
        [
            (ENDLESS + "SELECT nothing FROM src", "sql_invalid", "line 2, column 8"),
            ("SELECT * FROM nowhere", "sql_invalid", "'nowhere'"),
            (ENDLESS, "not_one_query", "0 queries"),
            (ENDLESS + "SELECT 1; SELECT 2", "not_one_query", "2 queries"),
            (ENDLESS + "INSERT INTO src SELECT 1, 2", "not_one_query", "1 INSERTs"),
            ("SELECT 'never closed", "sql_unclosed", "line 1, column 8"),
            ("CALL sys.run('x'); SELECT 1", "sql_script", "CALL"),
            ("SELECT " + "1," * 300_000 + "1", "invalid_input", "more than 524288 characters"),
        ],
    )
    def test_with_the_place_and_without_a_job(self, stack: Stack, sql: str, code: str, words: str):
        before = len(stack.flink.get("/jobs/overview").json()["jobs"])
        response = stack.http.post("/sql/previews", json={"sql": sql})
        assert response.status_code == 422, response.text
        assert response.json()["code"] == code, response.text
        assert words in response.json()["detail"]
        assert len(stack.flink.get("/jobs/overview").json()["jobs"]) == before

    def test_what_flink_does_not_come_to_an_end_with(self, stack: Stack):
        """Within the size that a script may have: a hundred thousand columns."""
        response = stack.http.post("/sql/previews", json={"sql": "SELECT " + "1," * 100_000 + "1"}, timeout=120)
        assert response.status_code in (422, 503), response.text
        if response.status_code == 503:
            assert response.json()["code"] == "flink_too_slow"
        made = preview(stack, SOURCE.format(end=1) + "SELECT id FROM src")
        assert len(rows(whole(stack.http, made["id"]))) == 1
        # Closing its session does not stop the planner: it takes a core for minutes yet (measured: more than 200 s).
        stack.kill("gateway")
        stack.start("gateway")

    def test_a_function_that_fails_at_run_time_is_told(self, stack: Stack):
        sql = ENDLESS + "SELECT 1 / (id - id) FROM src"
        found = whole(stack.http, preview(stack, "SET 'restart-strategy.type'='disable';\n" + sql)["id"])
        assert found[-1][1]["state"] == "FAILED"
        assert "by zero" in next(d for e, d in found if e == "ended")["why"]


def test_what_it_does_meanwhile(stack: Stack):
    """A window over a long time gives no rows for a while; a source without data is told apart from that."""
    sql = ENDLESS + "SELECT k, COUNT(*) FROM src GROUP BY k HAVING COUNT(*) > 100000"
    made = preview(stack, sql)
    progress = []
    for event, data, _ in events(stack.http, made["id"]):
        if event == "progress" and data["tasks"] and data["tasks"][0]["written"]:
            progress.append(data)
        if len(progress) == 2:
            break
    assert len(progress) == 2
    assert "no rows yet" in progress[1]["note"]
    stack.http.delete(f"/sql/previews/{made['id']}")


def test_a_source_without_data_is_said(stack: Stack, tmp_path):
    sql = (
        f"CREATE TABLE src (id BIGINT) WITH ('connector'='filesystem','path'='file://{tmp_path}','format'='json',"
        "'source.monitor-interval'='1 s');\nSELECT id, COUNT(*) FROM src GROUP BY id"
    )
    made = preview(stack, sql)
    notes = (d["note"] for e, d, _ in events(stack.http, made["id"]) if e == "progress")
    assert any("may be no data" in note for note in notes)
    stack.http.delete(f"/sql/previews/{made['id']}")
    gone(stack, made)


class TestNothingIsLeft:
    def test_stopped(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src")
        stack.until(lambda: state(stack, made["streams"][0]["flink_job_id"]) == "RUNNING", "it runs")
        assert stack.http.delete(f"/sql/previews/{made['id']}").status_code == 204
        gone(stack, made)
        assert stack.http.get(f"/sql/previews/{made['id']}").json()["state"] == "STOPPED"
        assert stack.http.delete(f"/sql/previews/{made['id']}").status_code == 204

    def test_the_client_goes_away_and_comes_back_in_time(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"rows": 200})
        first, last = [], 0
        for event, data, number in events(stack.http, made["id"]):
            last = number
            if event == "rows":
                first += [r["fields"][0] for r in data["rows"]]
            if len(first) > 20:
                break
        second = []
        for event, data, _ in events(stack.http, made["id"], last=last):
            if event == "rows":
                second += [r["fields"][0] for r in data["rows"]]
        assert first + second == list(range(1, 201))

    def test_the_client_goes_away_for_good(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"seconds": 3000, "rows": 10_000})
        next(events(stack.http, made["id"]))
        gone(stack, made)
        found = stack.until(
            lambda: (s := stack.http.get(f"/sql/previews/{made['id']}").json())["ended_at"] and s, "it has ended"
        )
        assert found["state"] == "ABANDONED"

    def test_the_api_dies(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"seconds": 3000})
        stack.until(lambda: state(stack, made["streams"][0]["flink_job_id"]) == "RUNNING", "it runs")
        stack.kill("api")
        gone(stack, made)  # the watch, in a worker, sees to that
        stack.start("api")
        found = whole(stack.http, made["id"])
        assert found[-1][0] == "end"
        assert found[-1][1]["state"] == "INTERRUPTED"
        assert found[-1][1]["resume"].endswith("/resume")
        again = stack.http.post(f"/sql/previews/{made['id']}/resume").json()
        assert next(events(stack.http, again["id"]))[0] == "start"
        stack.http.delete(f"/sql/previews/{again['id']}")
        assert stack.http.get("/orphans").json()["items"] == []

    def test_the_gateway_dies_in_mid_stream(self, stack: Stack):
        made = preview(stack, ENDLESS + "SELECT id FROM src", limits={"seconds": 3000, "rows": 10_000})
        found, killed = [], False
        for event, data, _ in events(stack.http, made["id"]):
            found.append((event, data))
            if event == "rows" and not killed:
                killed = True
                stack.kill("gateway")
        assert found[-1][1]["state"] == "INTERRUPTED"
        assert next(d for e, d in found if e == "ended")["resume"].endswith("/resume")
        gone(stack, made)
        stack.start("gateway")
        again = stack.http.post(f"/sql/previews/{made['id']}/resume")
        assert again.status_code == 201, again.text
        stack.http.delete(f"/sql/previews/{again.json()['id']}")


@pytest.mark.parametrize("where", ["nowhere", "operation/nowhere"])
def test_a_file_that_is_not_there_is_no_gateway_that_was_restarted(stack: Stack, tmp_path: Path, where: str):
    options = f"'connector'='filesystem','path'='{tmp_path}/{where}','format'='json'"
    sql = f"CREATE TABLE t (id BIGINT) WITH ({options});\nSELECT id FROM t"
    made = stack.http.post("/sql/previews", json={"sql": sql})
    if made.status_code == 201:
        found = next(d for e, d in whole(stack.http, made.json()["id"]) if e == "ended")
        assert found["state"] == "FAILED"
        said = found["why"]
    else:
        assert (made.status_code, made.json()["code"]) == (422, "sql_invalid")
        said = made.json()["detail"]
    assert str(tmp_path / where) in said


def test_a_preview_that_is_not_there(stack: Stack):
    for path in ("", "/events"):
        assert stack.http.get(f"/sql/previews/nothing{path}").status_code == 404
    assert stack.http.delete("/sql/previews/nothing").status_code == 404


def test_without_a_gateway_it_is_said(stack: Stack):
    # Not the real JobManager, whose jobs would be orphans under another name.
    nowhere = {"jobmanager_url": "http://127.0.0.1:9"}
    stack.add_cluster("no-gateway", gateway_url=None, **nowhere)
    response = stack.http.post("/sql/previews", json={"sql": "SELECT 1", "cluster": "no-gateway"})
    assert (response.status_code, response.json()["code"]) == (422, "no_gateway")
    stack.add_cluster("dead-gateway", gateway_url="http://127.0.0.1:9", **nowhere)
    response = stack.http.post("/sql/previews", json={"sql": "SELECT 1", "cluster": "dead-gateway"})
    assert response.status_code == 503
    assert "127.0.0.1:9" in response.json()["detail"]
    for name in ("no-gateway", "dead-gateway"):
        assert stack.http.delete(f"/clusters/{name}").status_code == 204


class TestStoppedWhileItIsSetUp:
    """A query that is cancelled before its tasks run ends Flink's task manager (FLINK-39330), with all jobs on it."""

    # Large, so that its tasks take some time to be set up.
    SUMS = ", ".join(f"SUM(CASE WHEN MOD(id + {n}, {n + 2}) = 0 THEN id * {n} ELSE k END) AS s{n}" for n in range(150))
    QUERY = f"SELECT k, {SUMS} FROM src GROUP BY k"

    def task_manager(self, stack: Stack) -> int:
        process = stack.local.processes.find("taskmanager")
        assert process is not None, "there is no task manager any more"
        return process.pid

    def ended(self, stack: Stack, flink_job: str) -> None:
        stack.until(lambda: state(stack, flink_job) == "CANCELED", "the query is cancelled")
        time.sleep(2)  # that a task manager takes to shut down

    @pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
    def test_by_its_person(self, stack: Stack, after: float):
        before = self.task_manager(stack)
        made = preview(stack, ENDLESS + self.QUERY)
        time.sleep(after)
        assert stack.http.delete(f"/sql/previews/{made['id']}").status_code == 204
        self.ended(stack, made["streams"][0]["flink_job_id"])
        assert self.task_manager(stack) == before
        gone(stack, made)

    def test_with_its_session(self, stack: Stack):
        before = self.task_manager(stack)
        session = stack.http.post("/sql/sessions", json={}).json()["id"]
        statements = f"/sql/sessions/{session}/statements"
        assert stack.http.post(statements, json={"statement": ENDLESS.strip().rstrip(";")}).status_code == 200
        query = stack.http.post(statements, json={"statement": self.QUERY}).json()
        assert stack.http.delete(f"/sql/sessions/{session}").status_code == 204
        made = stack.http.get(f"/sql/previews/{query['preview']}").json()
        self.ended(stack, made["streams"][0]["flink_job_id"])
        assert self.task_manager(stack) == before
