"""A restore point that somebody names is the same one in every spelling, and state goes to the operator that made it.

Two aggregates have the same types and operators, and differ in what they sum: `small` in ones, `big` in millions. The
second version swaps the two INSERTs, so that Flink, left to count operators, would give each the other's state.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

import pytest

from tests.real.conftest import Stack, printed
from tests.real.test_cli import penstock

pytestmark = pytest.mark.real
MILLION = 1_000_000


class Sums:
    """The job, and what its two sinks have printed."""

    def __init__(self, stack: Stack):
        self.stack, self.small, self.big = stack, f"S{uuid.uuid4().hex[:8]}", f"B{uuid.uuid4().hex[:8]}"
        head = f"""SET 'execution.checkpointing.interval' = '1 h';
CREATE TABLE src (id BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000',
  'fields.v.min' = '1', 'fields.v.max' = '2');
CREATE TABLE a (k BIGINT, s BIGINT) WITH ('connector' = 'print', 'print-identifier' = '{self.small}');
CREATE TABLE b (k BIGINT, s BIGINT) WITH ('connector' = 'print', 'print-identifier' = '{self.big}');
"""
        first = "INSERT INTO a SELECT MOD(id, 1), SUM(v) FROM src GROUP BY MOD(id, 1);\n"
        second = f"INSERT INTO b SELECT MOD(id, 1), SUM(v * {MILLION}) FROM src GROUP BY MOD(id, 1);\n"
        self.text, self.swapped = head + first + second, head + second + first
        self.job = stack.create(self.text)

    def printed(self, name: str) -> list[int]:
        log = printed(self.stack.home / "flink")
        return [int(n) for n in re.findall(name + r"(?::\d+)?> \+[IU]\[\d+, (\d+)\]", log)]

    def more(self, before: tuple[int, int]) -> tuple[list[int], list[int]]:
        """What has been printed since `before`, a few values at the least."""

        def look() -> tuple[list[int], list[int]] | None:
            found = self.printed(self.small)[before[0] :], self.printed(self.big)[before[1] :]
            return found if min(map(len, found)) >= 5 else None

        return self.stack.until(look, "both sinks print")

    def count(self) -> tuple[int, int]:
        return len(self.printed(self.small)), len(self.printed(self.big))

    def paused(self) -> tuple[str, int, int]:
        """(path of the savepoint, the two sums in it)."""
        self.stack.do(self.job, "start")
        self.more((0, 0))
        self.stack.do(self.job, "pause")
        point = next(p for p in self.stack.items(self.job, "restore-points") if p["kind"] == "savepoint")
        return point["path"], self.printed(self.small)[-1], self.printed(self.big)[-1]

    def add(self, text: str) -> None:
        spec = {"type": "sql", "sql": text}
        assert self.stack.http.post(f"/jobs/{self.job}/versions", json={"spec": spec}).status_code == 201


@pytest.fixture
def sums(stack: Stack) -> Sums:
    return Sums(stack)


def test_no_spelling_swaps_the_state_of_two_aggregates(stack: Stack, sums: Sums, tmp_path: Path):
    path, small, big = sums.paused()
    sums.add(sums.swapped)
    raw = path.removeprefix("file://")
    os.symlink(Path(raw).parent, tmp_path / "link")
    spellings = [
        path,
        raw,
        f"file:{raw}",
        f"{path}/",
        f"file://localhost{raw}",
        raw.replace("/savepoints/", "//savepoints/./"),
        f"{raw}/_metadata",
        f"{tmp_path}/link/{Path(raw).name}",
    ]
    for spelling in spellings:
        before = sums.count()
        command = stack.do(sums.job, "resubmit", version=2, restore={"mode": "point", "point": spelling})
        assert command["restore"]["point"] == path, spelling
        smalls, bigs = sums.more(before)
        assert small < smalls[0] < small + 10_000, (spelling, small, smalls)
        assert big < bigs[0] < big + 10_000 * MILLION, (spelling, big, bigs)
        assert all(n % MILLION == 0 for n in bigs)
        shown = stack.job(sums.job)["current_attempt"]
        assert shown["restored_from"] == path
        points = stack.items(sums.job, "restore-points")
        point = next(p for p in points if p["path"] == path)
        # Until the attempt has a checkpoint of its own: Flink 2.3 takes one right after a restore, whatever the interval.
        own = [p for p in points if p["kind"] == "checkpoint" and p["attempt"] == shown["number"]]
        assert point["pinned"] or own, f"{spelling}: the point in use"
    stack.do(sums.job, "kill")


def test_state_that_nobody_knows_has_to_be_accepted(stack: Stack, sums: Sums, tmp_path: Path):
    path, _, _ = sums.paused()
    copy = tmp_path / "copy"
    shutil.copytree(path.removeprefix("file://"), copy)
    sums.add(sums.swapped)
    named = {"mode": "point", "point": str(copy)}
    for kind, version in (("start", 1), ("restart", 1), ("restart", None), ("resubmit", 2), ("start", 2)):
        refused = stack.send(sums.job, kind, version=version, restore=named)
        assert (refused.status_code, refused.json()["code"]) == (409, "state_unknown"), (kind, version)
        assert "accept_unknown_state" in refused.json()["remedy"]
    assert stack.job(sums.job)["state"] == "PAUSED"
    assert len(stack.items(sums.job, "attempts")) == 1, "nothing was started"
    fresh = stack.create(sums.text)
    assert stack.send(fresh, "start", restore=named).json()["code"] == "state_unknown"
    # Running, nothing is stopped for it.
    stack.do(sums.job, "start")
    alive = stack.alive(sums.job)
    assert stack.send(sums.job, "restart", restore=named).json()["code"] == "state_unknown"
    assert stack.alive(sums.job) == alive
    penstock(stack, "jobs", "restart", sums.job, "--restore", str(copy), "--accept-unknown-state", "--wait")
    assert stack.job(sums.job)["current_attempt"]["restored_from"] == f"file://{copy}"
    stack.do(sums.job, "kill")
