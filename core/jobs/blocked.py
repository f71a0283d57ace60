"""Why a job is parked, what was seen, and what a person can safely send next: one function per case.

A job is BLOCKED where going on could lose state or run it twice. The actions are bodies of
`POST /jobs/{id}/commands`, ready to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.jobs.restore import RestorePoint

Action = dict[str, Any]

RESTART: Action = {"kind": "restart"}
FROM_NEWEST: Action = {"kind": "restart", "restore": {"mode": "newest"}}
_NEWEST: Action = {"restore": {"mode": "newest"}}
_WITHOUT_WHAT_CHANGED = {"allow_non_restored_state": True, "accept_changed_state": True}
EMPTY: Action = {"kind": "restart", "restore": {"mode": "none"}}
KILL: Action = {"kind": "kill"}
SHOWN_POINTS = 3
_OTHER_MAXIMUM = "Max parallelism mismatch"
"""How Flink words it (1.20.5, 2.3.0). That some of the state is given up changes nothing about it."""


class Blocked(BaseModel):
    """`code` is a stable word; `why` is told to people; `evidence` is what was seen, a line each."""

    model_config = ConfigDict(frozen=True)
    code: str
    why: str
    evidence: list[str] = []
    actions: list[Action] = []


def without_state(blocked: Blocked) -> Blocked:
    """The same for a job that has no state of its own: what can be done names none."""
    actions = [{key: value for key, value in action.items() if key != "restore"} for action in blocked.actions]
    return blocked.model_copy(update={"actions": actions})


def from_point(point: str) -> Action:
    """A restart from the restore point of this id."""
    return {"kind": "restart", "restore": {"mode": "point", "point": point}}


def adopt(flink_job_id: str) -> Action:
    """Take the Flink job in as the job's attempt, as it runs."""
    return {"kind": "adopt", "flink_job_id": flink_job_id}


def _others(points: Sequence[RestorePoint], without: str | None = None) -> list[RestorePoint]:
    return [p for p in points if p.path != without][:SHOWN_POINTS]


def _lines(points: Sequence[RestorePoint]) -> list[str]:
    return [f"{p.kind.value} {p.path}, completed {p.completed_at:%Y-%m-%d %H:%M:%S} UTC" for p in points]


def no_restore_point(why: str, given_up: Sequence[RestorePoint], unowned: str | None = None) -> Blocked:
    """A restore point is due and none is there. `given_up` are points of this job that a person had left; `unowned` is
    the path of one that is newer than they are, of an attempt that nobody knows."""
    if unowned is not None:
        restore = {"mode": "point", "point": unowned, "accept_unknown_state": True}
        return Blocked(
            code="no_restore_point",
            why=why,
            evidence=[f"{unowned} was found in the job's own folder"],
            actions=[{"kind": "restart", "restore": restore}, EMPTY, KILL],
        )
    others = _others(given_up)
    return Blocked(
        code="no_restore_point",
        why=why,
        evidence=["the job's checkpoint and savepoint folders were read", *_lines(others)],
        actions=[*(from_point(p.id) for p in others), EMPTY, KILL],
    )


def lost_without_a_point(attempt: int, why: str, given_up: Sequence[RestorePoint]) -> Blocked:
    """It was to be paused, its cluster has lost it, and it has left nothing."""
    return no_restore_point(f"The cluster lost attempt {attempt} while it was being stopped: {why}.", given_up)


def submission_unclear(attempt: int, flink_job_id: str, why: str) -> Blocked:
    """Nobody has said clearly whether the cluster took the attempt; `why` is what was said last."""
    return Blocked(
        code="submission_unclear",
        why=f"It cannot be told whether the cluster has attempt {attempt}: {why}. "
        "A restart or a kill makes sure of it first: it spends the attempt's id, so that whatever is still on its way "
        "is refused; while that is not certain nothing is started.",
        evidence=[f"attempt {attempt} was sent as Flink job {flink_job_id}", why],
        actions=[FROM_NEWEST, KILL],
    )


def occupied(attempt: int, flink_job_id: str) -> Blocked:
    """An older attempt, which had been taken for ended, is alive."""
    return Blocked(
        code="attempt_alive",
        why=f"Attempt {attempt} of this job, which was believed to have ended, is alive on the cluster. "
        "Starting another would run the job twice.",
        evidence=[f"the cluster shows Flink job {flink_job_id} (attempt {attempt}) alive"],
        actions=[adopt(flink_job_id), KILL],
    )


def history_lost(mine: int, newest: int, flink_job_id: str) -> Blocked:
    """The job's workflow has forgotten attempts that the database has."""
    return Blocked(
        code="history_lost",
        why=f"Its workflow has come to attempt {mine}, and attempt {newest} is written down already: Temporal was "
        "restored from a backup, or the workflow was reset. Nothing was sent. A restart sees first that nothing of the "
        "job runs.",
        evidence=[f"attempt {newest} is Flink job {flink_job_id}"],
        actions=[FROM_NEWEST, KILL],
    )


def end_not_seen(attempt: int, flink_job_id: str, points: Sequence[RestorePoint], *, ha: bool) -> Blocked:
    """The cluster does not know the attempt although it lost no jobs: it ended there, and nobody saw how."""
    how = (
        "the cluster keeps its jobs over a change of leader (high availability)"
        if ha
        else "the JobManager is the same that took it"
    )
    others = _others(points)
    return Blocked(
        code="end_not_seen",
        why=f"Attempt {attempt} has ended on the cluster, and nobody saw how: it may have finished, failed or been "
        "cancelled. A restart is right if it had failed, and a second run if it had finished.",
        evidence=[f"a leader that answers does not know Flink job {flink_job_id}", how, *_lines(others)],
        actions=[FROM_NEWEST, *(from_point(p.id) for p in others[1:]), KILL],
    )


def without_successor(attempt: int, command: str, point: str | None, points: Sequence[RestorePoint]) -> Blocked:
    """It was cancelled for another attempt, whose command had failed by then: the cluster did not answer. `point` is
    what that was to be restored from."""
    return Blocked(
        code="cancelled_for_command",
        why=f"Attempt {attempt} was cancelled for {command}, which failed before the next attempt could be made: "
        "nothing of the job runs. A restart goes on from the restore point that it names, or begins empty.",
        evidence=[f"the cluster says that attempt {attempt} was cancelled, as it was asked", *_lines(_others(points))],
        actions=[*([from_point(point)] if point else []), FROM_NEWEST, EMPTY, KILL],
    )


def savepoint_unknown(attempt: int, directory: str | None, why: str) -> Blocked:
    """It was being stopped with a savepoint, it is gone or has ended, and whether the savepoint is complete cannot be
    read."""
    return Blocked(
        code="savepoint_unknown",
        why=f"Attempt {attempt} was being stopped with a savepoint and is gone; whether that savepoint is complete "
        f"cannot be told: {why}",
        evidence=[f"the savepoint was to be written below {directory}", why],
        actions=[RESTART, KILL],
    )


def does_not_map(path: str, cause: str, version: int, made_by: int | None, before: int | None) -> Blocked:
    """The program has no place for the state. `made_by` is the version that made it, where that is known, `before` the
    one that ran before."""
    back: list[Action] = []
    if made_by not in (None, version):
        back = [{"kind": "resubmit", "version": made_by, "restore": {"mode": "point", "point": path}}]
    elif made_by is None and before not in (None, version):
        back = [{"kind": "resubmit", "version": before, **_NEWEST}]
    if _OTHER_MAXIMUM in cause:
        return Blocked(
            code="state_does_not_map",
            why=f"The state of {path} is divided for another maximum parallelism than version {version} has now, and "
            "Flink cannot divide it anew. Take `pipeline.max-parallelism` back (`jobs set JOB --unset "
            "config.pipeline.max-parallelism` where it is the job's own configuration), or lower a parallelism "
            f"that is above it, and restart: {cause}",
            evidence=[cause],
            actions=[*back, FROM_NEWEST, EMPTY],
        )
    return Blocked(
        code="state_does_not_map",
        why=f"Version {version} does not take the state of {path}: {cause}",
        evidence=[cause],
        actions=[
            *back,
            {"kind": "restart", "restore": {**_NEWEST["restore"], **_WITHOUT_WHAT_CHANGED}},
            EMPTY,
        ],
    )


def overridden(why: str) -> Blocked:
    """The program has chosen its state, or gives it up, in the place of Penstock."""
    return Blocked(
        code="program_overrides",
        why=f"It was ended: {why}. Take that line out of the program and resubmit it.",
        evidence=[why],
        actions=[{"kind": "resubmit", **_NEWEST}, KILL],
    )


def restore_fails(path: str, times: int, cause: str, points: Sequence[RestorePoint]) -> Blocked:
    """The same point has failed to restore as often as the policy tries it."""
    others = _others(points, path)
    return Blocked(
        code="restore_fails",
        why=f"The restore from {path} has failed {times} times: {cause}. The restart policy does not fall back "
        "to an older point by itself.",
        evidence=[cause, *_lines(others)],
        actions=[*(from_point(p.id) for p in others), FROM_NEWEST, KILL],
    )


def step_failed(why: str) -> Blocked:
    """An activity gave up for good: what it left behind cannot be known from here."""
    return Blocked(code="internal", why=why, evidence=[why], actions=[FROM_NEWEST, KILL])


def another_version(why: str) -> Blocked:
    """What is to run again is not what ran, as after the database was restored from a backup."""
    anew = [{"kind": "resubmit", "restore": {"mode": mode}} for mode in ("newest", "none")]
    return Blocked(code="another_version", why=why, evidence=[why], actions=[*anew, KILL])


def workflow_lost(why: str) -> Blocked:
    """The workflow was lost, and what it had begun by then cannot be told; `why` says what."""
    return Blocked(code="workflow_lost", why=why, evidence=[why], actions=[RESTART, KILL])
