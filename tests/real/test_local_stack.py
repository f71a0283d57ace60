"""The local stack's Flink, whose parts are started again when they die: by its keeper, as `penstock up` starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from processes.kept import StackReport
from settings import code
from stack.parts import StackParts
from tests.real.conftest import Stack


@pytest.fixture(scope="module")
def stack(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One of its own: its task manager is killed over and over."""
    made = Stack(parts, tmp_path_factory.mktemp("kept"))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def env(stack: Stack) -> dict[str, str]:
    """What the keeper and the command line have from whoever runs them."""
    names = {"temporal": "TEMPORAL", "ui": "TEMPORAL_UI", "flink": "FLINK", "rpc": "FLINK_RPC", "api": "API"}
    ports = {f"PENSTOCK_{name}_PORT": str(stack.ports[key]) for key, name in names.items()}
    return {
        **code.environment(),
        "PENSTOCK_HOME": str(stack.home),
        "PENSTOCK_GATEWAY_PORT": str(stack.ports["gateway"]),
        **ports,
    }


@pytest.fixture
def kept(stack: Stack, env: dict[str, str]) -> Iterator[Stack]:
    stack.local.processes.start(replace(stack.local.keeper(), env=env))
    yield stack
    stack.local.processes.stop("keeper")
    stack.start("taskmanager")


def test_a_task_manager_that_dies_comes_back_and_its_job_runs_on(kept: Stack, env: dict[str, str]):
    processes = kept.local.processes

    def restored() -> int:
        flink_job = kept.job(job)["current_attempt"]["flink_job_id"]
        return int(kept.flink.get(f"/jobs/{flink_job}/checkpoints").json()["counts"]["restored"])

    def kill(known: set[int]) -> None:
        """kill -9 the next one that is there."""

        def another() -> psutil.Process | None:
            found = processes.find("taskmanager")
            return found if found is not None and found.pid not in known else None

        found = kept.until(another, "there is another task manager")
        known.add(found.pid)
        for process in [found, *found.children(recursive=True)]:
            process.send_signal(signal.SIGKILL)

    job, known = kept.create(), set[int]()
    kept.do(job, "start")
    kept.checkpointed(job)
    before = restored()
    kill(known)
    kept.until(lambda: restored() > before, "Flink has restored the job on the next one")
    kept.until(lambda: kept.job(job)["current_attempt"]["engine_state"] == "RUNNING", "it runs")
    assert kept.job(job)["current_attempt"]["number"] == 1
    told = "taskmanager of the local stack died, and is started again: "
    kept.until(lambda: any(told in event["message"] for event in kept.items(job, "timeline")), "its timeline says so")

    pauses = []
    for _ in range(5):
        began = time.monotonic()
        kill(known)
        pauses.append(time.monotonic() - began)
    # The first of these deaths may be the second in a row: 1, 3, 7 and 15 s follow, or 0, 1, 3 and 7 s.
    assert pauses[-1] > pauses[-2] > pauses[-3]
    assert pauses[-1] > 6

    def status() -> str:
        command = code.command("cli", "status")
        environment = {**os.environ, **env, "COLUMNS": "300"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    said = kept.until(lambda: said if "times in a row" in (said := status()) else None, "`status` says why")
    assert "taskmanager died: " in said
    assert "It is started again in " in said
    report = StackReport.read(StackReport.path(kept.home))
    assert report is not None
    assert len(report.died) == 6
    kept.until(lambda: restored() > before + 1, "it comes back once more")
    kept.until(lambda: kept.job(job)["current_attempt"]["engine_state"] == "RUNNING", "the job runs")
    assert kept.job(job)["current_attempt"]["number"] == 1
    kept.do(job, "kill")
