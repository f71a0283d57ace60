"""Texts that a later version takes no more, and rows for tables that nobody reads."""

from __future__ import annotations

import json

from tests.whole.penstock import Penstock, sql


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
