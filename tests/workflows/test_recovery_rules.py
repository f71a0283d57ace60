"""What a job's workflow does where going on could lose state or run the job twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from activities import contracts as c
from core.jobs.commands import CommandRequest
from core.jobs.observations import EngineState, Lost, Observation, Trouble
from core.jobs.policy import RestartPolicy
from core.jobs.restore import Basis, RestoreKind, RestoreRequest
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import AttemptSnapshot, JobSnapshot
from core.jobs.states import CommandKind, JobState
from tests.workflows.conftest import Cluster, point

NOW = RestartPolicy(initial_backoff=0, jitter=0, max_restarts=20, restore_tries=2)
NEWEST = RestoreRequest(mode="newest")


async def running(start, cluster: Cluster, **more):
    life = await start(cluster, **more)
    assert (await life.do("start")).state == "SUCCEEDED"
    return life


def job(cluster: Cluster):
    return next((r.job for r in reversed(cluster.records) if r.job), None)


class TestBlocked:
    async def test_an_end_that_nobody_saw(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=NOW)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        cluster.diagnosis = lambda d: c.Diagnosis(lost=Lost.FORGOTTEN, points=cluster.points)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: job(cluster).state == "BLOCKED")
        blocked = (await life.snapshot()).blocked
        assert blocked.code == "end_not_seen"
        assert any("does not know" in line for line in blocked.evidence)
        assert {"kind": "restart", "restore": {"mode": "newest"}} in job(cluster).actions
        assert len(cluster.opened) == 1, "nothing was started by itself"
        assert (await life.do("restart", restore=NEWEST)).state == "SUCCEEDED"
        assert job(cluster).actions == []

    async def test_lost_by_a_cluster_that_lost_all_is_restarted(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=NOW)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        cluster.diagnosis = lambda d: c.Diagnosis(lost=Lost.CLUSTER)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: len(cluster.opened) == 2)
        assert cluster.opened[1].restore_path == cluster.points[0].path

    async def test_an_older_attempt_that_is_alive_is_not_joined_by_another(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        await life.do("pause")
        first = cluster.opened[0].flink_job_id
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.OCCUPIED, error="attempt 1 is alive", code="attempt_alive", other=1, other_id=first
        )
        assert (await life.do("start")).error_code == "attempt_alive"
        assert await life.state() == "BLOCKED"
        assert job(cluster).actions == [{"kind": "adopt", "flink_job_id": first}, {"kind": "kill"}]
        cluster.adopts = lambda a: c.Adoptable(
            number=1, version=1, observation=cluster.observation(1, EngineState.RUNNING)
        )
        assert (await life.do("adopt", flink_job_id=first)).state == "SUCCEEDED"
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.attempt.number, snapshot.attempt.ended) == ("RUNNING", 1, False)
        assert any(a.reopen for r in cluster.records for a in r.attempts)
        assert (await life.do("pause")).state == "SUCCEEDED"

    async def test_a_kill_ends_an_older_attempt_that_is_alive(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        await life.do("pause")
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.OCCUPIED, error="attempt 1 is alive", code="attempt_alive", other=1, other_id="f" * 32
        )
        await life.do("start")
        cluster.cancels_all = lambda _: c.Stopped(error="refused", code="cancel_unclear")
        assert (await life.do("kill")).error_code == "cancel_unclear"
        assert await life.state() == "BLOCKED"
        with pytest.raises(WorkflowUpdateFailedError):
            await life.handle.execute_update("retire")
        cluster.cancels_all = lambda _: c.Stopped(state=EngineState.CANCELED, sequence=cluster.tick())
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert cluster.asked.count("cancel_all") == 2
        assert await life.state() == "KILLED"

    @pytest.mark.parametrize(
        ("state", "diagnosis", "after"),
        [
            (EngineState.MISSING, c.Diagnosis(lost=Lost.FORGOTTEN), "BLOCKED"),
            (EngineState.FINISHED, c.Diagnosis(), "FINISHED"),
        ],
    )
    async def test_a_pause_that_comes_while_the_job_ends_otherwise_does_not_hide_it(
        self, start, state, diagnosis, after
    ):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        going_on = asyncio.Event()

        async def slow(_):
            await going_on.wait()
            return diagnosis

        cluster.diagnosis = slow
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        await life.observe(state)
        await life.until(lambda: "diagnose" in cluster.asked)
        number = await life.send("pause")
        going_on.set()
        ended = await life.until(lambda: (e := cluster.ended(number)) is not None and e.state != "RUNNING" and e)
        assert (ended.state, ended.error_code) == ("FAILED", "command_not_allowed")
        assert await life.state() == after

    async def test_a_pause_that_failed_is_not_remembered_for_ever(self, start):
        """Seen running since, the job is one that nobody is stopping: when its cluster loses it, it is restarted."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="refused", code="stop_unclear")
        assert (await life.do("pause")).error_code == "stop_unclear"
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 3_600_000
        await life.observe(EngineState.RUNNING)
        await life.until(lambda: any("the stop is forgotten" in m for m in cluster.events("attempt")))
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=cluster.points, savepoint="file:///late")
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "RESTARTING")

    @pytest.mark.skips_time
    async def test_a_job_whose_stop_failed_is_looked_at_again_although_nothing_tells_of_it(self, start):
        """It was RUNNING all the time, so the watch has nothing new to say: it is asked, a minute later."""
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="refused", code="stop_unclear")
        assert (await life.do("pause")).error_code == "stop_unclear"
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 3_600_000
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.RUNNING)
        await life.skip(90)
        await life.until(lambda: any("the stop is forgotten" in m for m in cluster.events("attempt")))
        assert cluster.asked.count("look") == 1

    @pytest.mark.skips_time
    async def test_a_job_whose_stop_failed_and_that_is_gone_is_waited_for_once(self, start):
        """To be certain takes as long as task managers need to miss their JobManager: the look has taken that."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="refused", code="stop_unclear")
        assert (await life.do("pause")).error_code == "stop_unclear"
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 3_600_000
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=cluster.points, savepoint="file:///late")
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        await life.skip(90)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "PAUSED")
        assert cluster.asked.count("look") == 1

    async def test_a_worker_whose_clock_was_set_ahead_has_not_seen_the_future(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 600_000
        await life.observe(EngineState.RECOVERING)
        await life.until(lambda: "its own restart strategy" in cluster.records[-1].job.reason)
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 1000  # the clock is right again
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=cluster.points)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "RESTARTING")

    async def test_a_stop_that_comes_to_its_end_late_is_a_pause(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="refused", code="stop_unclear")
        await life.do("pause")
        cluster.sequence = int((await life.now()).timestamp() * 1000) + 3_600_000
        await life.observe(EngineState.RUNNING)
        await life.until(lambda: any("the stop is forgotten" in m for m in cluster.events("attempt")))
        cluster.diagnosis = lambda _: c.Diagnosis(savepoint="file:///late")
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "PAUSED")

    @pytest.mark.parametrize(
        ("kind", "savepoint", "state"),
        [("pause", True, "PAUSED"), ("pause", False, "FINISHED"), ("restart", True, "RESTARTING")],
    )
    async def test_a_stop_that_was_told_to_have_failed_and_is_sent_late(self, start, kind, savepoint, state):
        """By a worker that had stood still just before it sent it: its savepoint tells that the end is ours."""
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(state=EngineState.RUNNING, sequence=cluster.tick(), error="it runs on")
        assert (await life.do(kind)).state == "FAILED"
        cluster.points = [late := point(1, RestoreKind.SAVEPOINT)]
        cluster.diagnosis = lambda _: c.Diagnosis(savepoint=late.path if savepoint else None, points=cluster.points)
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: job(cluster).state == state)

    @pytest.mark.parametrize(("kind", "state"), [("pause", "BLOCKED"), ("restart", "BLOCKED"), ("kill", "KILLED")])
    async def test_what_was_cancelled_for_a_successor_is_so_for_the_next_command_too(
        self, start, kind: str, state: str
    ):
        """The cluster is still away when it is sent, and says then that the attempt was cancelled."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.cancels = lambda _: c.Stopped(error="It cannot be told", code="cancel_unclear")
        assert (await life.do("restart", restore={"mode": "none"})).error_code == "cancel_unclear"
        cluster.stops = cluster.cancels = lambda _: c.Stopped(state=EngineState.CANCELED, sequence=cluster.tick())
        ended = await life.do(kind)
        assert ended.state == ("SUCCEEDED" if kind == "kill" else "FAILED")
        assert job(cluster).state == state

    async def test_a_pause_behind_a_cancel_that_did_not_arrive_is_a_pause(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.cancels = lambda _: c.Stopped(error="It cannot be told", code="cancel_unclear")
        assert (await life.do("restart", restore={"mode": "none"})).error_code == "cancel_unclear"
        assert (await life.do("pause")).state == "SUCCEEDED"
        assert job(cluster).state == "PAUSED"

    async def test_a_named_older_point_alarms_nobody(self, start):
        """Newer checkpoints have gone: Flink has replaced them, and nobody goes by which is the newest."""
        cluster = Cluster()
        cluster.points = [point(1, n=3), point(1, n=1)]
        life = await running(start, cluster)
        await life.do("pause")
        cluster.gathers = lambda _: c.Gathered(points=cluster.points, vanished=[point(1, n=2)])
        named = RestoreRequest(mode="point", point=cluster.points[1].path)
        assert (await life.do("start", restore=named)).state == "SUCCEEDED"
        assert cluster.events("alert") == []
        await life.do("pause")
        cluster.gathers = lambda _: c.Gathered(points=[point(2, n=1)], vanished=[point(2, n=2)])
        assert (await life.do("start")).state == "SUCCEEDED"
        assert len(cluster.events("alert")) == 1

    @pytest.mark.parametrize("kind", ["restart", "resubmit"])
    async def test_a_stop_for_a_successor_that_comes_to_its_end_late_is_no_pause(self, start, kind: str):
        """Nobody asked for one: what ran goes on from the savepoint, by the restart policy."""
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.stops = lambda _: c.Stopped(error="no answer", code="stop_unclear")
        version = {"version": 2} if kind == "resubmit" else {}
        assert (await life.do(kind, restore=NEWEST, **version)).error_code == "stop_unclear"
        cluster.points = [late := point(1, RestoreKind.SAVEPOINT)]
        cluster.diagnosis = lambda _: c.Diagnosis(savepoint=late.path, points=cluster.points)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.FINISHED)
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: len(cluster.opened) == 2)
        assert (cluster.opened[1].restore_path, cluster.opened[1].version) == (late.path, 1)
        assert any(f"it was stopped for {kind} (command 2)" in m for m in cluster.events("restart"))

    async def test_an_end_that_cannot_be_explained_starts_nothing_and_ends_the_command(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.diagnosis = lambda _: c.Diagnosis(undecided="connection refused", points=cluster.points)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: "cannot be asked why" in cluster.records[-1].job.reason)
        assert not (await life.snapshot()).attempt.ended
        assert len(cluster.opened) == 1
        # The next look tells it again, and then it can be told.
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=cluster.points)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: cluster.records[-1].job.state == "RESTARTING")

    async def test_a_pause_that_has_kept_nothing_has_not_succeeded(self, start):
        """The JobManager dies before the first checkpoint, while the stop is under way."""
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda a: c.Stopped(state=EngineState.MISSING, sequence=cluster.sequence)
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER)
        ended = await life.do("pause")
        assert (ended.state, "starting empty would lose" in ended.error) == ("FAILED", True)
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.blocked.code) == ("BLOCKED", "no_restore_point")

    async def test_a_pause_whose_job_is_lost_has_its_newest_checkpoint(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda a: c.Stopped(state=EngineState.MISSING, sequence=cluster.sequence)
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=[point(1)])
        assert (await life.do("pause")).state == "SUCCEEDED"
        assert await life.state() == "PAUSED"

    async def test_a_savepoint_that_nobody_can_tell_about(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="no answer", code="stop_unclear")
        await life.do("pause")
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        cluster.diagnosis = lambda d: c.Diagnosis(lost=Lost.CLUSTER, unread="the disk is away")
        await life.observe(EngineState.MISSING)
        await life.until(lambda: job(cluster).state == "BLOCKED")
        assert (await life.snapshot()).blocked.code == "savepoint_unknown"

    async def test_what_somebody_stopped_on_the_cluster_says_so_and_is_not_started_again(self, start):
        """Found by an attack: it was told to have come to its end. A restart had failed to stop it before."""
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.stops = lambda _: c.Stopped(state=EngineState.RUNNING, sequence=cluster.tick(), error="it runs on")
        assert (await life.do("restart")).state == "FAILED"
        cluster.points = [point(1, RestoreKind.SAVEPOINT)]
        taken = cluster.points[0].path
        cluster.diagnosis = lambda _: c.Diagnosis(stopped_with=taken, points=cluster.points)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.FINISHED)
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: job(cluster).state == "FINISHED")
        assert f"stopped on the cluster with savepoint {taken}, not by Penstock" in job(cluster).reason
        assert len(cluster.opened) == 1
        assert (await life.do("start")).error_code == "restore_undecided", "it may have been drained"
        assert (await life.do("start", restore=NEWEST)).state == "SUCCEEDED"
        assert cluster.opened[-1].restore_path == taken

    async def test_state_that_the_program_has_no_place_for_is_not_tried_again(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        await life.do("pause")
        cluster.runs = lambda a: cluster.seen(a.number, EngineState.FAILED)
        cluster.diagnosis = lambda d: c.Diagnosis(
            cause="Cannot map checkpoint/savepoint state", trouble=Trouble.UNMAPPABLE, untouched=True
        )
        ended = await life.do("resubmit", version=2, restore=NEWEST)
        assert ended.error_code == "state_does_not_map"
        assert await life.state() == "BLOCKED"
        assert job(cluster).actions[0] == {"kind": "resubmit", "version": 1, "restore": {"mode": "newest"}}
        assert len(cluster.opened) == 2
        # Nor does a command that fails for the same take the way back away.
        cluster.diagnosis = lambda d: c.Diagnosis(
            cause="Cannot map state", trouble=Trouble.UNMAPPABLE, untouched=True, points=cluster.points
        )
        forced = RestoreRequest(mode="newest", allow_non_restored_state=True, accept_changed_state=True)
        assert (await life.do("restart", restore=forced)).error_code == "state_does_not_map"
        made = {"mode": "point", "point": cluster.points[0].path}
        assert job(cluster).actions[0] == {"kind": "resubmit", "version": 1, "restore": made}

    async def test_nor_state_that_is_divided_for_another_maximum_parallelism(self, start):
        """Found by an attack: what was offered was to give state up, which changes nothing about it."""
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        await life.do("pause")
        cluster.runs = lambda a: cluster.seen(a.number, EngineState.FAILED)
        cause = "Max parallelism mismatch between checkpoint/savepoint state and new program."
        cluster.diagnosis = lambda d: c.Diagnosis(
            cause=cause, trouble=Trouble.UNMAPPABLE, untouched=True, points=cluster.points
        )
        assert (await life.do("start")).error_code == "state_does_not_map"
        assert "--unset config.pipeline.max-parallelism" in job(cluster).reason
        assert [a["restore"] for a in job(cluster).actions] == [{"mode": "newest"}, {"mode": "none"}]
        cluster.runs = lambda a: cluster.seen(a.number, EngineState.RUNNING)
        assert (await life.do("restart", restore=NEWEST)).state == "SUCCEEDED"

    @pytest.mark.parametrize("end", [EngineState.CANCELED, EngineState.FAILED, EngineState.FINISHED])
    async def test_a_cancel_for_a_successor_kills_no_job(self, start, end: EngineState):
        """The cluster went away behind the cancel, for longer than the command waits."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        cluster.cancels = lambda _: c.Stopped(error="It cannot be told", code="cancel_unclear")
        assert (await life.do("restart", restore={"mode": "none"})).error_code == "cancel_unclear"
        cluster.looks = lambda a: cluster.seen(a.number, end)
        await life.observe(end)
        after = {EngineState.CANCELED: "BLOCKED", EngineState.FAILED: "RESTARTING", EngineState.FINISHED: "FINISHED"}[
            end
        ]
        await life.until(lambda: job(cluster).state == after)
        if end is EngineState.CANCELED:
            assert (await life.snapshot()).blocked.code == "cancelled_for_command"
            assert any("cancelled for restart (command 2)" in m for m in cluster.events("attempt"))
            assert (await life.do("restart", restore=NEWEST)).state == "SUCCEEDED"
            assert cluster.opened[-1].restore_path == cluster.points[0].path

    @pytest.mark.skips_time
    async def test_a_cancel_that_did_not_arrive_explains_no_later_end(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=NOW)
        cluster.cancels = lambda _: c.Stopped(error="It cannot be told", code="cancel_unclear")
        await life.do("kill")
        await life.skip(1)
        cluster.sequence = 4_000_000_000_000  # later than the kill
        await life.observe(EngineState.RUNNING)
        await life.until(lambda: any("did not arrive" in m for m in cluster.events("attempt")))
        await life.observe(EngineState.FAILED)
        await life.until(lambda: len(cluster.opened) == 2)


class TestRestoreThatFails:
    def fails_from(self, cluster: Cluster, path: str) -> None:
        restored = {}
        cluster.submitted = lambda a: (
            restored.update({a.number: cluster.opened[-1].restore_path}) or c.Submitted(state=c.SubmitState.ACCEPTED)
        )

        def runs(a):
            bad = restored.get(a.number) == path
            seen = cluster.seen(a.number, EngineState.RECOVERING if bad else EngineState.RUNNING)
            return seen.model_copy(update={"trouble": Trouble.UNREADABLE, "why": "EOF"}) if bad else seen

        cluster.runs = runs
        cluster.diagnosis = lambda d: c.Diagnosis(cause="boom", points=cluster.points)

    async def test_it_falls_back_to_the_point_before_and_says_so(self, start):
        cluster = Cluster()
        cluster.points = [point(1, n=1), point(1, n=2)]
        newest, before = cluster.points[1].path, cluster.points[0].path
        life = await running(start, cluster, policy=NOW.model_copy(update={"fall_back": True}))
        self.fails_from(cluster, newest)
        await life.observe(EngineState.FAILED)
        await life.until(lambda: len(cluster.opened) == 4)
        assert [o.restore_path for o in cluster.opened[1:]] == [newest, newest, before]
        assert "could not be restored" in cluster.opened[3].restore_why
        assert any("going back" in m for m in cluster.events("restart"))
        await life.until(lambda: job(cluster).state == "RUNNING")

    async def test_without_leave_to_fall_back_it_is_parked(self, start):
        cluster = Cluster()
        cluster.points = [point(1, n=1), point(1, n=2)]
        life = await running(start, cluster, policy=NOW)
        self.fails_from(cluster, cluster.points[1].path)
        await life.observe(EngineState.FAILED)
        await life.until(lambda: job(cluster).state == "BLOCKED")
        assert len(cluster.opened) == 3
        assert job(cluster).actions[0]["restore"] == {"mode": "point", "point": cluster.points[0].id}

    async def test_one_that_has_run_before_its_answer_came_is_restarted_from_its_own_checkpoint(self, start):
        cluster = Cluster()
        life = await start(cluster, policy=NOW)
        cluster.submitted = lambda a: c.Submitted(
            state=c.SubmitState.RAN if a.number == 1 else c.SubmitState.ACCEPTED,
            error="it had run",
            code="attempt_lost",
        )
        cluster.diagnosis = lambda d: c.Diagnosis(lost=Lost.CLUSTER if d.leader == "lost" else Lost.FORGOTTEN)
        cluster.points = [point(1)]
        assert (await life.do("start")).error_code == "attempt_failed"
        await life.until(lambda: len(cluster.opened) == 2)
        assert cluster.opened[1].restore_path == cluster.points[0].path


class TestBetweenTwoAttempts:
    """Found by the simulation: Temporal was wiped after a resubmit had ended the attempt, and before the next one was made."""

    def left(self, kind: str) -> dict:
        attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1, ended=True)
        command = CommandRequest(id="lost", number=1, kind=CommandKind(kind))
        return {"state": JobState.RUNNING, "attempt": attempt, "attempts": 1, "command": command, "basis": Basis.NEWEST}

    async def test_the_restart_policy_goes_on(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await start(cluster, policy=NOW, **self.left("resubmit"))
        await life.until(lambda: cluster.opened)
        assert (cluster.opened[0].number, cluster.opened[0].restore_path) == (2, cluster.points[0].path)
        ended = [change for record in cluster.records for change in record.commands if change.id == "lost"]
        assert [(e.state, e.error_code) for e in ended] == [("FAILED", "workflow_lost")]

    async def test_what_was_set_aside_for_another_state_is_not_taken_up(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        left = self.left("restart")
        left["command"] = left["command"].model_copy(update={"restore": RestoreRequest(mode="none")})
        life = await start(cluster, policy=NOW, **left)
        await life.until(lambda: job(cluster) and job(cluster).state == "BLOCKED")
        assert cluster.opened == []
        assert "was cancelled for restart (command 1)" in job(cluster).reason

    async def test_what_was_to_be_killed_is_not_started_again(self, start):
        cluster = Cluster()
        life = await start(cluster, policy=NOW, **self.left("kill"))
        await life.until(lambda: job(cluster) and job(cluster).state == "KILLED")
        assert cluster.opened == []


class TestAFirstStartWithoutAnAnswer:
    async def blocked(self, start, cluster: Cluster):
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.UNCLEAR, error="no answer", code="submission_unclear"
        )
        life = await start(cluster, policy=NOW)
        await life.do("start")
        assert job(cluster).state == "BLOCKED"
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        return life

    def it_ran(self, cluster: Cluster, state: EngineState) -> None:
        cluster.fences = lambda a: c.Fenced(observation=cluster.observation(a.number, state))
        cluster.points = [point(1)]

    async def test_what_it_has_come_to_is_gone_on_from(self, start):
        cluster = Cluster()
        life = await self.blocked(start, cluster)
        self.it_ran(cluster, EngineState.FAILED)
        assert (await life.do("restart")).state == "SUCCEEDED"
        assert cluster.opened[1].restore_path == cluster.points[0].path

    @pytest.mark.parametrize(
        ("state", "command"),
        [(EngineState.CANCELED, {}), (EngineState.FAILED, {"version": 2})],
    )
    async def test_where_a_person_has_to_say_what_it_is_worth_he_is_asked(self, start, state, command):
        cluster = Cluster()
        life = await self.blocked(start, cluster)
        self.it_ran(cluster, state)
        ended = await life.do("start", **command)
        assert (ended.state, ended.error_code) == ("FAILED", "restore_undecided")
        assert (job(cluster).state, len(cluster.opened)) == ("DEPLOY_FAILED", 1)
        assert (await life.do("start", restore=NEWEST, **command)).state == "SUCCEEDED"

    @pytest.mark.parametrize("restore", [None, "newest", "none", "point"])
    @pytest.mark.parametrize("how", ["fence", "look"])
    async def test_one_that_has_come_to_its_end_is_not_started_again_unless_its_state_is_named(
        self, start, how: str, restore: str | None
    ):
        """All that it has written since its restore point would be written twice."""
        cluster = Cluster()
        if how == "fence":
            life = await self.blocked(start, cluster)
            self.it_ran(cluster, EngineState.FINISHED)
        else:
            attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1)
            lost = {"state": JobState.BLOCKED, "attempt": attempt, "attempts": 1, "basis": Basis.NEWEST}
            life = await start(cluster, policy=NOW, **lost)
            seen = Observation(attempt=1, flink_job_id="a" * 32, sequence=cluster.tick(), state=EngineState.FINISHED)
            cluster.looks, cluster.points = lambda _: c.Seen(observation=seen), [point(1)]
        named = {"mode": restore, "point": point(1).path if restore == "point" else None}
        before = len(cluster.opened)
        ended = await life.do("restart", restore=RestoreRequest(**named) if restore else None)
        if restore in ("none", "point"):
            assert (ended.state, job(cluster).state, len(cluster.opened)) == ("SUCCEEDED", "RUNNING", before + 1)
            return
        assert (ended.state, ended.error_code) == ("FAILED", "ended_otherwise")
        assert (job(cluster).state, len(cluster.opened)) == ("FINISHED", before)

    async def test_one_that_nobody_saw_end_is_started_again_by_who_was_told_so(self, start):
        """With high availability a job that is forgotten was not lost: it has ended, and may have finished."""
        cluster = Cluster()
        life = await self.blocked(start, cluster)
        cluster.fences = lambda _: c.Fenced(fenced=True, ran=True)
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.FORGOTTEN, points=cluster.points)
        cluster.points = [point(1)]
        ended = await life.do("restart", restore=NEWEST)
        assert (ended.error_code, job(cluster).state, len(cluster.opened)) == ("end_not_seen", "BLOCKED", 1)
        assert (await life.do("restart", restore=NEWEST)).state == "SUCCEEDED"
        assert cluster.opened[1].restore_path == cluster.points[0].path

    async def test_nothing_is_started_while_it_cannot_be_told_why_it_is_gone(self, start):
        cluster = Cluster()
        life = await self.blocked(start, cluster)
        cluster.fences = lambda _: c.Fenced(fenced=True, ran=True)
        cluster.diagnosis = lambda _: c.Diagnosis(undecided="connection refused")
        cluster.points = [point(1)]
        ended = await life.do("restart", restore=NEWEST)
        assert (ended.error_code, job(cluster).state, len(cluster.opened)) == ("cluster_unreachable", "BLOCKED", 1)
        assert job(cluster).actions, "what can be done is still said"

    @pytest.mark.parametrize("kind", ["kill", "restart"])
    async def test_a_kill_does_not_wait_for_files_that_cannot_be_read(self, start, kind: str):
        cluster = Cluster()
        life = await self.blocked(start, cluster)
        cluster.fences = lambda _: c.Fenced(fenced=True, unknown="the volume is away")
        ended = await life.do(kind)
        expected = ("SUCCEEDED", "KILLED") if kind == "kill" else ("FAILED", "BLOCKED")
        assert (ended.state, job(cluster).state) == expected
        assert kind == "kill" or "the volume is away" in ended.error


class TestCommandsWhileItWaits:
    """The job waits for a restart by the policy."""

    LATE = RestartPolicy(initial_backoff=3600, max_backoff=3600, jitter=0, max_restarts=20)

    async def waiting(self, start, cluster: Cluster, **more):
        life = await running(start, cluster, policy=self.LATE, **more)
        await life.observe(EngineState.FAILED)
        await life.until(lambda: job(cluster).state == "RESTARTING")
        return life

    async def test_what_only_a_person_can_know_is_not_waited_for(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.gathers = lambda _: c.Gathered(error="perhaps newer", code=c.POINTS_UNDECIDED, points=[point(1)])
        await life.observe(EngineState.FAILED)
        await life.until(lambda: job(cluster).state == "BLOCKED")
        assert (job(cluster).reason, len(cluster.opened)) == ("perhaps newer", 1)
        assert job(cluster).actions[0]["restore"] == {"mode": "point", "point": point(1).id}

    @pytest.mark.skips_time
    @pytest.mark.parametrize("policy", ["on", "off"])
    async def test_a_persons_restart_that_finds_no_cluster_is_put_off(self, start, policy: str):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster)
        if policy == "off":
            await life.handle.signal("policy", self.LATE.model_copy(update={"enabled": False}))
            await life.until(lambda: job(cluster).state == "FAILED")
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.UNREACHABLE, error="refused", code="submission_unreachable"
        )
        ended = await life.do("restart")
        assert (ended.state, ended.error_code) == ("FAILED", "submission_unreachable")
        if policy == "off":
            assert job(cluster).state == "DEPLOY_FAILED"
            return
        assert (job(cluster).state, "tries again" in ended.error) == ("RESTARTING", True)
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        await life.skip(70)
        await life.until(lambda: job(cluster).state == "RUNNING")

    @pytest.mark.parametrize("version", [1, 2])
    async def test_a_resubmit_is_not_put_off(self, start, version: int):
        """It may bring another program, also under the same version."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster)
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.UNREACHABLE, error="refused", code="submission_unreachable"
        )
        await life.do("resubmit", version=version, restore=NEWEST)
        assert job(cluster).state == "DEPLOY_FAILED"

    @pytest.mark.skips_time
    async def test_a_restart_that_is_planned_stays_so_when_a_resubmit_fails_before_it_has_begun_an_attempt(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster)
        cluster.gathers = lambda _: c.Gathered(error="the volume is away", code="points_unreadable")
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.error_code, job(cluster).state) == ("no_way_back", "RESTARTING")
        cluster.gathers = lambda _: c.Gathered(points=cluster.points)
        await life.skip(3700)
        await life.until(lambda: job(cluster).state == "RUNNING")
        assert [opened.version for opened in cluster.opened] == [1, 1]

    @pytest.mark.skips_time
    async def test_nor_does_a_build_that_fails_take_it_away(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster, type_="jar")
        cluster.builds = lambda _: c.Built(error="Git is away", code="build_failed")
        ended = await life.do("resubmit", version=2, restore=NEWEST)
        assert (ended.error_code, job(cluster).state) == ("build_failed", "RESTARTING")
        await life.skip(3700)
        await life.until(lambda: job(cluster).state == "RUNNING")

    async def test_nor_does_a_point_that_is_not_there(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster)
        cluster.gathers = lambda _: c.Gathered(error="/typo is no restore point", code="restore_point_missing")
        ended = await life.do("restart", restore=RestoreRequest(mode="point", point="/typo"))
        assert (ended.error_code, job(cluster).state) == ("restore_point_missing", "RESTARTING")
        assert (await life.snapshot()).restart_at is not None

    async def test_nor_does_a_kill_that_fails(self, start):
        """Of a record of before, which says that others may be alive."""
        cluster = Cluster()
        attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1, ended=True)
        left = {"state": JobState.RESTARTING, "attempt": attempt, "attempts": 1, "basis": Basis.NEWEST}
        at = datetime.now(UTC) + timedelta(days=1)
        life = await start(cluster, policy=self.LATE, others_alive=True, restart_at=at, **left)
        cluster.cancels_all = lambda _: c.Stopped(error="away", code="cancel_unclear")
        assert (await life.do("kill")).error_code == "cancel_unclear"
        after = await life.snapshot()
        assert (after.state, after.restart_at) == ("RESTARTING", at)

    async def test_after_a_start_that_was_taken_no_other_is_asked_for(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=self.LATE)
        await life.do("pause")
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.OCCUPIED, error="alive", code="attempt_alive", other=1, other_id="f" * 32
        )
        await life.do("start")
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        assert (await life.do("restart", restore=NEWEST)).state == "SUCCEEDED"
        assert not (await life.snapshot()).others_alive, "it was sent where none was alive"
        await life.observe(EngineState.FAILED)
        await life.until(lambda: job(cluster).state == "RESTARTING")
        cluster.cancels_all = lambda _: c.Stopped(error="away", code="cancel_unclear")
        assert (await life.do("kill")).state == "SUCCEEDED", "nothing of it can run"

    async def test_a_record_that_does_not_say_when_is_not_waited_for(self, start):
        """Workflows of before could leave one, and were begun from it."""
        cluster = Cluster()
        cluster.points = [point(1)]
        attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1, ended=True)
        left = {"state": JobState.RESTARTING, "attempt": attempt, "attempts": 1, "basis": Basis.NEWEST}
        life = await start(cluster, policy=NOW, **left)
        await life.until(lambda: job(cluster) and job(cluster).state == "RUNNING")

    async def test_a_policy_that_was_off_for_a_moment_is_no_failure(self, start):
        """It counts what the policy is when the job comes to look at it; and the time of the restart stays."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await self.waiting(start, cluster)
        held = asyncio.Event()

        async def gathers(_: c.GatherIn) -> c.Gathered:
            await held.wait()
            return c.Gathered(error="the volume is away", code="points_unreadable")

        planned = (await life.snapshot()).restart_at
        cluster.gathers = gathers
        number = await life.send("resubmit", version=2, restore=NEWEST, rollback_within=60)
        await life.handle.signal("policy", self.LATE.model_copy(update={"enabled": False}))
        await life.handle.signal("policy", self.LATE)
        held.set()
        await life.until(lambda: (e := cluster.ended(number)) and e.state == "FAILED")
        after = await life.snapshot()
        assert (after.state, after.restart_at, len(cluster.opened)) == ("RESTARTING", planned, 1)

    @pytest.mark.parametrize("of", ["this state", "state given up"])
    async def test_a_pause_keeps_what_a_start_goes_on_from(self, start, of: str):
        """Points of attempts before a new begin are no state of this one."""
        cluster = Cluster()
        life = await running(start, cluster, policy=self.LATE)
        await life.do("kill")
        await life.do("start", restore=RestoreRequest(mode="none"))
        await life.observe(EngineState.FAILED)
        await life.until(lambda: job(cluster).state == "RESTARTING")
        cluster.points = [point(2 if of == "this state" else 1)]
        ended = await life.do("pause")
        expected = ("SUCCEEDED", "PAUSED") if of == "this state" else ("FAILED", "RESTARTING")
        assert (ended.state, job(cluster).state) == expected


class TestRollback:
    async def test_a_version_that_is_healthy_stays(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert ended.state == "SUCCEEDED"
        assert "prove" in cluster.asked
        assert (await life.snapshot()).version == 2

    @pytest.mark.parametrize("restore", [NEWEST, RestoreRequest(mode="none")])
    async def test_one_that_is_not_goes_back_to_version_and_state(self, start, restore):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.proves = lambda a: c.Proven(healthy=False, why="no checkpoint has completed")
        ended = await life.do("resubmit", version=2, restore=restore, rollback_within=60)
        assert ended.error_code == "rolled_back"
        assert "no checkpoint has completed" in ended.error
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.version) == ("RUNNING", 1)
        savepoint = next(p for p in cluster.points if p.kind == "savepoint")
        assert [o.version for o in cluster.opened] == [1, 2, 1]
        assert cluster.opened[2].restore_path == savepoint.path
        assert cluster.asked.count("cancel") == 1, "the unhealthy one was ended first"

    @pytest.mark.parametrize(
        ("seen", "lost", "ends", "code", "job_is"),
        [
            (EngineState.FINISHED, None, "SUCCEEDED", None, "FINISHED"),  # it has done its work
            (EngineState.CANCELED, None, "FAILED", "ended_otherwise", "KILLED"),  # by a person, on the cluster
            (EngineState.MISSING, Lost.FORGOTTEN, "FAILED", "end_not_seen", "BLOCKED"),  # nobody saw how
        ],
    )
    @pytest.mark.parametrize("restore", [NEWEST, RestoreRequest(mode="none")])
    async def test_one_that_ends_by_itself_meanwhile_starts_nothing(
        self, start, seen, lost, ends, code, job_is, restore
    ):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.diagnosis = lambda _: c.Diagnosis(lost=lost, points=cluster.points)
        cluster.proves = lambda a: c.Proven(
            healthy=seen is EngineState.FINISHED, why=seen.value, observation=cluster.observation(a.number, seen)
        )
        ended = await life.do("resubmit", version=2, restore=restore, rollback_within=60)
        assert (ended.state, ended.error_code) == (ends, code)
        assert await life.state() == job_is
        assert [o.version for o in cluster.opened] == [1, 2]

    @pytest.mark.skips_time
    @pytest.mark.parametrize("version", [1, 2])
    async def test_what_ran_is_a_commit_and_not_a_branch(self, start, version):
        """The branch has gone on: the attempt before ran another commit of it."""
        cluster = Cluster()
        commits = iter(["a" * 40, "b" * 40, "c" * 40])
        built: list[c.BuildIn] = []

        def build(wanted: c.BuildIn) -> c.Built:
            if wanted.pinned is not None:
                return c.Built(key=wanted.pinned, commit=wanted.pinned.removeprefix("key-") * 40)
            built.append(wanted)
            commit = next(commits)
            return c.Built(key="key-" + commit[0], commit=commit)

        cluster.builds = build
        life = await running(start, cluster, type_="jar")
        cluster.proves = lambda a: c.Proven(healthy=False, why="no checkpoint has completed")
        ended = await life.do("resubmit", version=version, restore=NEWEST, rollback_within=60)
        assert ended.error_code == "rolled_back"
        assert f"Version {version} (commit bbbbbbb) was rolled back to version 1 (commit aaaaaaa)" in ended.error
        assert [(o.version, o.commit, o.build_key) for o in cluster.opened] == [
            (1, "a" * 40, "key-a"),
            (version, "b" * 40, "key-b"),
            (1, "a" * 40, "key-a"),
        ]
        assert len(built) == 2, "what ran is not built anew"
        assert (await life.snapshot()).attempt.commit == "a" * 40
        assert any("commit aaaaaaa" in line for line in cluster.events("attempt"))
        # Whoever starts it again starts that: a person, and the policy.
        cluster.diagnosis = lambda _: c.Diagnosis(cause="boom")
        await life.do("restart")
        assert cluster.opened[-1].commit == "a" * 40
        await life.observe(EngineState.FAILED)
        await life.skip(3600)
        await life.until(lambda: len(cluster.opened) == 5)
        assert cluster.opened[-1].commit == "a" * 40

    async def test_a_job_that_does_not_run_goes_back_to_what_made_its_state(self, start):
        """Its last attempt was never taken; the one before made the restore point."""
        cluster = Cluster()
        built: list[c.BuildIn] = []
        cluster.builds = lambda wanted: built.append(wanted) or c.Built(key=f"k{len(built)}", commit=f"c{len(built)}")
        life = await running(start, cluster, type_="jar")
        await life.do("pause")
        no = c.Submitted(state=c.SubmitState.REJECTED, error="no", code="rejected")
        yes = c.Submitted(state=c.SubmitState.ACCEPTED)
        cluster.submitted = lambda a: yes if a.number == 4 else no
        assert (await life.do("resubmit", version=2, restore=NEWEST)).error_code == "rejected"
        ended = await life.do("resubmit", version=3, restore=NEWEST, rollback_within=60)
        assert ended.error_code == "rolled_back"
        assert [o.version for o in cluster.opened] == [1, 2, 3, 1]
        assert (built[-1].version, built[-1].like) == (1, 1)

    @pytest.mark.skips_time
    async def test_a_sql_version_runs_the_plan_of_the_attempt_before(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        assert cluster.opened[0].like is None
        cluster.proves = lambda a: c.Proven(healthy=False, why="no checkpoint has completed")
        await life.do("resubmit", version=1, restore=NEWEST, rollback_within=60)
        assert [o.like for o in cluster.opened] == [None, None, 1], "a resubmit compiles it anew"
        await life.do("restart")
        assert cluster.opened[3].like == 3
        await life.observe(EngineState.FAILED)
        await life.skip(3600)
        await life.until(lambda: len(cluster.opened) == 5)
        assert (cluster.opened[4].like, cluster.opened[4].automatic) == (4, True)
        assert not any(o.automatic for o in cluster.opened[:4])
        await life.do("resubmit", version=2, restore=NEWEST)
        assert cluster.opened[5].like is None

    async def test_one_that_is_refused_goes_back_too(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.submitted = lambda a: (
            c.Submitted(state=c.SubmitState.REJECTED, error="bad SQL", code="rejected")
            if a.number == 2
            else c.Submitted(state=c.SubmitState.ACCEPTED)
        )
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert ended.error_code == "rolled_back"
        assert "bad SQL" in ended.error
        assert await life.state() == "RUNNING"

    async def test_without_being_asked_for_nothing_goes_back(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.submitted = lambda a: c.Submitted(state=c.SubmitState.REJECTED, error="bad SQL", code="rejected")
        assert (await life.do("resubmit", version=2, restore=NEWEST)).error_code == "rejected"
        assert await life.state() == "DEPLOY_FAILED"

    async def test_with_nothing_to_go_back_to_it_is_not_begun(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        await life.do("kill")
        ended = await life.do("resubmit", version=2, restore=RestoreRequest(mode="none"), rollback_within=60)
        assert ended.error_code == "no_way_back"
        assert len(cluster.opened) == 1


LEFT = {
    "state",
    "version",
    "attempt",
    "attempts",
    "basis",
    "lineage",
    "command",
    "ended_for",
    "goes_back",
    "stop",
    "reason",
}
"""What a workflow that was lost has left of its knowledge that is of interest here."""


class TestRollbackAtItsEdges:
    """`rollback_within` where the new version, the stop before it or the cluster does something of its own."""

    async def test_a_version_that_ends_as_it_is_rolled_back_has_done_its_work(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        cluster.cancels = lambda _: c.Stopped(state=EngineState.FINISHED, sequence=cluster.tick())
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.state, job(cluster).state) == ("SUCCEEDED", "FINISHED")
        assert [opened.version for opened in cluster.opened] == [1, 2]
        assert any("is not rolled back: it has come to its end" in m for m in cluster.events("command"))

    async def test_it_goes_back_also_to_the_savepoint_of_a_stop_before(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="away", code="stop_unclear")
        await life.do("pause")
        saved = point(1, RestoreKind.SAVEPOINT, 58)
        cluster.points = [saved]
        cluster.stops = lambda _: c.Stopped(state=EngineState.FINISHED, sequence=cluster.tick())
        cluster.diagnosis = lambda d: c.Diagnosis(
            savepoint=saved.path if d.earlier_directories else None, points=[saved]
        )
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.state, ended.error_code) == ("FAILED", "rolled_back")
        assert [(opened.version, opened.restore_path) for opened in cluster.opened[1:]] == [
            (2, saved.path),
            (1, saved.path),
        ]

    @pytest.mark.skips_time
    async def test_what_ran_before_is_kept_alive_where_it_cannot_be_sent(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        away = c.Submitted(state=c.SubmitState.UNREACHABLE, error="refused", code="submission_unreachable")
        cluster.submitted = lambda a: away if a.number == 3 else c.Submitted(state=c.SubmitState.ACCEPTED)
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.error_code, job(cluster).state) == ("submission_unreachable", "RESTARTING")
        assert "version 2 goes back to version 1" in ended.error.lower()
        await life.skip(70)
        await life.until(lambda: job(cluster).state == "RUNNING")
        saved = point(1, RestoreKind.SAVEPOINT, 59).path
        assert [(o.version, o.restore_path) for o in cluster.opened] == [(1, None), (2, saved), (1, saved), (1, saved)]

    @pytest.mark.skips_time
    async def test_it_waits_for_files_that_cannot_be_read(self, start):
        """Nobody but the command knows where the job is to go."""
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        cluster.gathers = lambda asked: (
            c.Gathered(error="the volume is away", code="points_unreadable")
            if asked.named and cluster.asked.count("gather") < 4
            else c.Gathered(points=cluster.points)
        )
        number = await life.send("resubmit", version=2, restore=NEWEST, rollback_within=60)
        await life.until(lambda: job(cluster).state == "DEPLOY_FAILED")
        assert "goes back to version 1" in job(cluster).reason, "should the workflow be lost"
        await life.skip(200)
        await life.until(lambda: (e := cluster.ended(number)) and e.state != "RUNNING")
        assert (cluster.ended(number).error_code, job(cluster).state) == ("rolled_back", "RUNNING")
        assert [opened.version for opened in cluster.opened] == [1, 2, 1]

    @pytest.mark.parametrize("state", ["RUNNING", "DEPLOYING"])
    async def test_one_whose_workflow_was_lost_says_where_it_was_to_go_and_the_bad_version_stays_down(
        self, start, state: str
    ):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        number = await life.send("resubmit", version=2, restore=NEWEST, rollback_within=60)
        await life.until(lambda: (e := cluster.ended(number)) and e.state == "FAILED")
        of_cancel = next(r for r in cluster.records if any(a.number == 2 and a.state == "CANCELED" for a in r.attempts))
        left = JobSnapshot.model_validate({**of_cancel.job.snapshot, "state": state, "check_interval": 1e7})
        assert left.attempt.ended

        cluster.records.clear(), cluster.opened.clear()
        successor = await start(cluster, policy=NOW, **{k: getattr(left, k) for k in LEFT})
        await successor.until(lambda: job(cluster) and job(cluster).state == "DEPLOY_FAILED")
        assert cluster.opened == []
        saved = point(1, RestoreKind.SAVEPOINT, 59).path
        assert f"Version 2 goes back to version 1, restored from {saved}" in job(cluster).reason
        successor._number = number
        back = RestoreRequest(mode="point", point=saved)
        assert (await successor.do("resubmit", version=1, restore=back)).state == "SUCCEEDED"
        assert [(o.version, o.restore_path) for o in cluster.opened] == [(1, saved)]

    async def test_nor_does_it_come_up_where_its_attempt_had_failed(self, start):
        """The last record says RESTARTING, and that nothing is planned."""
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.runs = lambda a: cluster.seen(a.number, EngineState.FAILED if a.number == 2 else EngineState.RUNNING)
        number = await life.send("resubmit", version=2, restore=NEWEST, rollback_within=60)
        await life.until(lambda: (e := cluster.ended(number)) and e.state == "FAILED")
        known = next(r.job.snapshot for r in cluster.records if r.job.snapshot.get("goes_back"))
        left = JobSnapshot.model_validate({**known, "check_interval": 1e7})
        assert left.restart_at is None
        cluster.records.clear(), cluster.opened.clear()
        cluster.runs = lambda a: cluster.seen(a.number, EngineState.RUNNING)
        successor = await start(cluster, policy=NOW, **{k: getattr(left, k) for k in LEFT})
        await successor.until(lambda: (e := cluster.ended(number)) and e.error_code == "workflow_lost")
        assert (job(cluster).state, cluster.opened) == ("DEPLOY_FAILED", [])

    async def test_where_it_was_to_go_is_forgotten_with_its_command(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        number = await life.send("resubmit", version=2, restore=NEWEST, rollback_within=60)
        await life.until(lambda: (e := cluster.ended(number)) and e.state == "FAILED")
        known = next(r.job.snapshot for r in cluster.records if r.job.snapshot.get("goes_back"))
        left = JobSnapshot.model_validate({**known, "check_interval": 1e7})
        assert not left.attempt.ended
        cluster.records.clear()
        successor = await start(cluster, policy=NOW, **{k: getattr(left, k) for k in LEFT})
        await successor.until(lambda: (e := cluster.ended(number)) and e.error_code == "workflow_lost")
        assert (await successor.snapshot()).goes_back is None
        assert await successor.state() == "RUNNING"

    @pytest.mark.parametrize("where", ["cancels", "runs"])
    async def test_a_version_that_somebody_stops_on_the_cluster_is_not_rolled_back(self, start, where: str):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        if where == "cancels":
            cluster.cancels = lambda _: c.Stopped(state=EngineState.FINISHED, sequence=cluster.tick())
        else:
            ends = {2: EngineState.FINISHED}
            cluster.runs = lambda a: cluster.seen(a.number, ends.get(a.number, EngineState.RUNNING))
        cluster.diagnosis = lambda _: c.Diagnosis(stopped_with="file:///elsewhere/savepoint-1")
        await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert [opened.version for opened in cluster.opened] == [1, 2]
        assert "not by Penstock" in job(cluster).reason

    async def test_one_that_fails_says_where_it_was_to_go(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=NOW)
        cluster.proves = lambda _: c.Proven(healthy=False, why="no checkpoint has completed")
        no = c.Submitted(state=c.SubmitState.REJECTED, error="no slots", code="rejected")
        cluster.submitted = lambda a: no if a.number == 3 else c.Submitted(state=c.SubmitState.ACCEPTED)
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.error_code, job(cluster).state) == ("rejected", "DEPLOY_FAILED")
        for words in ("goes back to version 1", "savepoint-59", "no checkpoint has completed", "no slots"):
            assert words in ended.error

    def unsettled(self) -> dict:
        attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1)
        return {"state": JobState.BLOCKED, "attempt": attempt, "attempts": 1, "basis": Basis.NEWEST, "policy": NOW}

    @pytest.mark.parametrize(
        ("is_now", "code", "after"),
        [(EngineState.FINISHED, "ended_otherwise", "FINISHED"), (EngineState.RUNNING, "attempt_alive", "RUNNING")],
    )
    async def test_what_became_of_the_attempt_before_is_no_reason_to_go_back(self, start, is_now, code, after):
        """It has come to its end, and would be started again; or it runs, and would be cancelled without a savepoint."""
        cluster = Cluster()
        life = await start(cluster, **self.unsettled())
        seen = Observation(attempt=1, flink_job_id="a" * 32, sequence=cluster.tick(), state=is_now)
        cluster.looks, cluster.points = lambda _: c.Seen(observation=seen), [point(1)]
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.state, ended.error_code, job(cluster).state) == ("FAILED", code, after)
        assert (cluster.opened, "cancel" in cluster.asked) == ([], False)

    @pytest.mark.parametrize(
        ("seen", "diagnosis", "after"),
        [
            (EngineState.CANCELED, c.Diagnosis(), "KILLED"),
            (EngineState.MISSING, c.Diagnosis(lost=Lost.FORGOTTEN), "BLOCKED"),
        ],
    )
    async def test_a_version_that_ends_otherwise_as_it_starts_is_not_rolled_back(self, start, seen, diagnosis, after):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.runs = lambda a: cluster.seen(a.number, seen if a.number == 2 else EngineState.RUNNING)
        cluster.diagnosis = lambda _: diagnosis
        cluster.looks = lambda a: cluster.seen(a.number, seen)
        ended = await life.do("resubmit", version=2, restore=NEWEST, rollback_within=60)
        assert (ended.state, job(cluster).state) == ("FAILED", after)
        assert [opened.version for opened in cluster.opened] == [1, 2]


class TestSavepoints:
    @pytest.mark.skips_time
    async def test_one_every_interval_and_retention_after_each(self, start):
        cluster = Cluster()
        policy = SavepointPolicy(interval=3600, keep_last=2, keep_for=0)
        life = await running(start, cluster, savepoints=policy)
        for n in (1, 2, 3):
            await life.skip(3700)
            await life.until(lambda n=n: cluster.asked.count("savepoint") == n)
            await life.until(lambda n=n: cluster.asked.count("retain") >= n)
        assert await life.state() == "RUNNING"

    @pytest.mark.skips_time
    async def test_one_that_fails_harms_nothing_and_is_said(self, start):
        cluster = Cluster()
        life = await running(start, cluster, savepoints=SavepointPolicy(interval=3600))
        cluster.savepoints = lambda _: c.Stopped(error="The savepoint failed; the job runs on", code="savepoint_failed")
        await life.skip(3700)
        await life.until(lambda: any("periodic savepoint failed" in m for m in cluster.events("alert")))
        assert await life.state() == "RUNNING"
        cluster.savepoints = cluster._takes
        await life.skip(3700)
        await life.until(lambda: cluster.asked.count("savepoint") == 2)

    @pytest.mark.skips_time
    async def test_a_job_that_does_not_run_has_none(self, start):
        cluster = Cluster()
        life = await running(start, cluster, savepoints=SavepointPolicy(interval=3600))
        await life.do("pause")
        await life.skip(8000)
        assert "savepoint" not in cluster.asked

    @pytest.mark.skips_time
    async def test_the_policy_can_be_changed_while_it_waits(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        await life.handle.signal("savepoints", SavepointPolicy(interval=60))
        await asyncio.sleep(0.2)
        await life.skip(70)
        await life.until(lambda: cluster.asked.count("savepoint") == 1)


class TestAdoption:
    async def test_a_stranger_becomes_the_jobs_attempt(self, start):
        cluster = Cluster()
        life = await start(cluster)
        stranger = "c" * 32

        def adopts(wanted):
            seen = Observation(attempt=0, flink_job_id=stranger, sequence=cluster.tick(), state=EngineState.RUNNING)
            return c.Adoptable(observation=seen)

        cluster.adopts = adopts
        assert (await life.do("adopt", flink_job_id=stranger)).state == "SUCCEEDED"
        assert cluster.opened[0].flink_job_id == stranger
        assert await life.state() == "RUNNING"
        assert (await life.do("restart")).state == "SUCCEEDED"

    async def test_one_that_another_job_has_taken_a_moment_ago_is_refused(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        before = (await life.snapshot()).attempt
        await life.do("kill")
        seen = Observation(attempt=0, flink_job_id="c" * 32, sequence=cluster.tick(), state=EngineState.RUNNING)
        cluster.adopts = lambda _: c.Adoptable(observation=seen)
        cluster.opens = lambda _: c.OpenedAttempt(owner="default:other")
        ended = await life.do("adopt", flink_job_id="c" * 32)
        assert (ended.state, ended.error_code) == ("FAILED", "not_adoptable")
        assert "an attempt of default:other" in ended.error
        snapshot = await life.snapshot()
        assert (snapshot.attempt.number, snapshot.attempts, snapshot.state) == (before.number, 1, "KILLED")
        cluster.opens = lambda _: c.OpenedAttempt()
        assert (await life.do("start", restore=RestoreRequest(mode="none"))).state == "SUCCEEDED"

    async def test_what_was_given_up_before_does_not_come_back(self, start):
        """The job was killed, a stranger adopted, and then the cluster lost that: the killed attempt's points are there,
        and belong to another life."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=NOW)
        await life.do("kill")
        seen = Observation(attempt=0, flink_job_id="c" * 32, sequence=cluster.tick(), state=EngineState.RUNNING)
        cluster.adopts = lambda _: c.Adoptable(observation=seen)
        assert (await life.do("adopt", flink_job_id="c" * 32)).state == "SUCCEEDED"
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        cluster.diagnosis = lambda _: c.Diagnosis(lost=Lost.CLUSTER, points=cluster.points)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: job(cluster).state == "BLOCKED")
        assert len(cluster.opened) == 2, "the first, and the stranger: none was started after them"

    async def test_one_that_is_not_there_is_refused(self, start):
        cluster = Cluster()
        life = await start(cluster)
        assert (await life.do("adopt", flink_job_id="c" * 32)).error_code == "not_adoptable"
        assert await life.state() == "CREATED"


async def test_a_command_whose_workflow_was_lost_ends(start):
    """The successor of a lost workflow begins with the command that was being carried out, and ends it."""
    cluster = Cluster()
    lost = CommandRequest(id="lost", number=1, kind="pause")
    life = await start(cluster, command=lost)
    await life.until(
        lambda: any(ch.id == "lost" and ch.state == "FAILED" for r in cluster.records for ch in r.commands)
    )
    assert (await life.do("start")).state == "SUCCEEDED"


ENDED = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1, ended=True)


@pytest.mark.parametrize("state", ["DEPLOYING", "PAUSED"])
async def test_a_job_that_was_to_go_on_when_its_workflow_was_lost_goes_on(start, state: str):
    """In the middle of a restart by the policy, or of a command that had stopped it for one."""
    cluster = Cluster()
    cluster.points = [point(1)]
    more = {} if state == "DEPLOYING" else {"command": CommandRequest(id="lost", number=1, kind="restart")}
    life = await start(
        cluster,
        state=JobState(state),
        attempt=ENDED,
        attempts=1,
        basis=Basis.NEWEST,
        policy=NOW,
        ended_for="lost",
        **more,
    )
    await life.until(lambda: len(cluster.opened) == 1)
    await life.until(lambda: job(cluster).state == "RUNNING")
    assert cluster.opened[0].restore_path == cluster.points[0].path
    assert any("its workflow was lost" in m for m in cluster.events("restart"))


@pytest.mark.parametrize("mode", ["none", "point"])
async def test_but_not_from_another_state_than_was_asked_for(start, mode: str):
    cluster = Cluster()
    cluster.points = [point(1)]
    restore = RestoreRequest(mode=mode, point=point(1).path if mode == "point" else None)
    lost = CommandRequest(id="lost", number=1, kind="restart", restore=restore)
    await start(
        cluster, state=JobState.DEPLOYING, attempt=ENDED, attempts=1, policy=NOW, ended_for="lost", command=lost
    )
    await asyncio.sleep(0)
    while not cluster.records or job(cluster).state == "DEPLOYING":
        await asyncio.sleep(0.05)
    assert (job(cluster).state, cluster.opened) == ("DEPLOY_FAILED", [])


@pytest.mark.skips_time
async def test_a_policy_that_is_switched_off_makes_no_restart_that_it_has_planned(start):
    cluster = Cluster()
    life = await running(start, cluster, policy=NOW.model_copy(update={"initial_backoff": 600}))
    await life.observe(EngineState.FAILED)
    await life.until(lambda: job(cluster).state == "RESTARTING")
    await life.handle.signal("policy", NOW.model_copy(update={"enabled": False}))
    await life.until(lambda: job(cluster).state == "FAILED")
    assert "switched off" in job(cluster).reason
    await life.skip(3600)
    assert len(cluster.opened) == 1


class TestOldCheckpoints:
    """The job's own check says that there may be some; at most every six hours they are looked for."""

    @pytest.mark.skips_time
    async def test_they_go_and_the_timeline_says_so(self, start):
        cluster = Cluster()
        life = await running(start, cluster, check_interval=600)
        await life.skip(2000)
        assert "retain" not in cluster.asked, "nothing is old"
        cluster.looks = lambda a: c.Seen(why="not seen yet", old_checkpoints=True)
        cluster.retains = lambda _: c.Retained(checkpoints={1: "file:///s/j/checkpoints/1"})
        await life.skip(2000)
        await life.until(lambda: cluster.asked.count("retain") == 1)
        await life.until(lambda: any("checkpoints of attempt 1" in m for m in cluster.events("checkpoints")))
        await life.skip(4 * 3600)
        assert cluster.asked.count("retain") == 1
        await life.skip(3 * 3600)
        await life.until(lambda: cluster.asked.count("retain") == 2)


async def test_what_was_accepted_of_a_state_goes_on_with_it(start):
    """A failure before the first checkpoint goes back to the same point; other state was not accepted."""
    cluster = Cluster()
    life = await running(start, cluster, policy=NOW)
    named = RestoreRequest(mode="point", point="/elsewhere/savepoint-1", accept_unknown_state=True)
    assert (await life.do("restart", restore=named)).state == "SUCCEEDED"
    assert (cluster.opened[1].restore_path, cluster.opened[1].accept_unknown_state) == (
        "file:///elsewhere/savepoint-1",
        True,
    )
    cluster.diagnosis = lambda _: c.Diagnosis(cause="boom", untouched=True)
    await life.observe(EngineState.FAILED)
    await life.until(lambda: len(cluster.opened) == 3)
    again = cluster.opened[2]
    assert (again.restore_path, again.accept_unknown_state, again.automatic) == (
        "file:///elsewhere/savepoint-1",
        True,
        True,
    )
    await life.becomes("RUNNING")
    assert (await life.do("restart")).state == "SUCCEEDED"
    assert (cluster.opened[3].restore_path == again.restore_path, cluster.opened[3].accept_unknown_state) == (
        False,
        False,
    )
