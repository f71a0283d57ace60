"""A command on its way to the workflow of its job: twice, late, to the wrong one; and restarts that cannot be made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from core.jobs.commands import CommandKind, CommandRequest
from settings import clock
from tests.whole.penstock import Penstock, repository
from tests.whole.test_losses import timeline, workflow


def request(penstock: Penstock, name: str, id_: str, **more: Any) -> CommandRequest:
    job_id = str(penstock.job(name)["id"])
    return CommandRequest(**{"id": id_, "number": 99, "kind": CommandKind.KILL, "job_id": job_id} | more)


def deliver(penstock: Penstock, name: str, command: CommandRequest) -> None:
    """Past the API, under an id of its own each time."""
    handle = workflow(penstock, name)
    penstock.play(penstock.world.ask(lambda s: s.client.get_workflow_handle(handle).execute_update("command", command)))


def refusal(penstock: Penstock, name: str, command: CommandRequest) -> str | None:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        deliver(penstock, name, command)
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type


class TestDeliveries:
    def test_one_that_comes_again_counts_once(self, penstock: Penstock):
        penstock.running("again")
        sent = penstock.done("again", "savepoint")
        row = penstock.world.row("SELECT id FROM commands WHERE number = ? AND kind = 'savepoint'", sent["number"])
        deliver(penstock, "again", request(penstock, "again", row[0], kind=CommandKind.SAVEPOINT))
        penstock.wait(60)
        kinds = [p["kind"] for p in penstock.ok("GET", "/jobs/default:again/restore-points")["items"]]
        assert kinds.count("savepoint") == 1

    def test_one_that_comes_too_late_is_not_taken(self, penstock: Penstock):
        penstock.running("late")
        late = request(penstock, "late", "too-late", expires_at=clock.now() - timedelta(days=365 * 50))
        assert refusal(penstock, "late", late) == "expired"
        assert penstock.state("late") == "RUNNING"

    def test_one_that_newer_ones_have_overtaken_is_not_carried_out(self, penstock: Penstock):
        """Temporal was away when it was sent, and what was sent later is done by now: a pause from before a restart."""
        penstock.running("overtaken")
        penstock.wait(15)
        temporal = penstock.world.temporal
        temporal.stop()
        old = penstock.send("overtaken", "pause")
        assert old["state"] == "PENDING"
        temporal.start()
        penstock.done("overtaken", "restart")
        late = penstock.ended("overtaken", old["number"])
        assert (late["state"], late["error_code"]) == ("FAILED", "overtaken")
        assert "restart (command 3) was sent after it" in late["error"]
        assert penstock.state("overtaken") == "RUNNING"
        penstock.done("overtaken", "pause")

    def test_one_that_could_not_be_delivered_in_time_fails(self, penstock: Penstock):
        penstock.running("expires")
        penstock.create("never-begun")
        temporal = penstock.world.temporal
        temporal.stop()
        kept = {name: penstock.send(name, kind) for name, kind in (("expires", "pause"), ("never-begun", "start"))}
        penstock.wait(penstock.world.settings.command_expiry + 120)
        temporal.start()
        for name, command in kept.items():
            late = penstock.ended(name, command["number"])
            assert (late["state"], late["error_code"]) == ("FAILED", "expired"), late
        assert (penstock.state("expires"), penstock.state("never-begun")) == ("RUNNING", "CREATED")
        penstock.done("expires", "pause")
        penstock.done("never-begun", "start")

    def test_one_for_an_earlier_job_of_the_name_is_not_taken(self, penstock: Penstock):
        penstock.running("other")
        other = request(penstock, "other", "of-another", job_id="a job that was deleted")
        assert refusal(penstock, "other", other) == "workflow_of_another_job"
        assert penstock.state("other") == "RUNNING"


class TestRestartsThatCannotBeMade:
    def test_what_was_built_is_gone_and_so_is_its_repository(self, penstock: Penstock):
        """The policy's tries fail one after the other, and its last word is FAILED; a person's start says why."""
        repo = repository(penstock.home / "gone")
        policy = {"initial_backoff": 30, "max_restarts": 2, "jitter": 0}
        spec = {"type": "jar", "git": {"url": str(repo)}, "args": ["--output", "unmade", "--fails-after", "5"]}
        penstock.create("unmade", spec, restart_policy=policy)
        penstock.done("unmade", "start")
        for path in (penstock.home / "artifacts" / "jars").rglob("*.jar"):
            path.unlink()
        repo.rename(repo.with_name("elsewhere"))
        penstock.until(lambda: penstock.state("unmade") == "FAILED")
        assert "failed for good" in timeline(penstock, "unmade")
        done = penstock.do("unmade", "start", restore={"mode": "none"})
        assert done["state"] == "FAILED"
        repo.with_name("elsewhere").rename(repo)

    def test_the_policy_is_switched_off_before_it_is_due(self, penstock: Penstock):
        penstock.running("off", restart_policy={"initial_backoff": 600, "jitter": 0})
        job = penstock.flink_job("off")
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state("off") == "RESTARTING")
        penstock.ok("PATCH", "/jobs/default:off", json={"restart_policy": {"enabled": False}})
        penstock.until(lambda: penstock.state("off") == "FAILED", most=60)
        assert "switched off" in penstock.job("off")["reason"]
        penstock.wait(1200)
        assert penstock.state("off") == "FAILED"

    def test_the_cluster_is_away_when_it_is_due(self, penstock: Penstock):
        """That is no failure of the job: it waits for the cluster, and no try is counted."""
        penstock.running("patient", restart_policy={"initial_backoff": 20, "max_restarts": 1, "jitter": 0})
        job = penstock.flink_job("patient")
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state("patient") == "RESTARTING")
        endpoint = penstock.world.network.endpoints["http://flink-a:8081"]
        endpoint.mode = "refuse"
        penstock.wait(300)
        assert penstock.state("patient") in ("RESTARTING", "DEPLOYING")
        endpoint.mode = "ok"
        penstock.until(lambda: penstock.state("patient") == "RUNNING")
        assert penstock.job("patient")["current_attempt"]["number"] >= 2
        penstock.done("patient", "kill")

    @pytest.mark.parametrize("away", ["cluster", "files"])
    def test_a_persons_restart_of_a_job_that_waits_is_no_end_of_the_waiting(self, penstock: Penstock, away: str):
        """It fails for what the policy waits for: the job is kept alive as it was before it was asked for."""
        name = f"impatient-{away}"
        penstock.running(name, restart_policy={"initial_backoff": 600, "max_backoff": 600, "jitter": 0})
        penstock.wait(15)
        job = penstock.flink_job(name)
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state(name) == "RESTARTING")
        endpoint = penstock.world.network.endpoints["http://flink-a:8081"]
        if away == "cluster":
            endpoint.mode = "refuse"
        else:
            penstock.world.disk.broken = "Input/output error"
        ended = penstock.do(name, "restart")
        assert (ended["state"], ended["error_code"]) == (
            "FAILED",
            "submission_unreachable" if away == "cluster" else "points_unreadable",
        )
        assert "the restart policy tries again" in ended["error"]
        assert penstock.state(name) == "RESTARTING"
        endpoint.mode, penstock.world.disk.broken = "ok", None
        penstock.until(lambda: penstock.state(name) == "RUNNING", most=180)
        penstock.done(name, "kill")

    def test_a_pause_that_waits_for_a_restart_keeps_only_what_a_start_goes_on_from(self, penstock: Penstock):
        """Restore points from before a start that began empty are no state of what runs now."""
        penstock.running("given-up", restart_policy={"initial_backoff": 600, "max_backoff": 600, "jitter": 0})
        penstock.wait(15)
        penstock.done("given-up", "savepoint")
        penstock.done("given-up", "kill")
        penstock.done("given-up", "start", restore={"mode": "none"})
        job = penstock.flink_job("given-up")
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state("given-up") == "RESTARTING")
        ended = penstock.do("given-up", "pause")
        assert (ended["state"], ended["error_code"]) == ("FAILED", "nothing_to_keep")
        assert penstock.state("given-up") == "RESTARTING"
        penstock.done("given-up", "kill")


class TestStopsThatDoNotArrive:
    """The way to Flink swallows what is sent there, until after the command has ended: what was told to stop runs on."""

    @pytest.mark.parametrize(("kind", "words"), [("pause", "the stop is forgotten"), ("kill", "the cancel did not")])
    def test_it_is_seen_to_run_on(self, penstock: Penstock, kind: str, words: str):
        name = f"unheard-{kind}"
        penstock.running(name)
        penstock.wait(15)
        endpoint = penstock.world.network.endpoints["http://flink-a:8081"]
        sent = penstock.send(name, kind)
        endpoint.mode = "hang"
        ended = penstock.ended(name, sent["number"])
        assert ended["state"] == "FAILED", ended
        endpoint.mode = "ok"
        penstock.until(lambda: words in timeline(penstock, name))
        assert penstock.state(name) == "RUNNING"
        penstock.done(name, "kill")


class TestStartsWithoutAnAnswer:
    def test_a_first_attempt_that_ran_unseen_is_gone_on_from(self, penstock: Penstock):
        """Its start had no answer and failed; meanwhile it ran, and its JobManager died. What it came to is state."""
        penstock.create("unseen")
        flink, endpoints = penstock.world.flinks[0], penstock.world.network.endpoints
        accept, id_ = flink.accept, penstock.job("unseen")["id"]

        def unheard(*args: Any, **more: Any) -> Any:
            for url in ("http://flink-a:8081", "http://gateway-a:8083"):
                endpoints[url].mode = "drop"
            return accept(*args, **more)

        with mock.patch.object(flink, "accept", unheard):
            sent = penstock.send("unseen", "start")
            jobs = penstock.until(lambda: [j for j in flink.jobs.values() if j.owner == id_])
        penstock.until(lambda: len(jobs[0].points) > 2)
        flink.kill()
        assert penstock.ended("unseen", sent["number"])["error_code"] == "submission_unclear"
        for url in ("http://flink-a:8081", "http://gateway-a:8083"):
            endpoints[url].mode = "ok"
        assert penstock.job("unseen")["blocked"]["code"] == "submission_unclear"
        penstock.done("unseen", "restart")
        attempt = penstock.job("unseen")["current_attempt"]
        assert (attempt["number"], f"{jobs[0].id}/chk-" in attempt["restored_from"]) == (2, True)
        penstock.done("unseen", "kill")
