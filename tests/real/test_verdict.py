"""The verdict on state, each class of it held against a real restore.

The source counts 1, 2, 3, ... and the query numbers the rows that it saw, so as long as all state goes on every row
written has `id` equal to `n`. When only the query's state is lost, `n` falls behind. It counts for 500 s and no
further: Flink keeps all values of a sequence in memory and in each checkpoint, and a million of them cost these tests
five times as much.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from clusters.flink.gateway import RestGateway
from core.sql.plan import read, renumbered
from tests.real.conftest import Stack

OVER = "OVER (PARTITION BY k ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"


def script(folder: Path, query: str, *, more: str = "", columns: str = "id BIGINT, n BIGINT") -> str:
    return f"""SET 'execution.checkpointing.interval' = '500 ms';
CREATE TABLE src (id BIGINT, k AS MOD(id, 1), pt AS PROCTIME()) WITH ('connector' = 'datagen',
  'rows-per-second' = '40', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000');
CREATE TABLE counted ({columns}) WITH ('connector' = 'filesystem', 'path' = 'file://{folder}', 'format' = 'json',
  'sink.rolling-policy.rollover-interval' = '1 s', 'sink.rolling-policy.check-interval' = '500 ms');
CREATE TABLE aside (k BIGINT, c BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO counted {query};
{more}"""


NUMBERED = f"SELECT id, COUNT(*) {OVER} FROM src"


def rows(folder: Path) -> list[dict]:
    """What has been committed."""
    files = [f for f in folder.rglob("part-*") if not f.name.startswith(".")]
    return [json.loads(line) for f in files for line in f.read_text().splitlines()]


def newest(stack: Stack, folder: Path) -> int:
    return max(r["id"] for r in stack.until(lambda: rows(folder), "rows are written"))


def running(stack: Stack, text: str) -> str:
    job = stack.create(text)
    stack.do(job, "start")
    stack.checkpointed(job, more_than=2)
    return job


def changed(stack: Stack, job: str, text: str) -> dict:
    spec = {"type": "sql", "sql": text}
    response = stack.http.post(f"/jobs/{job}/versions", json={"spec": spec})
    assert response.status_code == 201, response.text
    return stack.http.get(f"/jobs/{job}/versions/{response.json()['number']}/verdict").json()


def test_the_same_text_runs_from_the_same_plan(stack: Stack, tmp_path: Path):
    job = running(stack, script(tmp_path, NUMBERED))
    first = stack.http.get(f"/jobs/{job}/versions/1/plan").json()
    stack.do(job, "restart")
    assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"] == first["digest"]
    assert first["plan"]["nodes"][0]["id"] == 1


def test_a_version_that_never_ran_has_a_plan_and_a_lineage(stack: Stack, tmp_path: Path):
    job = stack.create(script(tmp_path, NUMBERED))
    plan = stack.http.get(f"/jobs/{job}/versions/1/plan").json()
    assert plan["digest"]
    lineage = stack.http.get(f"/jobs/{job}/lineage", params={"version": 1}).json()
    assert next(c for c in lineage["columns"] if c["column"] == "id")["sources"][0][1] == "id"
    stack.do(job, "start")
    assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"] == plan["digest"]
    broken = stack.create(script(tmp_path, "SELECT nothing FROM src"))
    found = stack.http.get(f"/jobs/{broken}/versions/1/plan").json()
    assert found["plan"] is None
    assert "'id'" in found["why"] or "'nothing'" in found["why"]


def test_compatible_keeps_the_state_though_operators_came_between(stack: Stack, tmp_path: Path):
    job = running(stack, script(tmp_path, NUMBERED))
    text = script(tmp_path, f"SELECT id, n FROM (SELECT id, COUNT(*) {OVER} AS n FROM src WHERE id > 0) WHERE n > -1")
    verdict = changed(stack, job, text)
    assert verdict["verdict"] == "COMPATIBLE", verdict
    assert any("filter in front of it changed" in note for note in verdict["notes"])
    before = newest(stack, tmp_path)
    answer = stack.do(job, "resubmit", restore={"mode": "newest"})
    stack.checkpointed(job, more_than=2)
    seen = stack.until(lambda: [r for r in rows(tmp_path) if r["id"] > before + 40], "rows after the change")
    assert all(r["id"] == r["n"] for r in seen)
    assert "COMPATIBLE" in stack.http.get(f"/jobs/{job}/commands/{answer['number']}/log").text


def test_tables_that_are_called_otherwise_keep_their_state(stack: Stack, tmp_path: Path):
    """State is found by the ids of operators, and what is in it knows no table's name."""
    text = script(tmp_path, NUMBERED)
    job = running(stack, text)
    other = text.replace("TABLE src", "TABLE events").replace("FROM src", "FROM events")
    other = other.replace("TABLE counted", "TABLE tally").replace("INTO counted", "INTO tally")
    verdict = changed(stack, job, other)
    assert verdict["verdict"] == "COMPATIBLE", verdict
    assert sum("it was called" in note for note in verdict["notes"]) == 2
    before = newest(stack, tmp_path)
    stack.do(job, "resubmit", restore={"mode": "newest"})
    stack.checkpointed(job, more_than=2)
    seen = stack.until(lambda: [r for r in rows(tmp_path) if r["id"] > before + 40], "rows after the change")
    assert all(r["id"] == r["n"] for r in seen)
    assert len({r["id"] for r in rows(tmp_path)}) == len(rows(tmp_path)), "each row was written once"


def test_a_filesystem_sink_is_not_given_state_that_writes_into_the_old_folder(stack: Stack, tmp_path: Path):
    """With its state, all rows of version 2 would go into files of version 1's folder while these are open."""

    def to(folder: str) -> str:
        text = script(tmp_path / folder, NUMBERED)
        return text.replace(
            "'sink.rolling-policy.rollover-interval' = '1 s'", "'sink.rolling-policy.rollover-interval' = '1 h'"
        )

    job = running(stack, to("old"))
    verdict = changed(stack, job, to("new"))
    assert verdict["verdict"] == "INCOMPATIBLE", verdict
    assert "the old place" in verdict["summary"]
    refused = stack.send(job, "resubmit", restore={"mode": "newest"})
    assert refused.json()["code"] == "state_incompatible"
    stack.do(job, "resubmit", restore={"mode": "newest"}, force=True)
    began = stack.until(lambda: list((tmp_path / "new").glob(".part-*")), "files in the new folder")
    assert began


def test_a_second_insert_takes_no_state_of_the_first(stack: Stack, tmp_path: Path):
    """Both number rows behind a deduplication, with the same words; they differ in what comes into that. The new one
    stands in front, and begins at one."""

    def insert(sink: str, every: int) -> str:
        one = f"SELECT id, k, pt FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY pt) AS r FROM src WHERE MOD(id, {every}) = 0) WHERE r = 1"
        return f"INSERT INTO {sink} SELECT id, COUNT(*) {OVER} FROM ({one})"

    table = "CREATE TABLE more (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\n"
    text = script(tmp_path, NUMBERED).rpartition("INSERT INTO counted")[0] + table
    job = running(stack, f"{text}{insert('counted', 1)};")
    before = newest(stack, tmp_path)
    verdict = changed(stack, job, f"{text}{insert('more', 7)};\n{insert('counted', 1)};")
    assert verdict["verdict"] == "COMPATIBLE", verdict
    stack.do(job, "resubmit", restore={"mode": "newest"})
    stack.checkpointed(job, more_than=2)
    seen = stack.until(lambda: [r for r in rows(tmp_path) if r["id"] > before + 40], "rows after the change")
    assert all(r["id"] == r["n"] for r in seen)


def test_a_version_in_batch_mode_does_not_begin_from_the_beginning(stack: Stack, tmp_path: Path):
    """Flink would not restore it, and say nothing: all rows would be written a second time."""
    text = script(tmp_path, "SELECT id, id FROM src").replace("'datagen',", "'datagen', 'number-of-rows' = '100000',")
    job = running(stack, text)
    verdict = changed(stack, job, "SET 'execution.runtime-mode' = 'batch';\n" + text)
    assert verdict["verdict"] == "INCOMPATIBLE", verdict
    refused = stack.send(job, "resubmit", restore={"mode": "newest"})
    assert refused.json()["code"] == "state_incompatible"
    assert len(stack.alive(job)) == 1


class TestIncompatible:
    MORE = f"SELECT id, n + 0 * s FROM (SELECT id, COUNT(*) {OVER} AS n, SUM(id) {OVER} AS s FROM src)"

    def test_it_is_refused_before_anything_is_stopped(self, stack: Stack, tmp_path: Path):
        job = running(stack, script(tmp_path, NUMBERED))
        verdict = changed(stack, job, script(tmp_path, self.MORE))
        assert verdict["verdict"] == "INCOMPATIBLE"
        assert any(o["change"] == "changed" and o["kind"] == "over-aggregate" for o in verdict["operators"])
        alive = stack.alive(job)
        refused = stack.send(job, "resubmit", restore={"mode": "newest"})
        assert refused.status_code == 409
        assert refused.json()["code"] == "state_incompatible"
        assert "SUM" in refused.json()["detail"]
        assert stack.alive(job) == alive

    def test_a_start_of_another_version_is_refused_too(self, stack: Stack, tmp_path: Path):
        job = running(stack, script(tmp_path, NUMBERED))
        stack.do(job, "pause")
        changed(stack, job, script(tmp_path, self.MORE))
        refused = stack.send(job, "start", version=2, restore={"mode": "newest"})
        assert (refused.status_code, refused.json()["code"]) == (409, "state_incompatible")
        assert stack.job(job)["state"] == "PAUSED"
        stack.do(job, "start")

    def test_forced_it_drops_that_state_and_keeps_the_rest(self, stack: Stack, tmp_path: Path):
        job = running(stack, script(tmp_path, NUMBERED))
        changed(stack, job, script(tmp_path, self.MORE))
        newest(stack, tmp_path)
        stack.do(job, "resubmit", restore={"mode": "newest"}, force=True)
        stack.checkpointed(job, more_than=2)
        seen = stack.until(lambda: [r for r in rows(tmp_path) if r["n"] < r["id"]], "rows after the change")
        began = min(r["id"] for r in seen)
        after = [r for r in rows(tmp_path) if r["id"] >= began]
        # The source went on where it was; the count began again.
        assert all(r["n"] == r["id"] - began + 1 for r in after)
        assert len({r["id"] for r in rows(tmp_path)}) == len(rows(tmp_path))

    def test_flink_would_not_have_taken_it(self, stack: Stack, tmp_path: Path):
        """With the same operator ids, which is what running the new text without a verdict comes to."""
        job = running(stack, script(tmp_path, NUMBERED))
        old = stack.http.get(f"/jobs/{job}/versions/1/plan").json()["plan"]
        stack.do(job, "pause")
        point = stack.items(job, "restore-points")[0]["path"]
        new_text = script(tmp_path, self.MORE.replace("n + 0 * s", "n"))

        async def run() -> str:
            gateway = RestGateway(stack.gateway_url)
            flink_job = uuid.uuid4().hex
            properties = {
                "$internal.pipeline.job-id": flink_job,
                "execution.state-recovery.path": point,
                "table.plan.restore.catalog-objects": "IDENTIFIER",
            }
            async with gateway.session(properties) as session:
                for statement in new_text.split(";\n")[:4]:
                    await gateway.execute(session, statement)
                query = f"INSERT INTO counted SELECT id, n + 0 * s FROM (SELECT id, COUNT(*) {OVER} AS n, SUM(id) {OVER} AS s FROM src)"
                new = read(await gateway.compile(session, query, f"{stack.state_dir}/verdict"))
                wanted = {
                    n.kind: n.id
                    for n in read(old).nodes.values()
                    if n.kind in ("table-source-scan", "over-aggregate", "sink")
                }
                ids = {n.id: wanted.get(n.kind, 100 + n.id) for n in new.nodes.values()}
                path = tmp_path / "plan.json"
                path.write_text(json.dumps(renumbered(new, ids).body))
                await gateway.execute(session, f"EXECUTE PLAN '{path}'")
            await gateway.http.close()
            return flink_job

        flink_job = asyncio.run(run())

        def failure() -> str:
            found = stack.flink.get(f"/jobs/{flink_job}/exceptions").json()["exceptionHistory"]["entries"]
            return found[0]["stacktrace"] if found else ""

        words = stack.until(failure, "Flink cannot restore it")
        assert "state" in words.lower()


class TestLoss:
    def test_what_is_gone_is_named_and_has_to_be_accepted(self, stack: Stack, tmp_path: Path):
        more = "INSERT INTO aside SELECT k, COUNT(*) FROM src GROUP BY k;"
        job = running(stack, script(tmp_path, NUMBERED, more=more))
        verdict = changed(stack, job, script(tmp_path, NUMBERED))
        assert verdict["verdict"] == "COMPATIBLE_WITH_LOSS"
        assert "GroupAggregate" in verdict["summary"]
        refused = stack.send(job, "resubmit", restore={"mode": "newest"})
        assert (refused.status_code, refused.json()["code"]) == (409, "state_loss")
        before = newest(stack, tmp_path)
        stack.do(job, "resubmit", restore={"mode": "newest", "allow_non_restored_state": True})
        stack.checkpointed(job, more_than=2)
        seen = stack.until(lambda: [r for r in rows(tmp_path) if r["id"] > before + 40], "rows after the change")
        assert all(r["id"] == r["n"] for r in seen)

    def test_a_new_branch_begins_empty_and_costs_nothing(self, stack: Stack, tmp_path: Path):
        job = running(stack, script(tmp_path, NUMBERED))
        more = "INSERT INTO aside SELECT k, COUNT(*) FROM src GROUP BY k;"
        verdict = changed(stack, job, script(tmp_path, NUMBERED, more=more))
        assert verdict["verdict"] == "COMPATIBLE", verdict
        assert "begins empty" in verdict["summary"]
        stack.do(job, "resubmit", restore={"mode": "newest"})
        stack.checkpointed(job, more_than=2)
        assert all(r["id"] == r["n"] for r in rows(tmp_path))


def test_unknown_is_said_and_has_to_be_accepted(stack: Stack, tmp_path: Path):
    files, out = tmp_path / "in", tmp_path / "out"
    for name in ("a", "b"):
        (files / name).mkdir(parents=True)
        (files / name / "x.json").write_text('{"id": 1}\n')

    def text(name: str) -> str:
        return f"""SET 'execution.checkpointing.interval' = '500 ms';
CREATE TABLE src (id BIGINT) WITH ('connector'='filesystem','path'='file://{files}/{name}','format'='json','source.monitor-interval'='1 s');
CREATE TABLE snk (id BIGINT) WITH ('connector'='filesystem','path'='file://{out}','format'='json');
INSERT INTO snk SELECT id FROM src;"""

    job = running(stack, text("a"))
    verdict = changed(stack, job, text("b"))
    assert verdict["verdict"] == "UNKNOWN"
    assert "path" in verdict["summary"]
    refused = stack.send(job, "resubmit", restore={"mode": "newest"})
    assert (refused.status_code, refused.json()["code"]) == (409, "state_unknown")
    assert "path" in refused.json()["detail"]
    assert stack.job(job)["state"] == "RUNNING"
    stack.do(job, "resubmit", restore={"mode": "newest", "accept_unknown_state": True})
    stack.checkpointed(job)


def test_a_version_that_flink_refuses_stops_nothing(stack: Stack, tmp_path: Path):
    job = running(stack, script(tmp_path, NUMBERED))
    stack.http.post(
        f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": script(tmp_path, "SELECT id, nothing FROM src")}}
    )
    alive = stack.alive(job)
    refused = stack.send(job, "resubmit", restore={"mode": "newest"})
    assert (refused.status_code, refused.json()["code"]) == (422, "sql_invalid")
    assert "'nothing'" in refused.json()["detail"]
    assert "line 7, column 32" in refused.json()["detail"]
    assert stack.alive(job) == alive


@pytest.mark.parametrize("point", ["/nowhere/savepoint-1", "rp-0000000000000000"])
def test_a_state_that_nobody_knows_is_unknown(stack: Stack, tmp_path: Path, point: str):
    job = running(stack, script(tmp_path, NUMBERED))
    found = stack.http.get(f"/jobs/{job}/versions/1/verdict", params={"point": point}).json()
    assert found["verdict"] == "UNKNOWN"
