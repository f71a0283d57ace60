"""A submission that nobody can tell about: its id is spent before anything else is started or said to have ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.real.conftest import GitRepository, Stack

pytestmark = pytest.mark.real
PROGRAM = Path(__file__).parent / "programs" / "waiting"
LATE = 3.0  # seconds in which a request that was let go would have become a job


@pytest.fixture
def program(tmp_path: Path) -> GitRepository:
    repository = GitRepository(tmp_path / "waiting")
    repository.write({str(p.relative_to(PROGRAM)): p.read_text() for p in PROGRAM.rglob("*") if p.is_file()})
    return repository


def job_of(stack: Stack, program: GitRepository, *args: str) -> str:
    git = {"url": str(program.folder), "ref": "main"}
    spec = {"type": "jar", "git": git, "entry_class": "dev.penstock.tests.Waiting", "args": list(args)}
    return stack.create(spec, config={"execution.checkpointing.interval": "1 s"})


@pytest.fixture
def waiting(stack: Stack, program: GitRepository, tmp_path: Path) -> tuple[str, Path]:
    """A job whose `main` waits inside the JobManager until FILE.go is there; the job and FILE."""
    file = tmp_path / "main"
    return job_of(stack, program, str(file)), file


def entered(file: Path) -> int:
    path = file.with_name(file.name + ".entered")
    return len(path.read_text().splitlines()) if path.exists() else 0


def let_go(file: Path) -> None:
    file.with_name(file.name + ".go").touch()
    time.sleep(LATE)


def alive(stack: Stack) -> list[str]:
    """All Flink jobs that run, whatever their names."""
    found = stack.flink.get("/jobs/overview").json()["jobs"]
    return [j["jid"] for j in found if j["state"] not in ("FINISHED", "CANCELED", "FAILED")]


def test_a_kill_interrupts_a_submission_and_nothing_of_it_runs_later(stack: Stack, waiting: tuple[str, Path]):
    job, file = waiting
    before = set(alive(stack))
    sent = stack.send(job, "start")
    assert sent.status_code == 202, sent.text
    start = sent.json()["number"]
    stack.until(lambda: entered(file), "its main is inside the JobManager")
    began = time.monotonic()
    stack.do(job, "kill")
    assert time.monotonic() - began < 60, "it does not wait for the submission"
    assert stack.ended(job, start)["state"] == "CANCELLED"
    assert stack.job(job)["state"] == "KILLED"
    let_go(file)
    assert set(alive(stack)) <= before, "what was under way has been refused"
    attempt = stack.items(job, "attempts")[0]
    assert (attempt["state"], "its id is spent" in attempt["ended_because"]) == ("NOT_SUBMITTED", True)
    assert all(o["flink_job_id"] != attempt["flink_job_id"] for o in stack.http.get("/orphans").json()["items"])


def test_a_restart_after_an_unclear_submission_runs_the_job_once(stack: Stack, waiting: tuple[str, Path]):
    """The worker that has sent it dies while its main waits; its successor sends the same id again, and is killed."""
    job, file = waiting
    before = set(alive(stack))
    stack.send(job, "start")
    stack.until(lambda: entered(file), "its main is inside the JobManager")
    first = stack.job(job)["current_attempt"]["flink_job_id"]
    stack.kill("worker")
    stack.start("worker")
    stack.do(job, "kill")
    again = stack.send(job, "restart", restore={"mode": "none"}).json()["number"]
    stack.until(lambda: entered(file) > 1, "the next attempt's main is inside the JobManager")
    let_go(file)
    assert stack.ended(job, again)["state"] == "SUCCEEDED"
    running = set(alive(stack)) - before
    assert running == {stack.job(job)["current_attempt"]["flink_job_id"]}
    assert first not in running
    stack.do(job, "kill")


class TestAProgramThatChoosesItsState:
    """`env.configure(...)` wins over what a program is submitted with: what Flink really did is looked at."""

    def test_another_one_than_was_asked_for_is_not_run(self, stack: Stack, program: GitRepository, tmp_path: Path):
        file = tmp_path / "main"
        let_go(file)
        first = job_of(stack, program, str(file))
        stack.do(first, "start")
        stack.checkpointed(first)
        stack.do(first, "pause")
        point = stack.items(first, "restore-points")[0]["path"]
        before = set(alive(stack))
        second = job_of(stack, program, str(file), f"execution.state-recovery.path={point}")
        command = stack.do(second, "start", "FAILED")
        assert command["error_code"] == "program_overrides"
        assert point in command["error"]
        assert stack.job(second)["state"] == "BLOCKED"
        assert set(alive(stack)) <= before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("execution.checkpointing.externalized-checkpoint-retention", "DELETE_ON_CANCELLATION"),
            ("execution.checkpointing.dir", "{folder}/elsewhere"),
        ],
    )
    def test_one_whose_checkpoints_would_not_be_found_is_not_run(
        self, stack: Stack, program: GitRepository, tmp_path: Path, key: str, value: str
    ):
        """They would go with a cancel; or nobody would find them after a loss of the JobManager, and an older point
        would be taken for the newest."""
        file = tmp_path / "main"
        let_go(file)
        before = set(alive(stack))
        job = job_of(stack, program, str(file), f"{key}={value.format(folder=tmp_path.as_uri())}")
        command = stack.do(job, "start", "FAILED")
        assert (command["error_code"], key in command["error"]) == ("program_overrides", True)
        assert set(alive(stack)) <= before

    def test_one_that_claims_its_restore_point_is_not_run(self, stack: Stack, program: GitRepository, tmp_path: Path):
        """Flink deletes the savepoint with the next checkpoint, which it takes right after the restore: that cannot be
        helped, but the next start has the same state, and nothing claims that."""
        file = tmp_path / "main"
        let_go(file)
        job = job_of(stack, program, str(file), "execution.state-recovery.claim-mode=CLAIM")
        stack.do(job, "start")
        stack.do(job, "pause")
        point = stack.items(job, "restore-points")[0]["path"]
        before = set(alive(stack))
        command = stack.do(job, "start", "FAILED")
        assert (command["error_code"], "claim-mode" in command["error"]) == ("program_overrides", True)
        assert set(alive(stack)) <= before
        left = {p["path"]: p["attempt"] for p in stack.items(job, "restore-points")}
        assert point in left or 2 in left.values()

    def test_one_in_batch_mode_does_not_begin_from_the_beginning(
        self, stack: Stack, program: GitRepository, tmp_path: Path
    ):
        """Flink gives it no state, and says nothing."""
        file = tmp_path / "main"
        let_go(file)
        first = job_of(stack, program, str(file))
        stack.do(first, "start")
        stack.checkpointed(first)
        stack.do(first, "pause")
        point = stack.items(first, "restore-points")[0]["path"]
        before = set(alive(stack))
        second = job_of(stack, program, str(file), "execution.runtime-mode=BATCH")
        command = stack.do(second, "start", "FAILED", restore={"mode": "point", "point": point})
        assert (command["error_code"], "batch" in command["error"]) == ("program_overrides", True)
        assert set(alive(stack)) <= before
