"""Interactive sessions on real gateways: they come back, whatever dies."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from processes.supervised import Port, free_port, http_ok
from tests.core.sql.test_script import TestQueries
from tests.real.conftest import Stack
from tests.real.sse import rows, whole


def open_session(stack: Stack, **more) -> str:
    response = stack.http.post("/sql/sessions", json=more)
    assert response.status_code == 201, response.text
    return response.json()["id"]


def run(stack: Stack, session: str, statement: str, status: int = 200, **more) -> dict:
    response = stack.http.post(f"/sql/sessions/{session}/statements", json={"statement": statement, **more})
    assert response.status_code == status, response.text
    return response.json()


SOURCE = "CREATE TABLE src (id BIGINT) WITH ('connector'='datagen','number-of-rows'='3','fields.id.kind'='sequence','fields.id.start'='1','fields.id.end'='3')"


def test_statements_and_a_query(stack: Stack):
    session = open_session(stack, name="mine")
    run(stack, session, SOURCE)
    assert ["src"] in run(stack, session, "SHOW TABLES")["rows"]
    run(stack, session, "CREATE TEMPORARY VIEW twice AS SELECT id * 2 AS n FROM src;")
    made = run(stack, session, "SELECT n FROM twice")
    assert [f for _, f in rows(whole(stack.http, made["preview"]))] == [[2], [4], [6]]
    # The session lives on after its query.
    assert ["twice"] in run(stack, session, "SHOW VIEWS")["rows"]
    assert session in [s["id"] for s in stack.http.get("/sql/sessions").json()["items"]]
    assert stack.http.delete(f"/sql/sessions/{session}").status_code == 204
    assert run(stack, session, "SHOW TABLES", 404)["code"] == "session_not_found"


@pytest.mark.parametrize("query", [q.replace(" s", " src") for q in TestQueries.QUERIES])
def test_what_flink_takes_for_a_query_is_one(stack: Stack, query: str):
    """Its Flink job has a lease and limits, however the query begins."""
    session = open_session(stack)
    run(stack, session, "CREATE TABLE src (id BIGINT) WITH ('connector'='datagen')")
    made = run(stack, session, query, limits={"rows": 1})
    found = whole(stack.http, made["preview"])
    assert len(rows(found)) == 1
    assert found[-1][1]["state"] in ("LIMITED", "FINISHED")
    (stream,) = stack.http.get(f"/sql/previews/{made['preview']}").json()["streams"]
    stack.until(lambda: ended(stack, stream["flink_job_id"]), "its Flink job has ended")


def test_no_form_of_a_table_made_of_a_query_runs(stack: Stack):
    session = open_session(stack)
    run(stack, session, SOURCE)
    for query in ("TABLE src", "(SELECT id FROM src)", "VALUE (1)"):
        create = f"CREATE TABLE made WITH ('connector'='blackhole') AS {query}"
        assert run(stack, session, create, 422)["code"] == "statement_refused"
        text = f"{SOURCE};{create};INSERT INTO made SELECT 1"
        found = stack.http.post("/sql/validate", json={"sql": text}).json()
        assert "CREATE TABLE AS" in found["errors"][0]["message"]
    assert ["made"] not in run(stack, session, "SHOW TABLES")["rows"]


def ended(stack: Stack, flink_job: str) -> bool:
    found = {j["jid"]: j["state"] for j in stack.flink.get("/jobs/overview").json()["jobs"]}
    return found.get(flink_job, "CANCELED") in ("FINISHED", "CANCELED")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO src SELECT 1", "statement_refused"),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO src SELECT 1; END", "not_one_statement"),
        ("CREATE TABLE x AS SELECT 1", "statement_refused"),
        ("ADD JAR '/etc/passwd'", "statement_refused"),
        ("STOP JOB 'x'", "statement_refused"),
        ("SELECT 1; SELECT 2", "not_one_statement"),
        ("SELECT 'x", "sql_unclosed"),
        ("SET 'execution.target' = 'local'", "forbidden_config_key"),
        ("SELEC 1", "sql_invalid"),
        ("DROP CATALOG default_catalog", "sql_invalid"),
        ("CREATE TABLE x (a INT) WITH ('connector'='jdbc','password'='hunter2')", "secret_in_clear"),
    ],
)
def test_what_has_no_place_here(stack: Stack, statement: str, code: str):
    session = open_session(stack)
    found = run(stack, session, statement, 422)
    assert found["code"] == code, found
    assert "hunter2" not in str(found)
    assert stack.http.get(f"/sql/sessions/{session}").json()["setup"] == []


def test_it_survives_the_death_of_the_gateway_and_says_what_it_lost(stack: Stack):
    session = open_session(stack)
    run(stack, session, SOURCE)
    run(stack, session, "CREATE TEMPORARY VIEW v AS SELECT id FROM src")
    run(stack, session, "SET 'table.local-time-zone' = 'Asia/Tokyo'")
    assert stack.http.get(f"/sql/sessions/{session}").json()["settings"] == {"table.local-time-zone": "Asia/Tokyo"}
    stack.kill("gateway")
    stack.start("gateway")
    found = run(stack, session, "SHOW VIEWS")
    assert ["v"] in found["rows"]
    assert found["rebuilt"]["reset"] == {"table.local-time-zone": "Asia/Tokyo"}
    assert "table.local-time-zone" in found["rebuilt"]["message"]
    again = run(stack, session, "SHOW VIEWS")
    assert again["rebuilt"] is None
    assert stack.http.get(f"/sql/sessions/{session}").json()["generation"] == 2


def test_it_survives_the_death_of_the_api_and_keeps_its_settings(stack: Stack):
    session = open_session(stack)
    run(stack, session, "SET 'table.local-time-zone' = 'Asia/Tokyo'")
    stack.kill("api")
    stack.start("api")
    found = run(stack, session, "SET")
    assert found["rebuilt"] is None
    assert any("Asia/Tokyo" in str(row) for row in found["rows"])


def test_while_the_gateway_is_away_it_is_said(stack: Stack):
    session = open_session(stack)
    stack.kill("gateway")
    try:
        assert run(stack, session, "SHOW TABLES", 503)["code"] == "cluster_unreachable"
    finally:
        stack.start("gateway")
    assert run(stack, session, "SHOW TABLES")["rebuilt"] is not None


@pytest.fixture(scope="module")
def second(stack: Stack):
    """A second gateway of the same cluster, and a second API of the same database."""
    flink = stack.local.flink()
    other = replace(flink, gateway_port=free_port(), folder=flink.folder.parent / "second")
    spec = replace(other.gateway(), name="gateway-2", ports=[Port(other.gateway_port, "PENSTOCK_GATEWAY_PORT")])
    port = free_port()
    api = stack.local.api_process()
    api = replace(
        api,
        name="api-2",
        env={**api.env, "PENSTOCK_API_PORT": str(port)},
        ports=[Port(port, "PENSTOCK_API_PORT")],
        ready=http_ok(f"http://127.0.0.1:{port}/readyz"),
    )
    try:
        stack.local.processes.start(spec, timeout=240)
        stack.local.processes.start(api, timeout=240)
        stack.add_cluster("two", gateway_url=other.gateway_url, gateway_urls=[stack.gateway_url])
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60, trust_env=False, headers=stack.http.headers
        ) as http:
            yield http
    finally:
        # It is the same Flink under another name: other tests' jobs would be orphans there.
        stack.http.patch("/clusters/two", json={"jobmanager_url": "http://127.0.0.1:9"})
        stack.local.processes.stop("api-2", grace=10)
        stack.local.processes.stop("gateway-2", grace=10)


class TestSeveral:
    def test_a_session_is_found_by_every_api_and_moves_to_another_gateway(self, stack: Stack, second: httpx.Client):
        session = open_session(stack, cluster="two")
        run(stack, session, SOURCE)
        first = stack.http.get(f"/sql/sessions/{session}").json()["gateway"]
        found = second.post(f"/sql/sessions/{session}/statements", json={"statement": "SHOW TABLES"}).json()
        assert found["rebuilt"] is None
        assert ["src"] in found["rows"]
        stack.kill("gateway-2")
        found = second.post(f"/sql/sessions/{session}/statements", json={"statement": "SHOW TABLES"}).json()
        assert found["rebuilt"] is not None
        assert ["src"] in found["rows"]
        assert second.get(f"/sql/sessions/{session}").json()["gateway"] != first
        # The first API finds it where the second one has made it again.
        assert run(stack, session, "SHOW TABLES")["rebuilt"] is None

    def test_a_preview_of_another_api_says_so(self, stack: Stack, second: httpx.Client):
        made = stack.http.post(
            "/sql/previews", json={"sql": f"{SOURCE.replace('number-of-rows', 'rows-per-second')}; SELECT id FROM src"}
        ).json()
        end = whole(second, made["id"])[-1]
        assert end[0] == "end"
        assert end[1]["resume"]
        assert second.delete(f"/sql/previews/{made['id']}").status_code == 204
