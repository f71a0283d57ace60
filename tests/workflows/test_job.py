"""What a job's workflow does with answers that a real cluster cannot be made to give on demand."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from activities import contracts as c
from core.jobs.commands import CommandRequest
from core.jobs.observations import EngineState, Observation
from core.jobs.policy import RestartPolicy
from core.jobs.restore import RestoreKind, RestoreRequest
from core.jobs.snapshot import GENERATION, AttemptSnapshot
from core.jobs.states import JobState
from tests.workflows.conftest import Cluster, point

FAST = RestartPolicy(
    max_restarts=3, initial_backoff=3600, multiplier=2, max_backoff=86400, jitter=0, window=1e7, reset_after=1e7
)


async def running(start, cluster: Cluster, **more):
    life = await start(cluster, **more)
    assert (await life.do("start")).state == "SUCCEEDED"
    assert await life.state() == "RUNNING"
    return life


class TestStart:
    async def test_the_attempt_is_written_down_before_it_is_sent(self, start):
        cluster = Cluster()
        order = []
        cluster.submitted = lambda a: (
            order.append(("submit", len(cluster.opened))) or c.Submitted(state=c.SubmitState.ACCEPTED)
        )
        await running(start, cluster)
        assert order == [("submit", 1)]
        assert len(cluster.flink_ids[0]) == 32

    async def test_a_command_counts_once_however_often_it_comes(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        from core.jobs.commands import CommandRequest

        again = CommandRequest(id="c#1", number=1, kind="start")
        await life.handle.execute_update("command", again, id="another-update")
        await asyncio.sleep(0.2)
        assert len(cluster.opened) == 1

    async def test_what_the_state_does_not_allow_is_refused_and_changes_nothing(self, start):
        life = await start(Cluster())
        with pytest.raises(WorkflowUpdateFailedError) as error:
            await life.send("pause")
        assert "allow" in str(error.value.cause)
        assert await life.state() == "CREATED"

    async def test_a_clear_no_is_deploy_failed(self, start):
        cluster = Cluster()
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.REJECTED, error="bad SQL", code="rejected")
        life = await start(cluster)
        ended = await life.do("start")
        assert (ended.state, ended.error) == ("FAILED", "bad SQL")
        assert await life.state() == "DEPLOY_FAILED"
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        assert (await life.do("start")).state == "SUCCEEDED"
        assert len(set(cluster.flink_ids)) == 2

    async def test_an_answer_that_stays_unclear_blocks(self, start):
        cluster = Cluster()
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.UNCLEAR, error="timed out", code="submission_unclear"
        )
        life = await start(cluster)
        assert (await life.do("start")).error_code == "submission_unclear"
        assert await life.state() == "BLOCKED"
        # It was there after all: nothing is started beside it.
        cluster.fences = lambda a: c.Fenced(observation=cluster.observation(a.number, EngineState.RUNNING))
        assert (await life.do("restart")).error_code == "attempt_alive"
        assert await life.state() == "RUNNING"
        assert len(cluster.opened) == 1

    async def test_unclear_and_then_gone_is_followed_by_a_new_id(self, start):
        cluster = Cluster()
        cluster.submitted = lambda a: c.Submitted(
            state=c.SubmitState.UNCLEAR if a.number == 1 else c.SubmitState.ACCEPTED, error="timed out"
        )
        cluster.diagnosis = lambda _: c.Diagnosis(untouched=True)
        life = await start(cluster)
        await life.do("start")
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        assert (await life.do("restart")).state == "SUCCEEDED"
        assert len(set(cluster.flink_ids)) == 2
        assert cluster.asked.count("fence") == 1, "the first id is spent before there is a second one"
        assert cluster.asked.index("fence") < len(cluster.asked) - 1 - cluster.asked[::-1].index("submit")

    async def test_a_predecessor_that_cannot_be_asked_about_stops_everything(self, start):
        cluster = Cluster()
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.UNCLEAR, error="timed out")
        life = await start(cluster)
        await life.do("start")
        cluster.fences = lambda _: c.Fenced(error="connection refused", code="submission_unresolved")
        for command in ("restart", "kill"):
            ended = await life.do(command)
            assert ended.error_code == "submission_unresolved"
            assert await life.state() == "BLOCKED"
        assert len(cluster.opened) == 1

    @pytest.mark.skips_time
    async def test_that_it_is_missing_says_nothing_of_one_that_was_perhaps_sent(self, start):
        cluster = Cluster()
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.UNCLEAR, error="timed out")
        life = await start(cluster)
        await life.do("start")
        await life.observe(EngineState.MISSING)
        await life.skip(60)
        assert await life.state() == "BLOCKED"
        assert not (await life.snapshot()).attempt.ended
        assert "fence" not in cluster.asked
        # When it turns up it is followed.
        await life.observe(EngineState.RUNNING)
        await life.until(lambda: cluster.records[-1].job.state == "RUNNING")

    async def test_a_build_that_cannot_be_made_again_ends_the_start(self, start):
        """The artifact store was emptied, and Git is away: nothing was sent, and nothing stays DEPLOYING."""
        cluster = Cluster()
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.REJECTED, error="not in the store", code="artifact_missing", maybe_sent=True
        )
        life = await start(cluster, type_="jar")
        built = iter([c.Built(key="k", commit="c"), c.Built(error="Git is away", code="git_failed")])
        cluster.builds = lambda _: next(built)
        assert (await life.do("start")).error_code == "git_failed"
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.attempt.ended) == ("DEPLOY_FAILED", True)
        assert cluster.asked.count("fence") == 1, "an earlier try may have sent it"

    async def test_a_point_that_is_not_there_stops_nothing(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.gathers = lambda _: c.Gathered(error="no _metadata", code="restore_point_missing")
        request = RestoreRequest(mode="point", point="file:///gone")
        assert (await life.do("restart", restore=request)).error_code == "restore_point_missing"
        assert await life.state() == "RUNNING"
        assert "cancel" not in cluster.asked

    async def test_a_kill_interrupts_a_submission_and_makes_sure_of_it(self, start):
        cluster = Cluster()

        async def hangs(_):
            await asyncio.sleep(3600)

        cluster.submitted = hangs
        life = await start(cluster)
        first = await life.send("start")
        await life.until(lambda: "submit" in cluster.asked)
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert cluster.ended(first).state == "CANCELLED"
        assert await life.state() == "KILLED"
        assert "fence" in cluster.asked
        assert (await life.snapshot()).attempt.ended

    async def test_a_kill_of_the_first_build_leaves_nothing_to_decide_about(self, start):
        """No attempt was ever made: there is no state that a person could want."""
        cluster = Cluster()

        async def hangs(_):
            await asyncio.sleep(3600)

        cluster.builds = hangs
        life = await start(cluster, type_="jar")
        await life.send("start")
        await life.until(lambda: "build" in cluster.asked)
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert (await life.snapshot()).reason == "killed before any attempt of it was made"
        cluster.builds = lambda _: c.Built(key="k", commit="c")
        assert (await life.do("start")).state == "SUCCEEDED"
        assert [opened.restore_path for opened in cluster.opened] == [None]
        await life.do("kill")
        assert (await life.do("start")).error_code == "restore_undecided"

    async def test_a_kill_of_a_submission_that_arrived_cancels_it(self, start):
        cluster = Cluster()

        async def hangs(_):
            await asyncio.sleep(3600)

        cluster.submitted = hangs
        cluster.fences = lambda a: c.Fenced(observation=cluster.observation(a.number, EngineState.STARTING))
        life = await start(cluster)
        await life.send("start")
        await life.until(lambda: "submit" in cluster.asked)
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert cluster.asked[-1] == "diagnose"
        assert "cancel" in cluster.asked

    @pytest.mark.parametrize("end", ["kill", "fails"])
    async def test_a_start_that_is_left_has_its_attempt_written_down(self, start, end):
        """A kill comes in, or the step gives up, before the row is there: what makes sure of it needs one."""
        cluster = Cluster()

        async def comes_to_nothing(_):
            if end == "fails":
                raise ApplicationError("no", non_retryable=True)
            await asyncio.sleep(3600)

        cluster.begins = comes_to_nothing
        life = await start(cluster)
        first = await life.send("start")
        if end == "kill":
            await life.until(lambda: cluster.begun)
            assert (await life.do("kill")).state == "SUCCEEDED"
            assert cluster.asked[-1] == "fence"
        await life.until(lambda: cluster.ended(first) and cluster.ended(first).state != "RUNNING")
        assert await life.state() == ("KILLED" if end == "kill" else "BLOCKED")
        assert len(cluster.opened) == 1
        assert "submit" not in cluster.asked

    async def test_one_that_takes_long_to_run_is_shown_as_deployed(self, start):
        cluster = Cluster()
        cluster.runs_soon = False
        await running(start, cluster)
        states = [r.job.state for r in cluster.records]
        assert states == ["DEPLOYING", "DEPLOYED", "RUNNING"]
        assert [(c.state, c.running) for r in cluster.records for c in r.attempts] == [
            ("ACCEPTED", False),
            ("RUNNING", True),
        ]

    async def test_one_that_runs_soon_is_one_step_and_one_record(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        first, last = cluster.records
        assert [ch.state for ch in (*first.commands, *last.commands)] == ["RUNNING", "SUCCEEDED"]
        assert [(c.state, c.running) for c in last.attempts] == [("RUNNING", True)]
        history = await life.handle.fetch_history()
        assert sum(e.HasField("activity_task_scheduled_event_attributes") for e in history.events) == 2

    async def test_attempts_that_the_workflow_has_forgotten_are_settled_first(self, start):
        """Temporal was restored from a backup: the database has an attempt by the number that would be next."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster)
        await life.do("pause")
        cluster.opens = lambda o: (
            c.OpenedAttempt(conflict=True, number=7, flink_job_id="f" * 32, version=1, revision=900)
            if o.number < 8
            else c.OpenedAttempt()
        )
        assert (await life.do("start")).error_code == "history_lost"
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.attempts, snapshot.attempt.flink_job_id) == ("BLOCKED", 7, "f" * 32)
        assert snapshot.revision > 900
        assert len(cluster.opened) == 1
        assert (await life.do("restart")).state == "SUCCEEDED"
        assert cluster.asked.count("fence") == 1
        assert cluster.opened[-1].number == 8

    async def test_commands_that_have_ended_long_ago_are_not_carried_out_again(self, start):
        """The workflow was reset, and Temporal delivers what it had taken, a start and a kill behind it: another start
        has followed them since."""
        cluster = Cluster()
        life = await start(cluster)
        delivered = asyncio.Event()

        async def begins(_: c.StartAttempt) -> None:
            await delivered.wait()

        cluster.begins = begins
        cluster.opens = lambda _: c.OpenedAttempt(conflict=True, number=2, flink_job_id="f" * 32, version=1, commands=3)
        for number, kind in enumerate(("start", "kill"), 1):
            await life.handle.execute_update("command", CommandRequest(id=f"old-{number}", number=number, kind=kind))
        delivered.set()
        await life.until(lambda: cluster.records and cluster.records[-1].job.state == "BLOCKED")
        await asyncio.sleep(1)
        snapshot = await life.snapshot()
        assert (snapshot.state, snapshot.attempts, snapshot.queue) == ("BLOCKED", 2, [])
        assert not {"cancel", "fence", "cancel_all"} & set(cluster.asked)

    async def test_one_that_is_behind_the_database_goes_on_from_there(self, start, environment):
        """The workflow was reset: the database says that the job is paused. What it is given once more was done, and
        what is new is not sent before it knows."""
        cluster = Cluster()
        life = await start(cluster)
        await life.do("start")
        now = await life.snapshot()
        attempt = now.attempt.model_copy(update={"ended": True})
        known = {"revision": 900, "state": "PAUSED", "attempt": attempt, "basis": "newest", "handled": ["c#1", "c#7"]}
        newer = now.model_copy(update=known)
        cluster.recorded = lambda r: c.Recorded(newer=newer) if r.job and r.job.revision < 900 else None
        assert (await life.do("pause")).error_code == "set_back"
        life.handle = environment.client.get_workflow_handle(life.handle.id)
        await life.handle.execute_update("command", CommandRequest(id="c#7", number=7, kind="savepoint"))
        await life.becomes("PAUSED")
        assert await life.state() == "PAUSED"
        assert not {"stop", "savepoint"} & set(cluster.asked)
        assert "set back" in cluster.events("alert")[-1]
        cluster.points.append(point())
        assert (await life.do("start")).state == "SUCCEEDED"
        assert (cluster.opened[-1].number, cluster.records[-1].job.revision > 900) == (2, True)

    async def test_a_run_of_an_earlier_generation_goes_over_to_this_one(self, start):
        cluster = Cluster()
        life = await start(cluster, generation=0)
        assert (await life.do("start")).state == "SUCCEEDED"
        assert (await life.snapshot()).generation == GENERATION
        assert len(cluster.opened) == 1


class TestPolicy:
    @pytest.mark.skips_time
    async def test_exactly_n_restarts_with_growing_waits(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=FAST)
        for attempt in (1, 2, 3):
            await life.observe(EngineState.FAILED, attempt)
            await life.until(
                lambda n=attempt: any(
                    r.job and r.job.state == "RESTARTING" and r.job.current_attempt == n for r in cluster.records
                )
            )
            await life.skip(3600 * 2**attempt)
            await life.until(lambda n=attempt: len(cluster.opened) == n + 1)
            await life.until(lambda n=attempt: cluster.records[-1].job.state == "RUNNING")
        await life.observe(EngineState.FAILED, 4)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "FAILED")
        assert len(cluster.opened) == 4
        assert all(o.restore_path == cluster.points[0].path for o in cluster.opened[1:])
        assert len(set(cluster.flink_ids)) == 4
        assert "used up" in (await life.snapshot()).reason

    async def test_a_restart_without_a_point_blocks(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST.model_copy(update={"initial_backoff": 0}))
        await life.observe(EngineState.FAILED)
        await life.until(lambda: cluster.records[-1].job.state == "BLOCKED")
        assert len(cluster.opened) == 1
        assert {"kind": "restart", "restore": {"mode": "none"}} in cluster.records[-1].job.actions

    async def test_a_failure_before_any_checkpoint_starts_as_it_did_before(self, start):
        cluster = Cluster()
        cluster.diagnosis = lambda _: c.Diagnosis(cause="boom", untouched=True)
        life = await running(start, cluster, policy=FAST.model_copy(update={"initial_backoff": 0}))
        await life.observe(EngineState.FAILED)
        await life.until(lambda: len(cluster.opened) == 2)
        assert cluster.opened[1].restore_path is None
        assert "no checkpoint had completed" in cluster.opened[1].restore_why

    @pytest.mark.skips_time
    async def test_a_cluster_that_is_away_costs_no_restart(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=FAST.model_copy(update={"initial_backoff": 0, "max_restarts": 1}))
        cluster.submitted = lambda _: c.Submitted(
            state=c.SubmitState.UNREACHABLE, error="refused", code="submission_unreachable"
        )
        await life.observe(EngineState.FAILED)
        await life.until(lambda: len(cluster.opened) == 2)
        await life.until(lambda: cluster.records[-1].job.restart_at)
        cluster.submitted = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        await life.skip(70)
        await life.until(lambda: len(cluster.opened) == 3)
        await life.until(lambda: cluster.records[-1].job.state == "RUNNING")


class TestObservations:
    async def test_about_an_old_attempt_or_an_old_moment_nothing_changes(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        await life.do("restart")
        await life.observe(EngineState.FAILED, 1)
        newest = cluster.observation(2, EngineState.RUNNING)
        for state in (EngineState.RECOVERING, EngineState.MISSING):
            await life.handle.signal("observed", newest.model_copy(update={"sequence": 1, "state": state}))
        stranger = {"flink_job_id": "f" * 32, "sequence": 10**15, "state": EngineState.FAILED}
        await life.handle.signal("observed", newest.model_copy(update=stranger))
        await asyncio.sleep(0.3)
        assert await life.state() == "RUNNING"
        assert len(cluster.opened) == 2

    async def test_a_final_state_is_never_too_old(self, start):
        """An older question was answered after a younger one: FAILED after RUNNING."""
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST)
        newest = cluster.observation(1, EngineState.RUNNING)
        old = newest.model_copy(update={"sequence": 1, "state": EngineState.FAILED})
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.FAILED)
        await life.handle.signal("observed", old)
        await life.until(lambda: cluster.records[-1].job.state == "RESTARTING")

    async def test_an_old_end_of_an_id_that_was_sent_again_does_not_end_what_runs(self, start):
        """The first send ran and failed at a JobManager that died; the next one took the same id, and runs it."""
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST)
        old = cluster.observation(1, EngineState.FAILED).model_copy(update={"sequence": 1})
        await life.handle.signal("observed", old)
        await life.until(lambda: "look" in cluster.asked)
        await life.observe(EngineState.RECOVERING)
        await life.until(lambda: cluster.records[-1].job is not None and "Flink" in cluster.records[-1].job.reason)
        assert await life.state() == "RUNNING"
        assert len(cluster.opened) == 1

    async def test_an_old_end_counts_where_nothing_is_there_any_more(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.MISSING)
        old = cluster.observation(1, EngineState.FAILED).model_copy(update={"sequence": 1})
        await life.handle.signal("observed", old)
        await life.until(lambda: cluster.records[-1].job.state == "RESTARTING")

    async def test_nothing_takes_the_place_of_a_final_state_that_waits(self, start):
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST)
        hold = asyncio.Event()

        async def slow(_):
            await hold.wait()
            return c.Stopped(error="The savepoint failed; the job runs on", code="savepoint_failed")

        cluster.savepoints = slow
        await life.send("savepoint")
        await life.until(lambda: "savepoint" in cluster.asked)
        await life.observe(EngineState.FAILED)
        stranger = cluster.observation(1, EngineState.RUNNING).model_copy(
            update={"attempt": 7, "flink_job_id": "f" * 32}
        )
        await life.handle.signal("observed", stranger)
        await life.observe(EngineState.RUNNING)
        await asyncio.sleep(0.2)
        hold.set()
        await life.until(lambda: cluster.records[-1].job.state == "RESTARTING")

    async def test_missing_is_believed_after_a_second_question_only(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.looks = lambda a: cluster.seen(a.number, EngineState.RUNNING)
        await life.observe(EngineState.MISSING)
        await life.until(lambda: "look" in cluster.asked)
        assert await life.state() == "RUNNING"
        cluster.looks = lambda _: c.Seen(why="refused")
        await life.observe(EngineState.MISSING)
        await asyncio.sleep(0.2)
        assert await life.state() == "RUNNING"

    async def test_an_end_while_nobody_looked_at_the_stop(self, start):
        """The answer to our stop was lost; later the attempt is seen FINISHED and its savepoint is there."""
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="no answer", code="stop_unclear")
        assert (await life.do("pause")).error_code == "stop_unclear"
        assert await life.state() == "RUNNING"
        cluster.diagnosis = lambda d: c.Diagnosis(savepoint="file:///late") if d.savepoint_directory else c.Diagnosis()
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: cluster.records[-1].job.state == "PAUSED")

    async def test_an_end_after_a_stop_whose_savepoint_cannot_be_read_is_none_by_itself(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(error="no answer", code="stop_unclear")
        await life.do("pause")
        cluster.diagnosis = lambda _: c.Diagnosis(unread="the volume is away")
        await life.observe(EngineState.FINISHED)
        await life.until(lambda: cluster.records[-1].job and cluster.records[-1].job.state == "BLOCKED")
        blocked = (await life.snapshot()).blocked
        assert blocked.code == "savepoint_unknown"
        cluster.points = [point(1)]
        assert blocked.actions[0] == {"kind": "restart"}, "which goes on from the job's own state only"
        assert (await life.do("restart")).state == "SUCCEEDED"

    async def test_an_end_by_a_stop_that_was_sent_before_the_last_one(self, start):
        """The first stop had failed, and is carried out while the second one waits."""
        cluster = Cluster()
        life = await running(start, cluster)
        asked: list[c.TriggerIn] = []

        def answer(wanted: c.TriggerIn) -> c.Stopped:
            asked.append(wanted)
            is_first = len(asked) == 1
            return c.Stopped(error="no answer", code="unclear") if is_first else c.Stopped(state=EngineState.FINISHED)

        def diagnose(wanted: c.DiagnoseIn) -> c.Diagnosis:
            late = [late for late in cluster.points if asked[0].directory in wanted.earlier_directories]
            return c.Diagnosis(savepoint=late[0].path if late else None, points=late)

        cluster.stops, cluster.diagnosis = answer, diagnose
        await life.do("pause")
        cluster.points = [point(1, RestoreKind.SAVEPOINT, 59)]
        restarted = await life.do("restart")
        assert (restarted.error, restarted.state) == (None, "SUCCEEDED")
        assert cluster.opened[1].restore_path == cluster.points[0].path


class TestRestartsByTheEngine:
    async def loops(self, life, restarts: int) -> None:
        seen = life.cluster.observation(life.cluster.opened[-1].number, EngineState.RUNNING)
        await life.handle.signal("observed", seen.model_copy(update={"restarts": restarts, "failure": "boom"}))

    async def test_too_many_are_a_failure_and_the_policy_goes_on_from_the_newest_point(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=FAST.model_copy(update={"initial_backoff": 0, "max_restarts": 1}))
        await self.loops(life, 10)
        await life.until(lambda: len(cluster.opened) == 2)
        assert cluster.asked.count("cancel") == 1
        assert cluster.opened[1].restore_path == cluster.points[0].path
        assert any("restarted it 10 times" in m for m in cluster.events("restart"))
        await life.until(lambda: cluster.records[-1].job.state == "RUNNING")
        await self.loops(life, 11)
        await life.until(lambda: cluster.records[-1].job.state == "FAILED")
        assert any("failed for good" in m for m in cluster.events("alert"))

    async def test_it_is_not_displaced_by_the_next_change(self, start):
        """While the workflow is busy the job goes on changing between RUNNING and RECOVERING."""
        cluster = Cluster()
        cluster.points = [point(1)]
        life = await running(start, cluster, policy=FAST)
        hold = asyncio.Event()

        async def slow(_):
            await hold.wait()
            return c.Stopped(error="The savepoint failed; the job runs on", code="savepoint_failed")

        cluster.savepoints = slow
        await life.send("savepoint")
        await life.until(lambda: "savepoint" in cluster.asked)
        await self.loops(life, 12)
        await life.observe(EngineState.RECOVERING)
        await asyncio.sleep(0.2)
        hold.set()
        await life.until(lambda: "cancel" in cluster.asked)

    @pytest.mark.skips_time
    async def test_its_time_of_running_forgives_no_restart(self, start):
        cluster = Cluster()
        cluster.points = [point(1)]
        policy = FAST.model_copy(update={"initial_backoff": 0, "max_restarts": 1, "reset_after": 1})
        life = await running(start, cluster, policy=policy)
        for n in (1, 2):
            await life.skip(100)
            await self.loops(life, 10)
            await life.until(lambda n=n: cluster.asked.count("cancel") == n)
            await life.until(lambda n=n: len(cluster.opened) == 2)
        await life.until(lambda: cluster.records[-1].job.state == "FAILED")

    @pytest.mark.parametrize(("restarts", "limit"), [(9, 10), (500, 0)])
    async def test_fewer_or_by_leave_of_the_policy_are_not(self, start, restarts, limit):
        cluster = Cluster()
        life = await running(start, cluster, policy=FAST.model_copy(update={"max_engine_restarts": limit}))
        await self.loops(life, restarts)
        await asyncio.sleep(0.3)
        assert await life.state() == "RUNNING"
        assert "cancel" not in cluster.asked

    async def test_a_pause_that_fails_says_what_works(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda a: c.Stopped(
            state=EngineState.RUNNING, sequence=cluster.tick(), error="The savepoint failed", code="savepoint_failed"
        )
        assert "`kill` keeps the retained checkpoints" in (await life.do("pause")).error


class TestStopping:
    async def test_a_savepoint_that_fails_leaves_the_job_running(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda a: c.Stopped(
            state=EngineState.RUNNING, sequence=cluster.tick(), error="The savepoint failed", code="savepoint_failed"
        )
        for kind in ("pause", "restart"):
            assert (await life.do(kind)).error_code == "savepoint_failed"
            assert await life.state() == "RUNNING"
        assert len(cluster.opened) == 1

    async def test_a_kill_interrupts_a_stop_that_hangs(self, start):
        cluster = Cluster()
        life = await running(start, cluster)

        async def hangs(_):
            await asyncio.sleep(3600)

        cluster.stops = hangs
        pause = await life.send("pause")
        await life.until(lambda: "stop" in cluster.asked)
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert cluster.ended(pause).state == "CANCELLED"
        assert await life.state() == "KILLED"

    async def test_a_cancel_that_cannot_be_told_is_said_so(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.cancels = lambda _: c.Stopped(error="It cannot be told", code="cancel_unclear")
        assert (await life.do("kill")).error_code == "cancel_unclear"
        assert await life.state() == "RUNNING"

    async def test_a_job_that_ends_while_it_is_paused(self, start):
        cluster = Cluster()
        life = await running(start, cluster)
        cluster.stops = lambda _: c.Stopped(state=EngineState.FINISHED, sequence=cluster.tick())
        assert (await life.do("pause")).error_code == "ended_otherwise"
        assert await life.state() == "FINISHED"


class TestCancelledByAPerson:
    """In the Temporal UI, say: what is being done is left, and the workflow goes on."""

    @pytest.mark.parametrize("kind", ["savepoint", "pause", "restart"])
    async def test_what_was_being_done_says_so(self, start, kind):
        cluster = Cluster()
        life = await running(start, cluster)
        begun, never = asyncio.Event(), asyncio.Event()

        async def hang(_: c.TriggerIn) -> c.Stopped:
            begun.set()
            await never.wait()
            raise AssertionError

        cluster.stops = cluster.savepoints = hang
        command = await life.send(kind)
        await asyncio.wait_for(begun.wait(), 60)
        await life.handle.cancel()
        ended = await life.until(lambda: (e := cluster.ended(command)) and e.state != "RUNNING" and e)
        assert (ended.state, ended.error_code) == ("FAILED", "internal")
        assert "Somebody has cancelled the job's workflow" in ended.error
        assert await life.state() == "RUNNING"
        cluster.stops, cluster.savepoints = cluster._stops, cluster._takes
        assert (await life.do("pause")).state == "SUCCEEDED"
        assert await life.state() == "PAUSED"


class TestSignalsWithoutInput:
    async def test_say_nothing_and_stop_nothing(self, start):
        """A person can send one so in the Temporal UI; a task that fails for it would fail for ever."""
        life = await running(start, Cluster())
        for name in ("observed", "revised", "policy", "savepoints", "nonsense"):
            await life.handle.signal(name)
        assert (await life.do("pause")).state == "SUCCEEDED"


class TestALeaderThatIsNotKnown:
    @pytest.mark.parametrize("unresolved", [False, True])
    async def test_is_learned_by_the_workflow_that_follows_a_lost_one(self, start, unresolved):
        """Found by an attack: a later loss of the JobManager was taken for an end that nobody saw."""
        cluster = Cluster()
        attempt = AttemptSnapshot(number=1, flink_job_id="a" * 32, version=1, unresolved=unresolved)
        alive = Observation(attempt=1, flink_job_id="a" * 32, sequence=5, state=EngineState.RUNNING)
        cluster.looks = lambda _: c.Seen(observation=alive, leader="jm-1")
        cluster.fences = lambda _: c.Fenced(observation=alive, leader="jm-1")
        life = await start(cluster, state=JobState.DEPLOYING, attempt=attempt, attempts=1)
        await life.until(lambda: any(r.job and r.job.state == "RUNNING" for r in cluster.records))
        assert (await life.snapshot()).attempt.leader == "jm-1"


class TestBuilds:
    async def test_a_restart_stays_with_the_commit_and_a_resubmit_looks_again(self, start):
        cluster = Cluster()
        pinned = []
        cluster.builds = lambda b: pinned.append(b.pinned) or c.Built(key="key", commit="c")
        life = await running(start, cluster, type_="jar")
        await life.do("restart")
        await life.do("resubmit", restore=RestoreRequest(mode="newest"))
        assert pinned == [None, "key", None], "the restart sees that it is there, the resubmit resolves the ref anew"
        assert [o.build_key for o in cluster.opened] == ["key"] * 3

    async def test_an_artifact_that_is_gone_is_built_again_from_the_same_commit(self, start):
        cluster = Cluster()
        pinned = []
        cluster.builds = lambda b: pinned.append(b.pinned) or c.Built(key="key", commit="c")
        life = await running(start, cluster, type_="jar")
        answers = [
            c.Submitted(state=c.SubmitState.REJECTED, error="gone", code="artifact_missing"),
            c.Submitted(state=c.SubmitState.ACCEPTED),
        ]
        cluster.submitted = lambda _: answers.pop(0)
        assert (await life.do("restart")).state == "SUCCEEDED"
        assert pinned == [None, "key", "key"]

    @pytest.mark.parametrize("kind", ["restart", "resubmit"])
    async def test_what_cannot_be_started_again_is_not_stopped_for_it(self, start, kind):
        """Found by an attack: artifact and repository were away, or a secret that it is given."""
        cluster = Cluster()
        life = await running(start, cluster, type_="jar")
        cluster.builds = lambda _: c.Built(error="There is no secret rps.", code="inputs_missing")
        newest = {"restore": RestoreRequest(mode="newest")} if kind == "resubmit" else {}
        ended = await life.do(kind, **newest)
        assert (ended.state, ended.error_code) == ("FAILED", "inputs_missing")
        assert await life.state() == "RUNNING"
        assert len(cluster.opened) == 1
        assert "stop" not in cluster.asked

    async def test_a_kill_interrupts_a_build(self, start):
        cluster = Cluster()

        async def hangs(_):
            await asyncio.sleep(3600)

        cluster.builds = hangs
        life = await start(cluster, type_="jar")
        number = await life.send("start")
        await life.until(lambda: "build" in cluster.asked)
        assert (await life.do("kill")).state == "SUCCEEDED"
        assert cluster.ended(number).state == "CANCELLED"
        assert cluster.opened == []


async def test_it_goes_on_after_continue_as_new(start, environment):
    """A history that has grown long enough (here 200 events) is another run of the same job."""
    cluster = Cluster()
    life = await running(start, cluster)
    for n in range(100):
        await life.observe(EngineState.RECOVERING if n % 2 else EngineState.RUNNING)
        await asyncio.sleep(0.02)
    handle = environment.client.get_workflow_handle(life.handle.id)
    for _ in range(600):
        if (await handle.describe()).run_id != life.handle.first_execution_run_id:
            break
        await asyncio.sleep(0.1)
    assert (await handle.describe()).run_id != life.handle.first_execution_run_id
    life.handle = handle
    assert (await life.do("pause")).state == "SUCCEEDED"
    assert await life.state() == "PAUSED"
