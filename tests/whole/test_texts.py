"""Texts that a later version takes no more, and rows for tables that nobody reads."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.whole.penstock import SQL, Penstock, sql


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
    penstock.ok("POST", path, json={"sources": {"src": {"rows": rows}}})
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
        penstock.ok("DELETE", "/projects/default/secrets/rate")
        assert "There is no secret rate" in self.refused(penstock, "of-secret", "restart")
        penstock.ok("PUT", "/projects/default/secrets/rate", json={"value": "5"})
        penstock.done("of-secret", "restart")

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
