"""The timeline says who asked for a command and for an attempt."""

from __future__ import annotations

import pytest

from activities import contracts as c
from core.jobs.observations import EngineState
from core.jobs.policy import RestartPolicy
from core.jobs.restore import RestoreRequest
from tests.workflows.conftest import Cluster, point

AT_ONCE = RestartPolicy(initial_backoff=1, jitter=0)


def who(cluster: Cluster, kind: str) -> list[str | None]:
    return [e.data.get("requested_by") for r in cluster.records for e in r.events if e.kind == kind]


@pytest.mark.skips_time
async def test_of_commands_and_of_the_restart_policy(start):
    cluster = Cluster()
    life = await start(cluster, policy=AT_ONCE)
    await life.do("start", requested_by="somebody", reason="it is due")
    assert cluster.events("command")[0] == "start (command 1), requested by somebody: it is due"
    assert cluster.records[-1].job.snapshot["command"] is None
    cluster.points.append(point())
    await life.observe(EngineState.FAILED)
    await life.skip(60)
    await life.until(lambda: len(cluster.opened) == 2 and cluster.records[-1].job.state == "RUNNING")
    attempts = [by for by in who(cluster, "attempt") if by]
    assert attempts == ["somebody", "restart policy"]
    assert [by for by in who(cluster, "command") if by] == ["somebody"]


async def test_of_a_roll_back(start):
    cluster = Cluster()
    life = await start(cluster)
    await life.do("start", requested_by="somebody")
    cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
    newest = RestoreRequest(mode="newest")
    ended = await life.do("resubmit", version=2, restore=newest, rollback_within=60, requested_by="another")
    assert ended.error_code == "rolled_back"
    assert [by for by in who(cluster, "attempt") if by] == ["somebody", "another", "rollback"]
