"""A short search with the simulation, and that a seed gives the same run again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from activities import observe, record
from activities.record import Recorder
from tests.simulation.machine import Penstock
from tests.simulation.mutations import MUTATIONS, put_in
from tests.simulation.story import HAS_SENT, WHO_DOES_IT, Moment, Step, Story, invent, play, shrink, step, timed, told
from workflows.observations import Observations

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("PENSTOCK_SIMULATION_SECONDS", "30"))
PROCESSES = os.environ.get("PENSTOCK_SIMULATION_PROCESSES", "2")
SEED = os.environ.get("PENSTOCK_SIMULATION_SEED", "1")


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, where the order of sets is always the same."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_nothing_is_broken():
    """PENSTOCK_SIMULATION_SECONDS, _SEED and _PROCESSES choose how long, what, and on how many cores."""
    processes = PROCESSES if SECONDS >= 10 else "1"  # to start a second one costs more than it finds in so short a time
    done = simulation("--seconds", str(SECONDS), "--seed", SEED, "--processes", processes)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    print(done.stdout)


@pytest.mark.parametrize("seed", ["same.1", "same.2", "same.3"])
def test_a_seed_gives_the_same_run_again(seed: str):
    first, second = play(seed, invent(seed)), play(seed, invent(seed))
    assert (first.trace, first.seconds, first.counts) == (second.trace, second.seconds, second.counts)


def test_other_seeds_give_other_runs():
    story = Story((step("create", 0, main=0.2, operators="count"), step("command", 0, 0.1, kind="start")))
    assert len({play(n, story).trace for n in range(5)}) == 5


def test_all_mends_that_have_to_be_missed_have_a_mutation():
    found = {"2", "4", "9", "10", "11", "12", "14", "16", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32"}
    assert {m.finding.rstrip("abc") for m in MUTATIONS.values()} == found


def test_a_story_is_made_short():
    """A judge that allows nothing: whatever else the story has goes, and what matters stays."""
    steps = (
        step("create", 0, main=0.2, operators="count,sum", checkpoints=5),
        step("command", 0, 0.1, kind="start", again=True),
        step("kill_api", 0, 20.0),
        step("read", 0, 1.0),
        step("wipe_temporal", 0, 2.0),
        step("kill_worker", 0, 1.0, name="worker-1", back=3.0),
    )
    from tests.simulation.judge import Judge

    kept = Judge.on_commit

    def on_commit(judge: Judge, touched: set[str]) -> None:
        kept(judge, touched)
        if judge.ever_wrote - {"f" * 32} and not judge.violations:
            judge.broken("nothing ever runs", "it does")

    Judge.on_commit = on_commit  # type: ignore[method-assign]
    try:
        short = shrink(play("short", Story(steps, calm=True)), seconds=600)
    finally:
        Judge.on_commit = kept  # type: ignore[method-assign]
    assert [s.verb for s in short.story.steps] == ["create", "command"]
    assert short.log


STARTED = (
    step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5),
    step("command", 0, 0.1, kind="start", again=True),
)


def test_a_fault_comes_at_the_moment_of_an_activity():
    fault = step("kill_worker", 0, 1.0, name="worker-1", back=3.0)
    steps = (timed(fault, Moment("start_attempt", nth=2)), *STARTED, step("settle", 0, 5.0, most=60, beside=65.0))
    again = (*steps, step("fails", 0, 5.0), step("settle", 0, 40.0))
    assert not any("now: kill worker" in line for line in play("moment", Story(steps, calm=True), log=True).log)
    outcome = play("moment", Story(again, calm=True), log=True)
    assert not outcome.violations
    assert any("now: kill worker" in line for line in outcome.log)
    assert f"as soon as start_attempt begins for the second time: kill worker (name {WHO_DOES_IT}" in told(outcome)


def _goes_away_before_the_diagnosis() -> tuple[Step, ...]:
    away = step("network", 0, 5.0, mode="refuse", back=1000.0)
    return (
        *STARTED,
        timed(away, Moment("diagnose", later=0.002)),
        step("read", 0, 1.0),
        step("kill_jobmanager", 0, 1.0),
        step("command", 0, 80.0, kind="kill", again=True),
        step("settle", 0, 1.0, most=900, beside=905.0),
    )


def test_a_cluster_that_goes_away_before_the_diagnosis(monkeypatch: pytest.MonkeyPatch):
    """With the mend all ends in time; without it the story is made short, and the moment stays what it hangs on."""
    from activities.observe import Observing

    story = Story(_goes_away_before_the_diagnosis(), calm=True)
    assert not play("away", story).violations
    monkeypatch.setattr(Observing, "_lost", Observing._lost)
    put_in("a_diagnosis_waits_for_ever")
    outcome = play("away", story)
    assert outcome.kinds == {"every command ends in bounded time"}
    short = shrink(outcome, tries=1, seconds=600)
    kept = [s for s in short.story.steps if s.at]
    assert [(s.verb, s.at) for s in kept] == [("network", Moment("diagnose"))]
    assert "read" not in [s.verb for s in short.story.steps]


def test_a_start_whose_worker_and_jobmanager_die_is_not_sent_beside_itself(monkeypatch: pytest.MonkeyPatch):
    """It was taken, and nobody was told; the next JobManager does not know it, and its tasks still run. A try that took
    the row for its own would send it there again."""
    worker = step("kill_worker", 0, 0.0, name=WHO_DOES_IT, back=60.0)
    story = Story(
        (
            STARTED[0],
            timed(worker, Moment("start_attempt", edge=HAS_SENT)),
            timed(step("kill_jobmanager", 0), Moment("start_attempt", edge=HAS_SENT, later=1.5)),
            STARTED[1],
            step("settle", 0, 30.0, most=300, beside=305.0),
        ),
        calm=True,
    )
    seeds = [f"cut off {n}" for n in range(6)]
    assert not any(play(seed, story).violations for seed in seeds)
    monkeypatch.setattr(Recorder, "open", Recorder.open)
    put_in("a_row_that_is_there_was_never_sent")
    assert set().union(*(play(seed, story).kinds for seed in seeds)) == {"one attempt makes progress"}


def test_a_workflow_that_is_set_back_to_before_a_start_while_its_attempt_is_stopped(monkeypatch: pytest.MonkeyPatch):
    """It is given the start once more, and comes to an attempt that is written down already: it has to learn of the stop,
    too, or the end of that attempt is one that nobody asked for."""
    story = Story(
        (
            replace(STARTED[0], args=(*STARTED[0].args, ("sql", True))),
            STARTED[1],
            step("command", 0, 6.0, kind="kill", again=True),  # the first start comes with the first task of all
            step("command", 0, 4.0, kind="start", restore="none", again=True),
            timed(step("set_back", 0, moments=7, again=True), Moment("stop_with_savepoint", later=0.1)),
            step("command", 0, 10.0, kind="pause", again=True),
            step("settle", 0, 30.0, most=300, beside=305.0),
        ),
        calm=True,
    )
    seeds = [f"set back {n}" for n in range(3)]
    assert not any(play(seed, story).violations for seed in seeds)
    for module in (observe, record):
        monkeypatch.setattr(module, "forgotten", module.forgotten)
    put_in("what_is_newer_is_not_told_with_an_attempt")
    assert set().union(*(play(seed, story).kinds for seed in seeds)) == {"what nobody asked for is not done"}


def test_the_state_machine_finds_nothing_either():
    run_state_machine_as_test(
        Penstock,
        settings=settings(
            max_examples=settings.default.max_examples // 4,
            stateful_step_count=8,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_cancel_that_arrives_after_its_command_has_failed(monkeypatch: pytest.MonkeyPatch):
    """A restart without state is lost with its workflow, while its cancel hangs in the network. The job is seen running
    since; the cancel comes all the same, and was not sent by a stranger."""
    story = Story(
        (
            *STARTED,
            step("settle", 0, 5.0, most=60, beside=65.0),
            step("network", 0, 0.45, mode="hang", back=33.0),
            step("command", 0, 8.56, kind="restart", restore="none", again=True),
            step("set_back", 0, 14.9, moments=6, again=False),
        ),
        calm=True,
    )
    seeds = [f"late {n}" for n in range(3, 7)]
    assert not any(play(seed, story).violations for seed in seeds)
    monkeypatch.setattr(Observations, "_stop_was_lost", Observations._stop_was_lost)
    put_in("a_cancel_is_never_late")
    assert set().union(*(play(seed, story).kinds for seed in seeds)) == {"what nobody asked for is not done"}
