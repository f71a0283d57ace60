"""Upgrades from an older commit, while jobs run and commands are carried out."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.faults.run import Run, together
from tests.faults.verbs import Verbs
from tests.faults.world import OURS, ROOT, World


def archive(commit: str, folder: Path) -> Path:
    """The tree of a commit, as `git archive` gives it."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def upgrades(home: Path, commit: str, times: int, seed: int) -> dict[str, Any]:
    """`times` upgrades, each in a world of its own data: the old code starts jobs and works on commands; then workers
    and API are replaced one after another, in an order of chance, and all has to go on."""
    old = archive(commit, home / "old")
    world = World(home, old=old)
    run: Run | None = None
    chance = random.Random(seed)
    try:
        world.up()
        run = Run(world, seed, ())
        for number in range(times):
            if number:
                world.begin_anew(old)
            run.jobs = [run.make(role, f"{number}-{place}") for place, role in enumerate(("sql", "jar", "sums"))]
            run.begin()
            verbs = Verbs(run, chance)
            order = chance.sample(OURS, len(OURS))
            run.say(f"upgrade {number + 1} of {times}: {', '.join(order)}")
            with together(_work, [(run, verbs, job) for job in run.jobs]):
                for name in order:
                    time.sleep(chance.uniform(0, 3))
                    world.replace(name)
            run.faults["upgrade"] += 1
            run.view()
            for job in run.jobs:
                run.prepare(job, "savepoint")
                run.do(job, {"kind": "restart"})
                run.rest(job, "RUNNING")
            run.output()
            run.tell_broken()
            for job in run.jobs:
                run.do(job, {"kind": "kill"})
                run.rest(job, "KILLED")
            run.keep()
    finally:
        report = run.close() if run else {"broken": ["it did not start"]}
        world.down()
    return report


def _work(run: Run, verbs: Verbs, job: Any) -> None:
    for _ in range(2):
        try:
            verbs.ordinary(job)
        except Exception as error:
            run.verdicts.check("the harness works", False, f"{job.ref}: {error!r}"[:500])
