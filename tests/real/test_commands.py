"""Every command on a real Temporal and a real Flink. What Flink itself says is the judge."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.real.conftest import BOUNDED, SQL, Stack

pytestmark = pytest.mark.real


class TestStart:
    def test_a_sql_job_runs_under_the_id_that_was_recorded(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        shown = stack.job(job)
        assert shown["state"] == "RUNNING"
        attempt = shown["current_attempt"]
        assert stack.alive(job) == [attempt["flink_job_id"]]
        assert attempt["restored_from"] is None
        assert shown["last_observed_at"]
        assert [e["kind"] for e in stack.items(job, "timeline")].count("attempt") == 1

    def test_several_inserts_are_one_flink_job(self, stack: Stack):
        sql = SQL + "\nINSERT INTO sink SELECT id + 1 FROM src;"
        job = stack.create(sql)
        stack.do(job, "start")
        assert len(stack.flink_jobs(job)) == 1

    def test_the_same_key_is_the_same_command(self, stack: Stack):
        job = stack.create()
        key = uuid.uuid4().hex
        first = stack.send(job, "start", key=key).json()
        again = [stack.send(job, "start", key=key).json() for _ in range(3)]
        assert {a["id"] for a in again} == {first["id"]}
        stack.ended(job, first["number"])
        assert stack.send(job, "start", key=key).json()["id"] == first["id"]
        assert len(stack.flink_jobs(job)) == 1
        reused = stack.send(job, "pause", key=key)
        assert reused.status_code == 422
        assert reused.json()["code"] == "idempotency_key_reused"

    def test_the_same_key_at_the_same_moment_is_one_command(self, stack: Stack):
        job = stack.create()
        key = uuid.uuid4().hex
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: stack.send(job, "start", key=key).json(), range(6)))
        assert len({a["id"] for a in answers}) == 1
        stack.ended(job, answers[0]["number"])
        assert len(stack.flink_jobs(job)) == 1

    def test_the_error_names_statement_line_and_column(self, stack: Stack):
        job = stack.create(
            "-- first\nCREATE TABLE s (id INT) WITH ('connector' = 'blackhole');\n\n  INSERT INTO s SELECT x FROM nowhere;"
        )
        command = stack.do(job, "start", "FAILED")
        assert command["error"].startswith("Statement 2, line 4, column ")
        assert "nowhere" in command["error"]
        assert "\tat " not in command["error"]
        shown = stack.job(job)
        assert shown["state"] == "DEPLOY_FAILED"
        assert "at org.apache" in stack.http.get(f"/jobs/{job}/commands/1/log").text
        assert stack.flink_jobs(job) == []

    def test_a_bounded_job_comes_to_its_end(self, stack: Stack):
        job = stack.create(BOUNDED)
        stack.do(job, "start")
        assert stack.state(job, "FINISHED")["current_attempt"]["state"] == "FINISHED"
        undecided = stack.send(job, "start")
        assert undecided.status_code == 422
        assert undecided.json()["code"] == "restore_undecided"

    def test_a_name_that_is_taken(self, stack: Stack):
        job = stack.create()
        body = {"name": job.partition(":")[2], "spec": {"type": "sql", "sql": SQL}}
        answer = stack.http.post("/jobs", json=body)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"


class TestPauseAndGoOn:
    def test_from_the_savepoint(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        stack.do(job, "pause")
        shown = stack.job(job)
        assert shown["state"] == "PAUSED"
        assert stack.alive(job) == []
        points = stack.items(job, "restore-points")
        assert points[0]["kind"] == "savepoint"
        assert (Path(points[0]["path"].removeprefix("file://")) / "_metadata").exists()
        stack.do(job, "start")
        second = stack.job(job)["current_attempt"]
        assert second["restored_from"] == points[0]["path"]
        restored = stack.flink.get(f"/jobs/{second['flink_job_id']}/checkpoints").json()["latest"]["restored"]
        assert restored["external_path"].endswith(points[0]["path"].rpartition("/")[2])
        assert [a["state"] for a in stack.items(job, "attempts")] == ["RUNNING", "FINISHED"]

    def test_the_pin_is_let_go_after_a_checkpoint_of_its_own(self, stack: Stack):
        job = stack.create(SQL.replace("'1 s'", "'3 s'"))
        stack.do(job, "start")
        stack.do(job, "pause")
        stack.do(job, "start")
        stack.checkpointed(job)
        assert not any(p["pinned"] for p in stack.items(job, "restore-points"))

    def test_a_newer_checkpoint_beats_an_older_savepoint(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        stack.do(job, "savepoint")
        stack.checkpointed(job, more_than=6)
        flink_job = stack.job(job)["current_attempt"]["flink_job_id"]
        stack.do(job, "kill")
        stack.do(job, "start", restore={"mode": "newest"})
        restored_from = stack.job(job)["current_attempt"]["restored_from"]
        assert f"/checkpoints/{flink_job}/chk-" in restored_from


class TestKill:
    def test_afterwards_a_person_decides(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        stack.do(job, "kill")
        assert stack.job(job)["state"] == "KILLED"
        assert stack.alive(job) == []
        for kind in ("start", "restart", "resubmit"):
            assert stack.send(job, kind).json()["code"] == "restore_undecided"
        stack.do(job, "start", restore={"mode": "none"})
        assert stack.job(job)["current_attempt"]["restored_from"] is None

    def test_it_interrupts_a_start(self, stack: Stack):
        """More slots are asked for than there are: the start waits, and the kill ends it."""
        job = stack.create(SQL, config={"parallelism.default": "500"})
        number = stack.send(job, "start").json()["number"]
        stack.state(job, "DEPLOYED")
        stack.do(job, "kill")
        assert stack.ended(job, number)["state"] == "CANCELLED"
        assert stack.job(job)["state"] == "KILLED"
        assert stack.alive(job) == []


class TestRestartAndResubmit:
    def test_restart_of_a_running_job_keeps_its_state(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        before = stack.job(job)["current_attempt"]["flink_job_id"]
        stack.do(job, "restart")
        after = stack.job(job)["current_attempt"]
        assert stack.alive(job) == [after["flink_job_id"]]
        assert after["flink_job_id"] != before
        assert "/savepoints/1-" in after["restored_from"]

    def test_resubmit_runs_another_version_with_the_state_that_was_named(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        stack.do(job, "savepoint")
        point = next(p for p in stack.items(job, "restore-points") if p["kind"] == "savepoint")
        changed = SQL.replace("SELECT id FROM src", "SELECT id FROM src WHERE id > 0")
        made = stack.http.post(
            f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": changed}, "note": "filter"}
        )
        assert made.json()["number"] == 2
        assert stack.send(job, "resubmit").json()["code"] == "restore_undecided"
        stack.do(job, "resubmit", restore={"mode": "point", "point": point["id"], "allow_non_restored_state": True})
        shown = stack.job(job)
        assert (shown["version"], shown["current_attempt"]["restored_from"]) == (2, point["path"])
        diff = stack.http.get(f"/jobs/{job}/versions/1/diff/2").json()
        assert diff["changes"] == ["sql"]
        assert "+INSERT INTO sink SELECT id FROM src WHERE id > 0;" in diff["diff"]

    def test_a_point_that_is_not_there_is_refused_before_anything_stops(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        answer = stack.send(job, "restart", restore={"mode": "point", "point": "rp-0000000000000000"})
        assert answer.status_code == 422
        assert answer.json()["code"] == "restore_point_not_found"
        assert stack.job(job)["state"] == "RUNNING"

    def test_no_restore_point_where_one_is_due_blocks(self, stack: Stack):
        """The files are lost behind our back: not a silent fresh start."""
        job = stack.create()
        stack.do(job, "start")
        stack.checkpointed(job)
        stack.do(job, "pause")
        for point in stack.items(job, "restore-points"):
            metadata = Path(point["path"].removeprefix("file://")) / "_metadata"
            metadata.rename(metadata.with_name("lost"))
        command = stack.do(job, "start", "FAILED")
        assert command["error_code"] == "no_restore_point"
        shown = stack.job(job)
        assert shown["state"] == "BLOCKED"
        assert {"kind": "restart", "restore": {"mode": "none"}} in shown["next_actions"]
        assert stack.alive(job) == []
        stack.do(job, "restart", restore={"mode": "none"})
        assert stack.job(job)["state"] == "RUNNING"

    def test_a_savepoint_that_cannot_be_read(self, stack: Stack, tmp_path: Path):
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "_metadata").write_bytes(b"not a savepoint")
        job = stack.create(restart_policy={"enabled": False})
        command = stack.do(
            job, "start", "FAILED", restore={"mode": "point", "point": str(broken), "accept_unknown_state": True}
        )
        assert command["error"]
        assert stack.job(job)["state"] == "FAILED"
        stack.do(job, "restart", restore={"mode": "none"})


class TestPolicy:
    FAILS = (
        "SET 'restart-strategy.type' = 'disable';\nSET 'execution.checkpointing.interval' = '200 ms';\n"
        "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20',"
        " 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000');\n"
        "CREATE TABLE sink (id BIGINT) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO sink SELECT 1 / (MOD(id, 100) - 99) FROM src;"
    )

    def test_a_limit_of_n_gives_exactly_n_restarts(self, stack: Stack):
        policy = {"max_restarts": 2, "initial_backoff": 0.5, "multiplier": 1, "window": 3600}
        job = stack.create(self.FAILS, restart_policy=policy)
        stack.send(job, "start")
        shown = stack.state(job, "FAILED")
        attempts = stack.items(job, "attempts")
        assert len(attempts) == 3
        assert all(a["restored_from"] and "/chk-" in a["restored_from"] for a in attempts[:2])
        assert all(a["cause"].startswith("restart policy") for a in attempts[:2])
        assert "used up" in shown["reason"]
        assert "by zero" in shown["reason"]
        kinds = [e["kind"] for e in stack.items(job, "timeline")]
        assert kinds.count("restart") == 2
        assert kinds.count("alert") == 1

    def test_what_the_cluster_cancels_is_not_restarted(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        flink_job = stack.job(job)["current_attempt"]["flink_job_id"]
        stack.flink.patch(f"/jobs/{flink_job}", params={"mode": "cancel"})
        shown = stack.state(job, "KILLED")
        assert "not by Penstock" in shown["reason"]


class TestOther:
    def test_the_log_streams(self, stack: Stack):
        job = stack.create()
        number = stack.send(job, "start").json()["number"]
        events = []
        with stack.http.stream("GET", f"/jobs/{job}/commands/{number}/log/stream") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                if line.startswith("event:"):
                    events.append(line.partition(": ")[2])
                if line.startswith("data:"):
                    last = json.loads(line[5:])
        assert events[-1] == "end"
        assert "line" in events
        assert last["state"] == "SUCCEEDED"

    def test_config_names_the_layer(self, stack: Stack):
        job = stack.create(config={"taskmanager.x": "1", "my.secret": "hunter2"})
        items = {i["key"]: i for i in stack.http.get(f"/jobs/{job}/config").json()["items"]}
        assert items["execution.checkpointing.interval"]["layer"] == "version"
        assert items["execution.checkpointing.interval"]["overrides"] == ["platform"]
        assert items["my.secret"]["value"] == "******"
        assert items["execution.checkpointing.dir"]["layer"] == "penstock"

    def test_only_what_does_not_run_is_deleted(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        assert stack.http.delete(f"/jobs/{job}").status_code == 409
        stack.do(job, "pause")
        assert stack.http.delete(f"/jobs/{job}").status_code == 204
        assert stack.http.get(f"/jobs/{job}").status_code == 404
        name = job.partition(":")[2]
        again = stack.http.post("/jobs", json={"name": name, "spec": {"type": "sql", "sql": SQL}})
        assert again.status_code == 201
        stack.do(job, "start")
        assert stack.job(job)["current_attempt"]["restored_from"] is None

    def test_a_cluster_that_does_not_answer_is_unreachable_not_failed(self, stack: Stack):
        stack.add_cluster("away", jobmanager_url="http://127.0.0.1:9", gateway_url=None)
        health = stack.until(
            lambda: (h := stack.http.get("/clusters/away").json()["health"])["unreachable_since"] and h, "seen as away"
        )
        assert health["reachable"] is False
        assert health["why"]
        assert stack.http.delete("/clusters/away").status_code == 204

    def test_the_watch_sees_what_nobody_asks_for(self, stack: Stack):
        """The list is read from rows; only the watch can have told them."""
        job = stack.create(BOUNDED.replace("'20')", "'40')"))
        stack.send(job, "start")
        name = job.partition(":")[2]

        def listed() -> bool:
            return stack.http.get("/jobs", params={"text": name}).json()["items"][0]["state"] == "FINISHED"

        stack.until(listed, "the list says FINISHED")

    def test_temporal_shows_what_runs(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        name = job.partition(":")[2]
        query = f"PenstockJob = '{name}' AND PenstockState = 'RUNNING' AND PenstockType = 'sql' AND PenstockCluster = 'local'"
        import httpx

        def found() -> bool:
            url = f"http://127.0.0.1:{stack.ports['ui']}/api/v1/namespaces/default/workflows"
            body = httpx.get(url, params={"query": query}, trust_env=False).json()
            ids = [e["execution"]["workflowId"] for e in body.get("executions", [])]
            return ids == [stack.workflow_id(job)]

        stack.until(found, "the search attributes find it")


def test_9_two_restarts_at_once_are_one(stack: Stack):
    job = stack.create()
    stack.do(job, "start")
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(stack.send(job, "restart"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [a.json()["number"] for a in answers if a.status_code == 202]
    assert len(taken) == 1
    assert {a.status_code for a in answers} == {202, 409}
    assert stack.ended(job, taken[0])["state"] == "SUCCEEDED"
    assert len(stack.items(job, "attempts")) == 2
    assert len(stack.alive(job)) == 1
