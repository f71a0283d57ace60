"""Texts that a later version takes no more, and rows for tables that nobody reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.whole.penstock import SQL, Penstock, repository, sql


def test_a_version_that_is_not_taken_any_more_says_so_and_can_be_killed(penstock: Penstock):
    job = penstock.create("stale")
    old = {
        **sql("s_stale"),
        "sql": "CREATE TABLE x WITH ('connector' = 'blackhole') AS (SELECT 1); INSERT INTO x SELECT 1",
    }
    penstock.world.store.db.execute("UPDATE versions SET spec = ? WHERE job_id = ?", (json.dumps(old), job["id"]))
    ended = penstock.do("stale", "start")
    assert ended["state"] == "FAILED"
    assert penstock.state("stale") == "DEPLOY_FAILED"
    assert "CREATE TABLE" in penstock.job("stale")["reason"]


def test_rows_for_a_table_that_neither_version_reads_are_a_slip(penstock: Penstock):
    penstock.create("compared")
    path = "/jobs/default:compared/versions/1/diff/1/rows"
    rows = [{"id": 1, "name": "a", "amt": 1.5}]
    found = penstock.ok("POST", path, json={"sources": {"src": {"rows": rows}}})
    assert found["state"]["summary"] == "The job has no state yet."
    wrong = {"sources": {"src": {"rows": rows}, "scr": {"rows": rows}}}
    assert "scr" in penstock.no("POST", path, 422, "source_not_read", json=wrong)["detail"]


class TestWhatRunsIsNotStoppedForWhatWouldNotStart:
    """Found by an attack: a healthy job was stopped, and then its start was refused."""

    COMMANDS: ClassVar[str] = "/jobs/default:{}/commands"

    def refused(self, penstock: Penstock, name: str, kind: str, **more: Any) -> str:
        path = self.COMMANDS.format(name)
        problem = penstock.no("POST", path, 409, "would_not_start", json={"kind": kind, **more})
        assert penstock.state(name) == "RUNNING"
        assert penstock.job(name)["current_attempt"]["number"] == 1
        return str(problem["detail"])

    def test_its_secret_is_gone(self, penstock: Penstock):
        penstock.ok("PUT", "/projects/default/secrets/rate", json={"value": "5"})
        text = SQL.format(sink="of_secret", what="COUNT(*)").replace("'5'", "'${secret:rate}'")
        penstock.running("of-secret", {"type": "sql", "sql": text})
        refused = penstock.no("DELETE", "/projects/default/secrets/rate", 409, "secret_in_use")
        assert "used by of-secret:" in refused["detail"]
        penstock.world.store.db.execute("DELETE FROM secrets WHERE name = 'rate'")  # restored from a backup, say
        assert "There is no secret rate" in self.refused(penstock, "of-secret", "restart")
        penstock.ok("PUT", "/projects/default/secrets/rate", json={"value": "5"})
        penstock.done("of-secret", "restart")
        penstock.done("of-secret", "kill")
        plain = {"spec": {"type": "sql", "sql": SQL.format(sink="of_secret", what="COUNT(*)")}}
        penstock.ok("POST", "/jobs/default:of-secret/versions", json=plain)
        penstock.no("DELETE", "/projects/default/secrets/rate", 409, "secret_in_use")
        penstock.done("of-secret", "resubmit", restore={"mode": "none"})
        penstock.ok("DELETE", "/projects/default/secrets/rate")

    def test_flink_refuses_a_table_of_it(self, penstock: Penstock):
        penstock.running("of-table", sql("of_table"))
        gateway = penstock.world.gateways["flink-a"]
        gateway.refuses["of_table"] = "Could not parse value 'abc' for key 'execution.checkpointing.timeout'"
        try:
            for kind, more in (("restart", {}), ("resubmit", {"restore": {"mode": "none"}})):
                assert "Could not parse value 'abc'" in self.refused(penstock, "of-table", kind, **more)
        finally:
            gateway.refuses.clear()
        penstock.done("of-table", "restart")

    def test_a_gateway_that_is_away_says_nothing_about_it(self, penstock: Penstock):
        penstock.running("unasked", sql("unasked"))
        endpoint = penstock.world.network.endpoints["http://gateway-a:8083"]
        endpoint.mode = "refuse"
        sent = penstock.send("unasked", "restart")
        endpoint.mode = "ok"
        assert penstock.ended("unasked", sent["number"])["state"] in ("SUCCEEDED", "FAILED")
        penstock.until(lambda: penstock.state("unasked") == "RUNNING")

    def test_a_plan_that_is_there_is_run_whatever_its_text_says_now(self, penstock: Penstock):
        penstock.running("planned", sql("planned"))
        gateway = penstock.world.gateways["flink-a"]
        gateway.refuses["EXPLAIN"] = "no such function"
        penstock.done("planned", "restart")
        gateway.refuses.clear()

    def test_nothing_is_made_outside_of_the_session(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        """The table would be there when the start comes to make it, and the running job writes to the one that goes."""
        penstock.running("outside", sql("outside"))
        text = (
            "CREATE CATALOG lake WITH ('type' = 'warehouse'); DROP TABLE IF EXISTS lake.shop.sums; "
            "CREATE TABLE lake.shop.sums (id BIGINT, name STRING, amt DOUBLE) WITH ('path' = 'x'); "
            + SQL.format(sink="outside", what="COUNT(*)").replace("INSERT INTO outside", "INSERT INTO lake.shop.sums")
        )
        penstock.ok("POST", "/jobs/default:outside/versions", json={"spec": {"type": "sql", "sql": text}})
        gateway, sent = penstock.world.gateways["flink-a"], list[str]()
        execute = type(gateway)._execute

        def noting(self: Any, session: Any, operation: Any, statement: str, generation: int) -> None:
            sent.append(" ".join(statement.split()))
            execute(self, session, operation, statement, generation)

        monkeypatch.setattr(type(gateway), "_execute", noting)
        gateway.refuses["EXPLAIN"] = "no such function"
        self.refused(penstock, "outside", "resubmit", version=2, restore={"mode": "none"})
        gateway.refuses.clear()
        assert not [statement for statement in sent if statement.startswith(("DROP", "CREATE TABLE lake"))]


def test_uids_that_are_not_made_of_ids_say_nothing_about_state(penstock: Penstock):
    """Found by an attack: with `--force` the state that was to be dropped went on."""
    penstock.running("uids", sql("uids"))
    changed = {**sql("uids", "SUM(amt)"), "config": {"table.exec.uid.generation": "DISABLED"}}
    penstock.ok("POST", "/jobs/default:uids/versions", json={"spec": changed})
    verdict = penstock.ok("GET", "/jobs/default:uids/versions/2/verdict")
    assert verdict["verdict"] == "UNKNOWN"
    assert "table.exec.uid.generation" in verdict["summary"]
    resubmit = {"kind": "resubmit", "restore": {"mode": "newest"}, "force": True}
    penstock.no("POST", "/jobs/default:uids/commands", 409, "state_unknown", json=resubmit)
    assert penstock.state("uids") == "RUNNING"


def test_a_version_that_a_younger_rule_refuses_fails_and_is_not_tried_for_ever(
    penstock: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is stored was taken once; a key may have become Penstock's own since. It is put in behind the back of all,
    who would take it for another version."""
    for module in ("store.attempts", "activities.record"):
        monkeypatch.setattr(f"{module}.name_of", lambda number, _: f"{number}:")
    repo = repository(tmp_path / "repo")
    penstock.world.settings.git_local_roots.append(tmp_path)
    made = {
        "sql-of-before": sql("of_before"),
        "jar-of-before": {"type": "jar", "git": {"url": str(repo), "ref": "main"}},
    }
    for name, spec in made.items():
        job = penstock.running(name, spec)
        old = json.dumps({**spec, "config": {"rest.port": "1"}})
        penstock.world.store.db.execute("UPDATE versions SET spec = ? WHERE job_id = ?", (old, job["id"]))
        answer = penstock.http.post(f"/jobs/default:{name}/commands", json={"kind": "restart"})
        if answer.is_success:
            ended = penstock.ended(name, answer.json()["number"])
            assert (ended["state"], ended["error_code"]) == ("FAILED", "spec_invalid")
        words = answer.text if not answer.is_success else ended["error"]
        assert "rest.port cannot be set here" in words
        assert penstock.state(name) == "RUNNING"
