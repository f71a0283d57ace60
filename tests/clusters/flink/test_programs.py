"""The mark of a program's jobs, and the ids that Flink makes from one that is fixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from clusters.flink.http import Refused
from clusters.flink.programs import KEY, Mark, Marks, Sending, marked
from clusters.flink.rest import UNKNOWN, FlinkRest
from clusters.protocol import JarProgram, JobSeen, Overview, ProgramFailed, Ref, Submission, Unclear, Unreachable
from core.jobs.observations import EngineState
from core.names import follows

MARK = Mark("a" * 32, "s1")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (None, f"penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("", f"penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("day:1,url:'a:b'", f"day:1,url:'a:b',penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("{day: 1}", f"{{day: 1, penstock.attempt: '{'a' * 32}', penstock.send: 's1'}}"),
        ("{}", f"{{penstock.attempt: '{'a' * 32}', penstock.send: 's1'}}"),
    ],
)
def test_the_mark_stands_beside_what_the_job_has(given, becomes):
    config = {"x": "y"} if given is None else {"x": "y", KEY: given}
    assert marked(config, MARK) == {"x": "y", KEY: becomes}


@pytest.mark.parametrize(
    ("other", "does"),
    [
        ("e27c6117bc3d48a4b9cc1b834e16c9a3", True),  # as Flink 2.3.0 made it
        ("e27c6117bc3d48b5b9cc1b834e16c9b4", True),
        ("e27c6117bc3d48a3b9cc1b834e16c9a2", False),  # itself
        ("e27c6117bc3d48a2b9cc1b834e16c9a1", False),  # one before
        ("e27c6117bc3d48a4b9cc1b834e16c9a4", False),
        ("0" * 32, False),
        ("no id", False),
    ],
)
def test_ids_of_later_jobs_of_one_environment(other, does):
    assert follows("e27c6117bc3d48a3b9cc1b834e16c9a2", other) is does


def test_the_halves_go_around():
    assert follows("f" * 32, "0" * 32)


T0 = datetime(2026, 1, 1, tzinfo=UTC)
OURS, SECOND = "e27c6117bc3d48a3b9cc1b834e16c9a2", "e27c6117bc3d48a4b9cc1b834e16c9a3"


class Rest:
    """What GET /jobs/:id/config would say, and who was asked."""

    def __init__(self, **configs: Any):
        self.configs, self.asked = configs, list[str]()

    async def user_config(self, job_id: str) -> Any:
        self.asked.append(job_id)
        found = self.configs.get(job_id, UNKNOWN)
        return found.pop(0) if isinstance(found, list) else found


def seen(minutes: float | None) -> JobSeen:
    at = None if minutes is None else T0 + timedelta(minutes=minutes)
    return JobSeen(Ref("", ""), EngineState.RUNNING, started_at=at)


def its(attempt: str = OURS) -> dict[str, str]:
    return {"penstock.attempt": attempt, "penstock.send": "s"}


class TestMarks:
    async def test_those_that_began_with_it_or_later_are_asked_once(self):
        rest = Rest(old=its(), late=its(), soon=its(), other=its("f" * 32), none={"its": "own"})
        marks = Marks(cast(FlinkRest, rest))
        jobs = {
            OURS: seen(10),
            "old": seen(1),
            "late": seen(12),
            "soon": seen(None),
            "other": seen(11),
            "none": seen(11),
        }
        for _ in range(2):
            assert await marks.others(OURS, jobs) == ["late", "soon"]
        assert sorted(rest.asked) == ["late", "none", "other", "soon"]

    async def test_of_one_that_has_no_job_of_its_own_those_that_are_new(self):
        rest = Rest(old=its(), new=its())
        marks = Marks(cast(FlinkRest, rest))
        assert await marks.others(OURS, {"old": seen(1), "new": seen(0)}, before={"old"}) == ["new"]
        assert rest.asked == ["new"]

    async def test_without_a_mark_by_the_id_that_flink_makes(self):
        marks = Marks(cast(FlinkRest, Rest(**{SECOND: {"its": "own"}})))
        assert await marks.others(OURS, {OURS: seen(1), SECOND: seen(1), "x": seen(1)}) == [SECOND]

    async def test_one_that_is_initialized_is_waited_for_and_one_that_has_gone_is_not_remembered(self):
        rest = Rest(slow=[None, None, its()], never=[None] * 1000)
        marks = Marks(cast(FlinkRest, rest))
        assert await marks.started_by(["slow", "gone", "never"]) == {"slow": OURS}
        rest.configs["gone"] = its()
        assert await marks.started_by(["slow", "gone"]) == {"slow": OURS, "gone": OURS}


IN_MAIN = "Caused by: org.apache.flink.client.program.ProgramInvocationException: The main method caused an error: x"
TWICE = f"{IN_MAIN}\nCaused by: org.apache.flink.util.FlinkRuntimeException: Cannot have more than 1 streaming jobs in a single environment."
DUPLICATE = f"{IN_MAIN}\nCaused by: org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already been submitted."
TROUBLE = "java.util.concurrent.TimeoutException: Invocation of submitJob timed out"


@pytest.mark.parametrize(
    ("stack", "send", "maybe_sent", "becomes"),
    [
        (IN_MAIN, "this", False, "program_failed"),
        (IN_MAIN, "before", True, None),  # the job is of an earlier send, and this one failed before it came to that
        (IN_MAIN, None, False, "program_failed"),
        (IN_MAIN, None, True, None),
        (TWICE, "this", True, "several_jobs"),
        (DUPLICATE, "this", True, "several_jobs"),
        (DUPLICATE, "before", True, None),
        (DUPLICATE, None, False, "several_jobs"),
        (DUPLICATE, None, True, None),
        (TROUBLE, "this", False, None),  # the JobManager's own: it has the job
    ],
)
async def test_what_a_no_means_when_the_cluster_has_the_job(stack, send, maybe_sent, becomes):
    jobs = {OURS: seen(1)}

    async def overview() -> Overview:
        return Overview(dict(jobs))

    rest = Rest()
    program = JarProgram(Path("x.jar"), "sha", None, [])
    submission = Submission(Ref(OURS, OURS), "p:j", program, {}, None, None, False, maybe_sent)
    sending = Sending(submission, Marks(cast(FlinkRest, rest)), overview)
    await sending.begin()
    sends = {"this": sending.mark.send, "before": "another"}
    rest.configs[OURS] = {"its": "own"} if send is None else {**its(), "penstock.send": sends[send]}
    error = Refused(500, "no", stack)
    if becomes is None:
        await sending.failed(error)
        return
    with pytest.raises(ProgramFailed) as caught:
        await sending.failed(error)
    assert (caught.value.code, caught.value.jobs) == (becomes, [Ref(OURS, OURS)])


async def test_a_yes_after_which_the_cluster_cannot_be_asked_is_no_send_that_never_arrived():
    """Found by the simulation: the JobManager took it and died; the same id went to its successor at once, and ran
    beside the tasks of the first."""
    answers = [Overview({})]

    async def overview() -> Overview:
        if not answers:
            raise Unreachable("connection refused", sent=False)
        return answers.pop()

    program = JarProgram(Path("x.jar"), "sha", None, [])
    submission = Submission(Ref(OURS, OURS), "p:j", program, {}, None, None, False, False)
    sending = Sending(submission, Marks(cast(FlinkRest, Rest())), overview)
    await sending.begin()
    with pytest.raises(Unclear):
        await sending.ended_well()
