"""Registered views on a real Flink: what they name is made before them, and lineage goes through them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.real.conftest import Stack
from tests.real.sse import rows, whole

pytestmark = pytest.mark.real

DDL = """
CREATE TABLE numbers (id BIGINT, word STRING) WITH (
  'connector' = 'datagen', 'number-of-rows' = '5',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '5');
CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');
CREATE VIEW even AS SELECT id AS n FROM numbers WHERE MOD(id, 2) = 0;
CREATE VIEW a_sum AS
WITH x AS (SELECT n + 1 AS n FROM even) -- of another view
SELECT n FROM x
"""


@pytest.fixture
def project(stack: Stack) -> str:
    name = f"p{uuid.uuid4().hex[:10]}"
    assert stack.http.post("/projects", json={"name": name}).status_code == 201
    response = stack.http.post(f"/projects/{name}/resources/import", json={"sql": DDL})
    assert response.status_code == 200, response.text
    return name


def put(stack: Stack, project: str, name: str, query: str) -> Any:
    body = {"kind": "view", "query": query}
    response = stack.http.put(f"/projects/{project}/resources/{name}", json=body)
    assert response.status_code in (200, 201), response.text
    return response.json()


def query(stack: Stack, project: str, sql: str) -> list[Any]:
    made = stack.http.post("/sql/previews", json={"project": project, "sql": sql})
    assert made.status_code == 201, made.text
    return [fields[0] for _, fields in rows(whole(stack.http, made.json()["id"]))]


def test_scripts_read_views_of_views(stack: Stack, project: str):
    assert sorted(query(stack, project, "SELECT n FROM a_sum")) == [3, 5]
    items = stack.http.get(f"/projects/{project}/resources").json()["items"]
    assert [r["name"] for r in items] == ["hole", "numbers", "even", "a_sum"]
    text = ";\n".join(r["ddl"] for r in items)
    again = stack.http.post(f"/projects/{project}/resources/import", json={"sql": text}).json()["items"]
    assert {r["action"] for r in again} == {"unchanged"}


def test_a_job_has_a_plan_and_lineage_through_views(stack: Stack, project: str):
    spec = {"type": "sql", "sql": "INSERT INTO hole SELECT n FROM a_sum"}
    job = stack.http.post("/jobs", json={"project": project, "name": "j", "spec": spec}).json()
    stack.do(job["id"], "start")
    lineage = stack.http.get(f"/jobs/{project}:j/lineage").json()
    (column,) = lineage["columns"]
    assert (column["column"], column["sources"]) == ("n", [["default_catalog.default_database.numbers", "id"]])
    assert lineage["why"] is None

    def plan() -> str:
        return str(stack.http.get(f"/jobs/{project}:j/versions/1/plan").json()["digest"])

    ran = plan()
    # What was started goes on with the view that it had; a resubmit takes up the one of now.
    put(stack, project, "even", "SELECT id AS n FROM numbers WHERE MOD(id, 2) = 1")
    stack.do(job["id"], "restart", restore={"mode": "none"})
    assert plan() == ran
    stack.do(job["id"], "resubmit", restore={"mode": "none"})
    assert plan() != ran


def test_a_view_that_flink_does_not_take_is_said_where_it_is_named(stack: Stack, project: str):
    put(stack, project, "broken", "SELECT nothing FROM numbers")
    found = stack.http.post("/sql/validate", json={"project": project, "sql": "SELECT * FROM broken", "queries": True})
    assert "nothing" in found.text
    assert "CREATE VIEW" in found.text
    refused = stack.http.post(
        f"/projects/{project}/resources/import", json={"sql": "CREATE VIEW other AS SELECT nothing FROM numbers"}
    )
    assert refused.status_code == 422
    assert "nothing" in refused.json()["detail"]
    session = stack.http.post("/sql/sessions", json={"project": project}).json()["id"]
    path = f"/sql/sessions/{session}/statements"
    shown = stack.http.post(path, json={"statement": "SHOW VIEWS"}).json()["rows"]
    assert shown == [["a_sum"], ["even"]]
    assert "nothing" in stack.http.post(path, json={"statement": "SELECT * FROM broken"}).json()["detail"]


def test_a_view_reads_no_table_that_is_not_granted(stack: Stack, project: str):
    other = f"{project}-other"
    stack.http.post("/projects", json={"name": other})
    grants = f"/projects/{project}/resources/numbers/grants/{other}"
    put(stack, other, "theirs", f"SELECT id FROM `{project}`.numbers")
    sql = {"project": other, "sql": "SELECT id FROM theirs", "queries": True}
    assert "not found" in stack.http.post("/sql/validate", json=sql).text
    assert stack.http.put(grants, json={"read": True}).status_code == 200
    assert stack.http.post("/sql/validate", json=sql).json()["valid"]
    assert stack.http.put(grants, json={"read": False, "write": True}).status_code == 200
    assert "access_denied" in stack.http.post("/sql/validate", json=sql).text
