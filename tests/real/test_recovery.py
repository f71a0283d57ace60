"""The recovery, by hand and dry: orphans, lost workflows, commands that were not delivered."""

from __future__ import annotations

import uuid

import httpx
import pytest
from temporalio.client import Client

from tests.real.conftest import SQL, Stack
from tests.real.test_cli import penstock

pytestmark = pytest.mark.real


def stranger(stack: Stack) -> str:
    """A Flink job that somebody started past Penstock; returns its Flink id."""
    jid = uuid.uuid4().hex
    with httpx.Client(base_url=stack.gateway_url, timeout=60, trust_env=False) as gateway:
        properties = {"$internal.pipeline.job-id": jid, "pipeline.name": "by hand"}
        session = gateway.post("/v2/sessions", json={"properties": properties}).json()["sessionHandle"]
        for statement in [s for s in SQL.split(";\n")[1:] if s.strip()]:
            text = statement.strip().rstrip(";")
            operation = gateway.post(f"/v2/sessions/{session}/statements", json={"statement": text}).json()
            path = f"/v2/sessions/{session}/operations/{operation['operationHandle']}/result/0?rowFormat=JSON"
            stack.until(lambda path=path: gateway.get(path).json().get("resultType") != "NOT_READY", "it is done")
        gateway.delete(f"/v2/sessions/{session}")
    stack.until(lambda: state_of(stack, jid) == "RUNNING", "it runs")
    return jid


def state_of(stack: Stack, jid: str) -> str | None:
    return next((j["state"] for j in stack.flink.get("/jobs/overview").json()["jobs"] if j["jid"] == jid), None)


def orphan(stack: Stack, jid: str) -> dict | None:
    """On the cluster `local`; others may be the same Flink."""
    found = stack.http.get("/orphans", params={"cluster": "local"}).json()["items"]
    return next((o for o in found if o["flink_job_id"] == jid), None)


def recover(stack: Stack, *, dry: bool) -> list[dict]:
    answer = stack.http.post("/recovery", json={"dry_run": dry})
    assert answer.status_code == 200, answer.text
    return answer.json()["findings"]


class TestOrphans:
    def test_one_is_reported_and_adopted(self, stack: Stack):
        jid = stranger(stack)
        found = stack.until(lambda: orphan(stack, jid), "it is reported")
        assert (found["name"], found["job"]) == ("by hand", None)
        assert any(f["kind"] == "orphan" and jid in f["what"] and not f["done"] for f in recover(stack, dry=False))
        assert state_of(stack, jid) == "RUNNING", "reported, and left alone"
        job = stack.create()
        stack.do(job, "adopt", flink_job_id=jid)
        shown = stack.job(job)
        assert (shown["state"], shown["current_attempt"]["flink_job_id"]) == ("RUNNING", jid)
        stack.until(lambda: orphan(stack, jid) is None, "it is none any more")
        stack.do(job, "pause")
        stack.do(job, "start")
        assert "/savepoints/1-" in stack.job(job)["current_attempt"]["restored_from"]
        assert state_of(stack, jid) == "FINISHED"

    @pytest.mark.parametrize(("mode", "end"), [("cancel", "CANCELED"), ("stop", "FINISHED")])
    def test_one_is_stopped(self, stack: Stack, mode: str, end: str):
        jid = stranger(stack)
        stack.until(lambda: orphan(stack, jid), "it is reported")
        path = f"/clusters/local/orphans/{jid}/stop"
        assert stack.http.post(path, json={"mode": mode}).status_code == 202
        assert stack.http.post(path, json={"mode": mode}).status_code in (202, 404, 409), "asking again is safe"
        stack.until(lambda: state_of(stack, jid) == end, "it is stopped")
        stack.until(lambda: orphan(stack, jid) is None, "it is off the list")
        assert stack.http.post(path, json={"mode": mode}).status_code == 404

    def test_an_attempt_that_was_believed_gone_stops_every_other(self, stack: Stack):
        """Its row is made to say that it has ended, as a wrong belief would: the cluster knows better."""
        job = stack.create()
        stack.do(job, "start")
        jid = stack.job(job)["current_attempt"]["flink_job_id"]
        forget(stack, jid)
        assert orphan_alert(stack, job, jid)
        other = stack.create()
        answer = stack.send(other, "adopt", flink_job_id=jid)
        assert (answer.status_code, answer.json()["code"]) == (422, "not_adoptable")

    def test_what_cannot_be_adopted_says_why(self, stack: Stack):
        job = stack.create()
        assert stack.send(job, "adopt").json()["code"] == "flink_job_id_missing"
        assert stack.send(job, "adopt", flink_job_id="zz").status_code == 422
        ended = stack.do(job, "adopt", "FAILED", flink_job_id="0" * 32)
        assert ended["error_code"] == "not_adoptable"
        assert stack.job(job)["state"] == "CREATED"


def forget(stack: Stack, jid: str) -> None:
    import sqlite3

    with sqlite3.connect(stack.home / "penstock.db", timeout=30) as database:
        database.execute(
            "UPDATE attempts SET ended_at = '2026-01-01 00:00:00', state = 'GONE' WHERE flink_job_id = ?", (jid,)
        )


def orphan_alert(stack: Stack, job: str, jid: str) -> bool:
    found = stack.until(lambda: orphan(stack, jid), "it is reported")
    assert (found["job"], found["attempt"]) == (job, 1)
    stack.until(
        lambda: [e for e in stack.items(job, "timeline") if e["kind"] == "alert" and "is alive" in e["message"]],
        "its job's timeline says so",
    )
    return True


async def test_a_dry_run_changes_nothing(stack: Stack):
    job = stack.create()
    stack.do(job, "start")
    client = await Client.connect(f"127.0.0.1:{stack.ports['temporal']}")
    schedule = client.get_schedule_handle(stack.installation().recovery_id)
    await schedule.pause()
    try:
        await client.get_workflow_handle(stack.workflow_id(job)).terminate("test")
        for _ in range(2):
            stack.until(
                lambda: any(f["kind"] == "workflow" and f["subject"] == job for f in recover(stack, dry=True)),
                "the dry run tells of it",
            )
        found = [f for f in recover(stack, dry=True) if f["subject"] == job]
        assert [(f["safe"], f["done"]) for f in found] == [(True, False)]
        stack.until(
            lambda: any(f["subject"] == job and f["done"] for f in recover(stack, dry=False)), "the other one mends it"
        )
        stack.until(lambda: not [f for f in recover(stack, dry=True) if f["subject"] == job], "nothing is left to do")
    finally:
        await schedule.unpause()
    stack.do(job, "pause")


def test_the_command_line(stack: Stack):
    jid = stranger(stack)
    stack.until(lambda: orphan(stack, jid), "it is reported")
    assert jid in penstock(stack, "orphans", "list").stdout
    told = penstock(stack, "recover", "--dry-run").stdout
    assert "orphan" in told
    assert jid[:8] in told
    job = stack.create()
    assert "SUCCEEDED" in penstock(stack, "orphans", "adopt", "local", jid, job).stdout
    assert stack.job(job)["current_attempt"]["flink_job_id"] == jid
    other = stranger(stack)
    stack.until(lambda: orphan(stack, other), "it is reported")
    penstock(stack, "orphans", "stop", "local", other, "--no-savepoint")
    stack.until(lambda: state_of(stack, other) == "CANCELED", "it is stopped")
